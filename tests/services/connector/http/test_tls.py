from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from libs.common.errors import ServerUnavailable
from services.connector.http import HttpSession
from tests.services.connector.http.conftest import Heard, call, server, text_of
from tests.services.connector.http.peer import Peer, echo, modern, serving

pytestmark = pytest.mark.anyio


@dataclass
class Issued:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path
    made: x509.Certificate
    secret: ec.EllipticCurvePrivateKey


class Authority:
    """A CA of the test, and what it signs."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.own = self.issue(name, None)

    def issue(
        self, name: str, alternative: x509.GeneralName | None, *, alone: bool = False, days: int = 1
    ) -> Issued:
        secret = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = None if alternative is None or alone else self.own
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer.made.subject if signer else subject)
            .public_key(secret.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=alternative is None, path_length=None), critical=True)
        )
        if alternative is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        made = builder.sign(signer.secret if signer else secret, hashes.SHA256())
        return self._written(name, made, secret)

    def _written(self, name: str, made: x509.Certificate, secret: ec.EllipticCurvePrivateKey) -> Issued:
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            secret.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Issued(cert, key, made, secret)


LOCAL = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
OTHER = x509.DNSName("internal.example")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextlib.asynccontextmanager
async def secured(issued: Issued, client_ca: Issued | None = None) -> AsyncIterator[Peer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert, issued.key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca.cert)
    async with serving(modern(echo), context) as peer:
        yield peer


async def works(peer: Peer, **tls: Any) -> None:
    """Open, call and close, or raise."""
    session = HttpSession(server(peer.url, tls=tls), {"authorization": "Bearer hidden"}, Heard())
    await session.open()
    try:
        assert text_of(await call(session, "x")) == "x"
    finally:
        await session.close()


async def test_a_certificate_of_an_unknown_ca_is_refused(authority: Authority) -> None:
    async with secured(authority.issue("s", LOCAL)) as peer:
        with pytest.raises(
            ServerUnavailable, match="certificate that is not accepted: unable to get local issuer"
        ):
            await works(peer)
        assert peer.asked == []


async def test_a_self_signed_certificate_is_refused_and_can_be_trusted(authority: Authority) -> None:
    issued = authority.issue("s", LOCAL, alone=True)
    async with secured(issued) as peer:
        with pytest.raises(ServerUnavailable, match="self-signed"):
            await works(peer)
        await works(peer, root_ca_cert_path=str(issued.cert))


async def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    async with secured(authority.issue("s", LOCAL, days=-1)) as peer:
        with pytest.raises(ServerUnavailable, match="expired"):
            await works(peer, root_ca_cert_path=str(authority.own.cert))


async def test_verification_can_be_switched_off(authority: Authority) -> None:
    async with secured(authority.issue("s", OTHER)) as peer:
        await works(peer, verify_certs=False)


async def test_a_ca_of_ones_own_is_trusted_beside_others_in_its_file(
    authority: Authority, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Authority(tmp_path, "more").own.cert.read_bytes() + authority.own.cert.read_bytes())
    async with secured(authority.issue("s", LOCAL)) as peer:
        await works(peer, root_ca_cert_path=str(bundle))


async def test_a_certificate_for_another_host_needs_the_option(authority: Authority) -> None:
    trusted = str(authority.own.cert)
    async with secured(authority.issue("s", OTHER)) as peer:
        with pytest.raises(ServerUnavailable, match="another host name") as caught:
            await works(peer, root_ca_cert_path=trusted)
        assert "internal.example" not in caught.value.message
        await works(peer, root_ca_cert_path=trusted, accept_invalid_hostnames=True)


async def test_any_host_name_does_not_mean_any_certificate(authority: Authority) -> None:
    async with secured(authority.issue("s", OTHER, alone=True)) as peer:
        with pytest.raises(ServerUnavailable, match="self-signed"):
            await works(peer, root_ca_cert_path=str(authority.own.cert), accept_invalid_hostnames=True)


async def test_the_gateway_shows_its_own_certificate(authority: Authority) -> None:
    mine = authority.issue("client", x509.DNSName("nexus"))
    trusted = str(authority.own.cert)
    async with secured(authority.issue("s", LOCAL), client_ca=authority.own) as peer:
        shown = {"client_cert_path": str(mine.cert), "client_key_path": str(mine.key)}
        await works(peer, root_ca_cert_path=trusted, **shown)
        with pytest.raises(ServerUnavailable):
            await works(peer, root_ca_cert_path=trusted)


async def test_a_server_without_tls_is_named_so() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(1)
        writer.close()

    plain = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with plain:
        peer = Peer(modern(echo), plain.sockets[0].getsockname()[1], "https")
        with pytest.raises(ServerUnavailable, match="TLS handshake"):
            await works(peer)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"root_ca_cert_path": "missing.pem"}, "root_ca_cert_path cannot be used: No such file"),
        ({"root_ca_cert_path": "bad.pem"}, "root_ca_cert_path cannot be used: not valid PEM"),
        ({"client_cert_path": "bad.pem", "client_key_path": "bad.pem"}, "not valid PEM"),
        ({"client_cert_path": "client.pem", "client_key_path": "ca.key"}, "belong together"),
        ({"client_cert_path": "client.pem", "client_key_path": "locked.key"}, "not valid PEM"),
        ({"client_cert_path": "client.pem"}, "one is missing"),
    ],
)
async def test_files_that_cannot_be_used_are_named_by_their_key(
    authority: Authority, keys: dict[str, str], said: str
) -> None:
    mine = authority.issue("client", x509.DNSName("nexus"))
    (authority.folder / "bad.pem").write_text("no certificate")
    locked = serialization.BestAvailableEncryption(b"pw")
    (authority.folder / "locked.key").write_bytes(
        mine.secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    async with secured(authority.issue("s", LOCAL)) as peer:
        with pytest.raises(ServerUnavailable, match=said):
            await works(peer, **{key: str(authority.folder / name) for key, name in keys.items()})
        assert peer.connections == 0


async def test_the_cas_of_the_system_are_trusted(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.own.cert))
    async with secured(authority.issue("s", LOCAL)) as peer:
        await works(peer)
