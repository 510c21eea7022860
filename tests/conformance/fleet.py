"""The gateway as a fleet runs it: every service a process of its own, two edges and two connectors."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.broker import Broker, free_port, wait_port

ROOT = Path(__file__).parents[2]
FIXTURE = (sys.executable, "-m", "tests.conformance.fixture")
ROLES = ("router", "indexer", "connector", "connector", "edge", "edge")
READY_WITHIN = 60.0
STOP_WITHIN = 15.0


class Fleet:
    """An async context manager: every server is ready on entering, every process gone on leaving.

    `edges` are the ports of the edges; logs are in `folder`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.edges: list[int] = []
        self._broker = Broker(folder)
        self._running: list[subprocess.Popen[bytes]] = []
        self._key = base64.b64encode(secrets.token_bytes(32)).decode()

    async def __aenter__(self) -> Self:
        try:
            self._start()
            for port in self.edges:
                await _ready(port, TARGETS)
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
        wait_port(port, READY_WITHIN)
        config = self.folder / "nexus.toml"
        config.write_text(_config(port))
        for number, role in enumerate(ROLES):
            self._run(f"{role}-{number}", self._command(role, config))

    def _command(self, role: str, config: Path) -> list[str]:
        command = [sys.executable, "-m", "libs.cli.main", role, "--config", str(config)]
        command += ["--log", "info", "--log-style", "text", "--nats", self._broker.url]
        if role == "edge":
            self.edges.append(free_port())
            command += ["--listen-address", f"127.0.0.1:{self.edges[-1]}"]
        return command

    def _run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
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


TARGETS = {"stdio": "fixture", "http": "fixture-http", "old stdio": "old", "old http": "old-http"}
"""The same fixture by every way the gateway may reach a server; the old ones speak with sessions only."""


def _config(port: int) -> str:
    command = ", ".join(f'"{word}"' for word in FIXTURE)
    reached = {"stdio": f"cmd = [{command}]", "http": f'url = "http://127.0.0.1:{port}/mcp"'}
    tables = ["[server]\ndrain_timeout = 3\n"]
    for target, name in TARGETS.items():
        era = "legacy" if target.startswith("old") else "auto"
        tables.append(f'[mcp.servers.{name}]\nera = "{era}"\n{reached[target.removeprefix("old ")]}\n')
    return "\n".join(tables)


async def _ready(port: int, targets: dict[str, str]) -> None:
    page: Any = None
    try:
        async with asyncio.timeout(READY_WITHIN), httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while not _complete(page, targets):
                with suppress(httpx.HTTPError, ValueError):
                    page = (await client.get(f"http://127.0.0.1:{port}/ready")).json()
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise SystemExit(f"the gateway did not become ready; its last word: {page}") from None


def _complete(page: Any, targets: dict[str, str]) -> bool:
    if not isinstance(page, dict) or not page.get("ready"):
        return False
    servers = page.get("servers", {})
    return all(servers.get(name, {}).get("state") == "ready" for name in targets.values())


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end that was asked for; then it is not asked."""
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
