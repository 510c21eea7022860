"""Keeps the service processes of a local run alive, and ends them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from libs.common.service import SUPERVISOR_VARIABLE

log = structlog.get_logger("supervisor")

BACKOFF_FIRST = 0.1
BACKOFF_MAX = 5.0
STEADY = 10.0
"""Seconds a process must have lived for the back-off to begin anew."""
EXIT_CONFIG = 2
KILLED_WITHIN = 5.0
"""Seconds until the kernel has taken away a process that was killed."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process to keep running."""

    role: str
    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    fds: tuple[int, ...] = ()


class Supervisor:
    """Runs children until told to stop; then stops one role after the other, in `order`.

    A child that dies is started again with back-off. One that cannot use its configuration ends everything.
    `grace` is how many seconds a role may take to drain before what is left of it is killed.
    """

    def __init__(self, children: Sequence[Child], order: Sequence[str], *, grace: float) -> None:
        self._children = children
        self._order = order
        self._grace = grace
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._failed = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop`; the exit status for the whole."""
        owners = {child.name: asyncio.create_task(self._own(child)) for child in self._children}
        waits = [asyncio.create_task(event.wait()) for event in (stop, self._failed)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await self._stop(owners)
        return EXIT_CONFIG if self._failed.is_set() else 0

    async def _own(self, child: Child) -> None:
        backoff = BACKOFF_FIRST
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._live_once(child)
            if code == EXIT_CONFIG:
                self._failed.set()
            if self._stopping.is_set() or self._failed.is_set():
                return
            if time.monotonic() - started > STEADY:
                backoff = BACKOFF_FIRST
            log.warning("process ended; starting it again", process=child.name, exit=code, wait=backoff)
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff):
                    await self._stopping.wait()
            backoff = min(backoff * 2, BACKOFF_MAX)

    async def _live_once(self, child: Child) -> int | None:
        """The exit status; None if it could not be started."""
        try:
            process = await self._start(child)
        except OSError as error:
            # The sentence says it all: a trace of our own fork would not help.
            log.error("process not started", process=child.name, error=error.strerror)  # noqa: TRY400
            return None
        self._processes[child.name] = process
        if self._stopping.is_set():
            self._signal(child.name, signal.SIGTERM)
        try:
            return await process.wait()
        finally:
            self._processes.pop(child.name, None)

    async def _start(self, child: Child) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *child.argv,
            env={**os.environ, **child.env, SUPERVISOR_VARIABLE: str(os.getpid())},
            pass_fds=child.fds,
            stdin=asyncio.subprocess.DEVNULL,
            # Its own session: Ctrl-C must reach the supervisor alone, which drains in order.
            start_new_session=True,
        )

    async def _stop(self, owners: dict[str, asyncio.Task[None]]) -> None:
        self._stopping.set()
        for role in self._order:
            names = [child.name for child in self._children if child.role == role]
            if names:
                await self._end(names, [owners[name] for name in names])

    async def _end(self, names: Sequence[str], owners: Sequence[asyncio.Task[None]]) -> None:
        for name in names:
            self._signal(name, signal.SIGTERM)
        _, late = await asyncio.wait(owners, timeout=self._grace)
        if not late:
            return
        for name in names:
            if name in self._processes:
                log.warning("process did not drain in time; killing it", process=name, seconds=self._grace)
                self._signal(name, signal.SIGKILL)
        await asyncio.wait(late, timeout=KILLED_WITHIN)

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self._processes.get(name)
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(number)
