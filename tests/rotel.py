"""A real collector of OpenTelemetry, that prints what it is sent."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest

from tests.broker import free_port, wait_port

LONG = 20.0


class Rotel:
    """A collector that prints what it is sent."""

    def __init__(self, folder: Path) -> None:
        found = find_spec("rotel")
        if found is None or found.origin is None:
            pytest.skip("rotel has no build for this machine")
        if not _library().exists():
            pytest.skip("rotel is linked to the shared library of Python, which is not here")
        self.port = free_port()
        self._log = folder / "rotel.log"
        self._agent = Path(found.origin).with_name("rotel-agent")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        signals = [word for signal in ("traces", "metrics", "logs") for word in ("--debug-log", signal)]
        grpc_at, http_at = f"127.0.0.1:{self.port}", f"127.0.0.1:{free_port()}"
        addresses = ["--otlp-grpc-endpoint", grpc_at, "--otlp-http-endpoint", http_at]
        # It is linked to the library of the Python it was built for.
        env = {**os.environ, "LD_LIBRARY_PATH": str(_library().parent)}
        command = [str(self._agent), "start", "--exporter", "blackhole", *addresses, *signals]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--debug-log-verbosity", "detailed"], stdout=log, stderr=log, env=env
            )
        wait_port(self.port)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    async def said(self, *words: str) -> None:
        """Wait until it has printed all of these."""
        with anyio.fail_after(LONG):
            while not all(word in self._log.read_text(errors="replace") for word in words):
                await anyio.sleep(0.02)


def _library() -> Path:
    """The shared library of this Python, where it was built with one."""
    return Path(str(sysconfig.get_config_var("LIBDIR")), str(sysconfig.get_config_var("INSTSONAME")))
