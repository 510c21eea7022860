"""The word of welcome: the right address, once somebody answers there."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from rich.console import Console
from structlog.testing import capture_logs

from libs.cli import welcome
from libs.common.config import Config, Mcp, Server, ServerTls
from libs.common.config.model import StdioServer
from tests.services.connector.http.test_tls import Authority

pytestmark = pytest.mark.anyio

CONFIG = Config(
    mcp=Mcp(path="/tools", servers={name: StdioServer(name=name, cmd=("x",)) for name in ("git", "time")})
)


@asynccontextmanager
async def answering(reply: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[socket.socket]:
    """A listening socket where somebody says `reply` and leaves."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(reply)
        writer.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with await asyncio.start_server(answer, sock=listener, ssl=tls):
            yield listener


def shown(config: Config) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(welcome.panel("http://127.0.0.1:8000/mcp", config))
    return out.getvalue()


def test_the_panel_has_what_each_client_needs() -> None:
    text = shown(CONFIG)
    assert "http://127.0.0.1:8000/mcp   2 servers configured" in text
    assert "claude mcp add --transport http nexus http://127.0.0.1:8000/mcp" in text
    for place, key in ((".cursor/mcp.json", "mcpServers"), (".vscode/mcp.json", "servers")):
        line = next(line for line in text.splitlines() if place in line)
        entry = json.loads(line[line.index("{") : line.rindex("}") + 1])
        assert entry == {key: {"nexus": {"type": "http", "url": "http://127.0.0.1:8000/mcp"}}}


@pytest.mark.parametrize(
    ("family", "bound", "shown"),
    [
        (socket.AF_INET, "127.0.0.1", "http://127.0.0.1:{}/tools"),
        (socket.AF_INET, "0.0.0.0", "http://127.0.0.1:{}/tools"),
        (socket.AF_INET6, "::1", "http://[::1]:{}/tools"),
        (socket.AF_INET6, "::", "http://[::1]:{}/tools"),
    ],
)
def test_the_endpoint_is_one_that_works_on_this_machine(
    family: socket.AddressFamily, bound: str, shown: str
) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind((bound, 0))
        assert welcome.endpoint(listener, CONFIG) == shown.format(listener.getsockname()[1])


def test_the_endpoint_of_a_listener_with_tls_is_https() -> None:
    tls = ServerTls(certificate=Path("/c.pem"), key=Path("/k.pem"))
    config = Config(server=Server(tls=tls), mcp=CONFIG.mcp)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert welcome.endpoint(listener, config).startswith("https://")


async def test_it_greets_once_somebody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as listener:
        with capture_logs() as logs, anyio.fail_after(5):
            await welcome.greet(listener, CONFIG, log_style="json")
        assert [(log["event"], log["url"]) for log in logs] == [
            ("serving", welcome.endpoint(listener, CONFIG))
        ]
        assert capsys.readouterr() == ("", "")
        with capture_logs(), anyio.fail_after(5):
            await welcome.greet(listener, CONFIG, log_style="color")
        assert "claude mcp add" in capsys.readouterr().err


async def test_an_edge_with_a_certificate_of_its_own_making_is_greeted_too(tmp_path: Path) -> None:
    issued = Authority(tmp_path).own
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(issued.cert, issued.key)
    config = Config(server=Server(tls=ServerTls(certificate=issued.cert, key=issued.key)), mcp=CONFIG.mcp)
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n", tls) as listener:
        with capture_logs() as logs, anyio.fail_after(5):
            await welcome.greet(listener, config, log_style="json")
    assert logs[0]["url"].startswith("https://127.0.0.1:")


async def test_a_silent_edge_is_given_up_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(welcome, "PATIENCE", 0.2)
    async with answering(b"") as listener:
        with capture_logs() as logs, anyio.fail_after(5):
            await welcome.greet(listener, CONFIG, log_style="json")
    assert logs[-1]["event"] == "the edge does not answer yet"
    with socket.create_server(("127.0.0.1", 0)) as silent, capture_logs() as logs, anyio.fail_after(5):
        await welcome.greet(silent, CONFIG, log_style="json")
    assert logs[-1]["event"] == "the edge does not answer yet"
