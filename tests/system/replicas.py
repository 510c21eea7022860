"""Two edges with an address each, so that a test decides which one gets a request."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
import httpx

from tests.broker import Broker, free_port
from tests.system.gateway import COMMAND, ROOT, Server, table

ROLES = ("router", "indexer", "connector", "edge", "edge")
READY_WITHIN = 45.0
STOP_WITHIN = 15.0


class Replicas:
    """A fleet with the servers given. An async context manager: ready on entering, gone on leaving."""

    def __init__(self, folder: Path, **servers: Server) -> None:
        self.folder = folder
        self.ports: list[int] = []
        self.edges: list[subprocess.Popen[bytes]] = []
        self._servers = servers
        self._broker = Broker(folder)
        self._others: list[subprocess.Popen[bytes]] = []
        self._key = base64.b64encode(secrets.token_bytes(32)).decode()

    async def __aenter__(self) -> Self:
        self._broker.start()
        config = self.folder / "nexus.toml"
        tables = [table(name, each) for name, each in self._servers.items()]
        config.write_text("[server]\ndrain_timeout = 2\n" + "".join(tables))
        try:
            for number, role in enumerate(ROLES):
                self._start(number, role, config)
            for port in self.ports:
                await self._ready(port)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def url(self, edge: int, path: str = "/mcp") -> str:
        return f"http://127.0.0.1:{self.ports[edge]}{path}"

    def _start(self, number: int, role: str, config: Path) -> None:
        command = [*COMMAND, role, "--config", str(config), "--nats", self._broker.url]
        command += ["--log", "info", "--log-style", "text"]
        if role == "edge":
            self.ports.append(free_port())
            command += ["--listen-address", f"127.0.0.1:{self.ports[-1]}"]
        with (self.folder / f"{role}-{number}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "NEXUS_SEAL_KEYS": self._key},
            )
        (self.edges if role == "edge" else self._others).append(process)

    async def _ready(self, port: int) -> None:
        with anyio.fail_after(READY_WITHIN):
            async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
                while True:
                    with suppress(httpx.HTTPError, ValueError, KeyError):
                        page = (await client.get(f"http://127.0.0.1:{port}/ready")).json()
                        states = {each["state"] for each in page["servers"].values()}
                        if page["ready"] and states == {"ready"}:
                            return
                    await anyio.sleep(0.05)

    async def _stop(self) -> None:
        everyone = [*self.edges, *self._others]
        for process in everyone:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in everyone:
            await anyio.to_thread.run_sync(_end, process)
        self._broker.stop()


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
