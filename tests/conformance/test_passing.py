"""Programs that another process runs: their status is told, and its end is theirs."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("told", "status"), [(b"0", 0), (b"1", 1), (b"", 1)])
def test_a_program_ends_as_the_one_that_runs_it_says(tmp_path: Path, told: bytes, status: int) -> None:
    address = str(tmp_path / "runner")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(30)
        listener.bind(address)
        listener.listen()
        command = [sys.executable, "-S", "-m", "tests.conformance.passing", address, "word"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as program:
            connection, _ = listener.accept()
            with connection:
                said = b""
                while not said.endswith(b"\n"):
                    said += connection.recv(64)
                connection.sendall(told)
            assert program.wait(30) == status
    assert said == b"word\n"
