"""The gateway as a fleet runs it: every service a process of its own, two edges and two connectors.

Behind it is the fixture, by every way there is to reach a server.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from tests.broker import Broker, free_port, wait_port

ROOT = Path(__file__).parents[2]
FIXTURE = (sys.executable, "-m", "tests.conformance.fixture")
COPY = (sys.executable, "-S", "-m", "tests.conformance.passing")
ROLES = ("router", "indexer", "connector", "connector", "edge", "edge")
READY_WITHIN = 60.0
STOP_WITHIN = 15.0


@dataclass(frozen=True)
class Way:
    """How the gateway reaches the fixture; with the era `legacy` by a session, whatever it could do."""

    transport: Literal["stdio", "http", "sse"]
    era: Literal["auto", "modern", "legacy"]
    sharing: Literal["shared", "per-session"] = "shared"


class Fleet:
    """An async context manager: every server is ready on entering, every process gone on leaving.

    `servers` are the ways to the fixture by name: over stdio a process each, over HTTP all the same one.
    `edges` are the ports of the edges; logs are in `folder`.
    """

    def __init__(self, folder: Path, servers: Mapping[str, Way]) -> None:
        self.folder = folder
        self.servers = servers
        self.edges: list[int] = []
        self._broker = Broker(folder)
        self._place = tempfile.TemporaryDirectory(prefix="conformance-")
        self._running: list[subprocess.Popen[bytes]] = []
        self._key = base64.b64encode(secrets.token_bytes(32)).decode()

    async def __aenter__(self) -> Self:
        try:
            self._start()
            for port in self.edges:
                await _ready(port, self.servers)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def _start(self) -> None:
        self._broker.start()
        port = free_port()
        self._run("fixture", [*FIXTURE, "--http", str(port)])
        address = str(Path(self._place.name) / "fixture")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            forks = listener.fileno()
            self._run("fixtures", [*FIXTURE, "--forks", str(forks)], forks)
        wait_port(port, READY_WITHIN)
        config = self.folder / "nexus.toml"
        config.write_text(_config(port, address, self.servers))
        for number, role in enumerate(ROLES):
            self._run(f"{role}-{number}", self._command(role, config))

    def _command(self, role: str, config: Path) -> list[str]:
        command = [sys.executable, "-m", "libs.cli.main", role, "--config", str(config)]
        command += ["--log", "info", "--log-style", "text", "--nats", self._broker.url]
        if role == "edge":
            self.edges.append(free_port())
            command += ["--listen-address", f"127.0.0.1:{self.edges[-1]}"]
        return command

    def _run(self, name: str, command: list[str], *inherited: int) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=inherited,
                cwd=ROOT,
                env={**os.environ, "NEXUS_SEAL_KEYS": self._key, "PYTHONPATH": str(ROOT)},
                start_new_session=True,
            )
        self._running.append(process)

    async def _stop(self) -> None:
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        await asyncio.gather(*(asyncio.to_thread(_end, process) for process in self._running))
        self._broker.stop()
        self._place.cleanup()


def _config(port: int, address: str, servers: Mapping[str, Way]) -> str:
    command = ", ".join(f'"{word}"' for word in (*COPY, address))
    reached = {
        "stdio": f"cmd = [{command}]",
        "http": f'url = "http://127.0.0.1:{port}/mcp"\nprotocol = "streamable-http"',
        "sse": f'url = "http://127.0.0.1:{port}/sse"\nprotocol = "sse"',
    }
    tables = ["[server]\ndrain_timeout = 3\n"]
    for name, way in servers.items():
        rest = f'sharing = "{way.sharing}"\n{reached[way.transport]}\n'
        tables.append(f'[mcp.servers.{name}]\nera = "{way.era}"\n{rest}')
    return "\n".join(tables)


async def _ready(port: int, wanted: Mapping[str, Way]) -> None:
    page: Any = None
    try:
        async with asyncio.timeout(READY_WITHIN), httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while not _complete(page, wanted):
                with suppress(httpx.HTTPError, ValueError):
                    page = (await client.get(f"http://127.0.0.1:{port}/ready")).json()
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise SystemExit(f"the gateway did not become ready; its last word: {page}") from None


def _complete(page: Any, wanted: Mapping[str, Way]) -> bool:
    if not isinstance(page, dict) or not page.get("ready"):
        return False
    servers = page.get("servers", {})
    return all(servers.get(name, {}).get("state") == "ready" for name in wanted)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end that was asked for; then it is not asked."""
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
