"""A process that has loaded everything once, and drives each scenario of the client mode in a copy of itself.

`python -m tests.conformance.warm FD`, a listening socket. Loading takes longer than most scenarios.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.conformance import forks, scenario
from tests.conformance.inline import ROLES

ROOT = Path(__file__).parents[2]
TOGETHER = 6
"""Scenarios at a time."""
BACKLOG = 128
"""Scenarios that wait for their turn: the suite starts all of them at once."""


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


def drive(said: str) -> int:
    """One scenario: the address of the suite's server, and what it told by its environment."""
    url, told = json.loads(said)
    return scenario.run(url, told)


def main() -> None:
    """Load, and serve."""
    for role in ROLES:
        importlib.import_module(f"services.{role}.main")
    forks.serve(socket.socket(fileno=int(sys.argv[1])), drive, TOGETHER)


if __name__ == "__main__":
    main()
