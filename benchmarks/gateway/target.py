"""The gateway that is measured, Nexus or a peer, and the downstream servers behind it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.gateway.processes import Processes

ECHO = Path(__file__).with_name("echo.py")
START_WITHIN = 120.0
STOP_WITHIN = 60.0
PAUSE = 0.02
NEXUS = f"{shlex.quote(sys.executable)} -m libs.cli.main -c {{config}} -l 127.0.0.1:{{port}} --log error"


class NotStarted(Exception):
    """A process did not do in time what it was started for."""


@dataclass(frozen=True, slots=True)
class Peer:
    """How a gateway is started, and where it listens. `{config}` and `{port}` are filled in."""

    command: str = NEXUS
    url: str = "http://127.0.0.1:{port}/mcp"
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """A running gateway. `spawned` is the time of its start, on the monotonic clock."""

    url: str
    process: subprocess.Popen[bytes]
    spawned: float

    def processes(self) -> Processes:
        return Processes(self.process.pid)

    def wait_healthy(self) -> float:
        """Seconds from spawning to an answer of `/health`."""
        return self._wait("/health", lambda _: True)

    def wait_ready(self) -> float:
        """Seconds from spawning until every server is ready."""
        return self._wait("/ready", _all_ready)

    def _wait(self, path: str, good: Any) -> float:
        while time.monotonic() < self.spawned + START_WITHIN:
            with suppress(OSError, HTTPException):
                answer = get(self.url, path)
                if good(answer):
                    return time.monotonic() - self.spawned
            if self.process.poll() is not None:
                raise NotStarted(f"the gateway ended with status {self.process.returncode}")
            time.sleep(PAUSE)
        raise NotStarted(f"{path} of {self.url} was not as wanted within {START_WITHIN:g} s")


def stdio(era: str = "both", tools: Path | None = None) -> dict[str, Any]:
    """The configuration of an echo server over standard input and output."""
    command = [sys.executable, "-S", "-I", str(ECHO), era]
    return {"cmd": command if tools is None else [*command, str(tools)]}


@contextmanager
def http(era: str = "both", port: int = 0) -> Iterator[str]:
    """An echo server over HTTP; its URL."""
    with socket.create_server(("127.0.0.1", port), backlog=512) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        command = [sys.executable, "-m", "benchmarks.gateway.web", str(listener.fileno()), era]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()])
    try:
        yield url
    finally:
        process.terminate()
        process.wait(STOP_WITHIN)


@contextmanager
def running(servers: dict[str, dict[str, Any]], peer: Peer, extra: str = "") -> Iterator[Target]:
    """A gateway with these servers and `extra` tables, in a folder of its own; nothing is left of it."""
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as folder:
        config = Path(folder) / "nexus.toml"
        config.write_text(configuration(servers) + extra)
        places = {"config": str(config), "port": str(_free_port())}
        command = shlex.split(peer.command.format_map(places))
        spawned = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, start_new_session=True)
        try:
            yield Target(peer.url.format_map(places), process, spawned)
        finally:
            _end(process)


def configuration(servers: dict[str, dict[str, Any]]) -> str:
    """A `nexus.toml`. JSON strings and lists of them are TOML as well."""
    tables = (
        "\n".join([f"[mcp.servers.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())])
        for name, keys in servers.items()
    )
    return "\n\n".join(tables) + "\n"


def get(url: str, path: str) -> Any:
    """The JSON at `path` of the same host."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=START_WITHIN)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _all_ready(answer: Any) -> bool:
    servers: Sequence[Any] = answer["servers"].values()
    return all(each["state"] == "ready" for each in servers)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_WITHIN)
