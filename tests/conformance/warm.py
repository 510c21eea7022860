"""A process that has loaded everything once, and drives each scenario of the client mode in a copy of itself.

`python -m tests.conformance.warm FD`, a listening socket. Loading takes longer than most scenarios.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.conformance import scenario
from tests.conformance.inline import ROLES

ROOT = Path(__file__).parents[2]
TOGETHER = 4
"""Scenarios at a time."""
BACKLOG = 128
"""Scenarios that wait for their turn: the suite starts all of them at once."""
REQUEST_MAX = 1024 * 1024
"""Bytes of what one scenario has to know."""


@asynccontextmanager
async def warmed(folder: Path) -> AsyncIterator[str]:
    """The address of such a process, which is gone on leaving."""
    address = str(folder / "warm")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(BACKLOG)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.conformance.warm", str(listener.fileno())),
            pass_fds=(listener.fileno(),),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
    try:
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def serve(listener: socket.socket) -> None:
    """Drive what is asked for, until this process is ended."""
    for role in ROLES:
        importlib.import_module(f"services.{role}.main")
    gc.collect()
    gc.freeze()
    running = 0
    while True:
        if running == TOGETHER:
            os.wait()
            running -= 1
        connection, _ = listener.accept()
        running += 1
        with connection:
            if os.fork() == 0:
                listener.close()
                sys.exit(drive(connection))


def drive(connection: socket.socket) -> int:
    """One scenario, its output where that belongs; its status, which is told as well."""
    url, told, outputs = received(connection)
    for standard, given in enumerate(outputs, 1):
        os.dup2(given, standard)
        os.close(given)
    status = scenario.run(url, told)
    connection.sendall(str(status).encode())
    return status


def received(connection: socket.socket) -> tuple[str, dict[str, str], list[int]]:
    """The address of the suite's server, what it told by its environment, and where output goes."""
    said, outputs = b"", list[int]()
    while not said.endswith(b"\n") and len(said) < REQUEST_MAX:
        part, given, _, _ = socket.recv_fds(connection, 64 * 1024, 2)
        if not part:
            raise EOFError("the suite left before it had said what to do")
        said += part
        outputs += given
    url, told = json.loads(said)
    return url, told, outputs


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
