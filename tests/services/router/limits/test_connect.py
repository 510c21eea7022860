"""Redis over TLS, with and without a certificate of our own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from services.router.limits.limit import StorageDown
from tests.services.router.limits.conftest import level, storing
from tests.valkey import Valkey

pytestmark = pytest.mark.anyio


class Authority:
    """A certificate authority, and what it has signed, as files."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.path = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.path))
        self._folder = folder

    def server(self, name: str = "127.0.0.1") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(name).configure_cert(context)
        return context

    def client(self) -> dict[str, str]:
        issued = self.ca.issue_cert("router@nexus.example")
        cert, key = self._folder / "client.pem", self._folder / "client.key"
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        return {"client_cert_path": str(cert), "client_key_path": str(key)}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def terminating(valkey: Valkey, context: ssl.SSLContext) -> AsyncIterator[int]:
    """The port of a TLS end in front of a server that speaks none itself."""

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", valkey.port)
        await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))

    async with await asyncio.start_server(on_client, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def works(url: str, **tls: Any) -> None:
    """Count one call, or raise `StorageDown`."""
    more = {"tls": {"enabled": True, **tls}} if tls else {}
    async with storing(url, **more) as remote:
        assert (await remote.take([level(5, 60)]))[0].remaining == 4


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
async def test_a_storage_over_tls_is_trusted_by_its_authority(
    valkey: Valkey, authority: Authority, scheme: str
) -> None:
    async with terminating(valkey, authority.server()) as port:
        await works(f"{scheme}://127.0.0.1:{port}", ca_cert_path=str(authority.path))


async def test_a_certificate_of_an_unknown_authority_is_refused(valkey: Valkey, authority: Authority) -> None:
    async with terminating(valkey, authority.server()) as port:
        with pytest.raises(StorageDown, match="certificate verify failed"):
            await works(f"rediss://127.0.0.1:{port}")


async def test_a_certificate_for_another_host_is_refused(valkey: Valkey, authority: Authority) -> None:
    async with terminating(valkey, authority.server("redis.example")) as port:
        with pytest.raises(StorageDown, match="certificate verify failed"):
            await works(f"rediss://127.0.0.1:{port}", ca_cert_path=str(authority.path))


async def test_insecure_accepts_any_certificate(valkey: Valkey, authority: Authority) -> None:
    async with terminating(valkey, authority.server("redis.example")) as port:
        await works(f"rediss://127.0.0.1:{port}", insecure=True)


async def test_a_storage_that_wants_our_certificate_gets_it(valkey: Valkey, authority: Authority) -> None:
    context = authority.server()
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    async with terminating(valkey, context) as port:
        url, ca = f"rediss://127.0.0.1:{port}", str(authority.path)
        with pytest.raises(StorageDown):
            await works(url, ca_cert_path=ca)
        await works(url, ca_cert_path=ca, **authority.client())


async def test_a_password_and_a_database_come_from_the_url(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path, "--requirepass", "hunter2")
    valkey.start()
    try:
        await works(f"redis://:hunter2@127.0.0.1:{valkey.port}/3")
        with pytest.raises(StorageDown) as caught:
            await works(f"redis://:wrong-secret@127.0.0.1:{valkey.port}")
        assert "wrong-secret" not in str(caught.value)
    finally:
        valkey.stop()
