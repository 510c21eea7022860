"""A certificate that is replaced while the edge runs."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import anyio
import pytest
from anyio.streams.tls import TLSAttribute

from services.edge import certificates
from services.edge.certificates import Certificate
from tests.services.edge.authority import Authority

pytestmark = pytest.mark.anyio


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "cert.pem", tmp_path / "key.pem"


async def shown(port: int) -> bytes:
    """The certificate a new connection is shown, DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with await anyio.connect_tcp(
        "127.0.0.1", port, tls=True, ssl_context=context, tls_standard_compatible=False
    ) as stream:
        found = stream.extra(TLSAttribute.peer_certificate_binary)
        assert found is not None
        return found


async def test_a_new_certificate_is_shown_to_new_connections(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "WATCH", 0.02)
    first, second = Authority("first"), Authority("second")
    first.write(*files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    watch = asyncio.create_task(Certificate(*files).watch(context))
    try:
        with anyio.fail_after(10):
            assert await shown(port) == first.der
            files[1].write_text("no key")
            await asyncio.sleep(0.1)
            assert await shown(port) == first.der
            second.write(*files)
            while await shown(port) != second.der:
                await asyncio.sleep(0.02)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        server.close()
        await server.wait_closed()
