"""What sessions and open streams cost one edge, and whether it gives everything back."""

from __future__ import annotations

import asyncio
import resource
import time
from contextlib import suppress

import msgspec
import uvloop

from benchmarks.gateway.calls import SETTLE_WITHIN
from benchmarks.gateway.processes import Costs, Processes, spent
from benchmarks.gateway.streams import closed, initialized, listening, standing
from benchmarks.gateway.target import Peer, running, stdio
from benchmarks.gateway.traffic import calling
from benchmarks.gateway.wire import WrongAnswer
from services.edge.standing import LINGER

SERVER = "quiet"
WARM = 200
IDLE = 3.0
"""Seconds for which idle streams are watched."""
CYCLES = 3
FILES = 256
"""Open files beside the streams."""
QUIET_WITHIN = 15.0
SETTLED = 0.02
"""Seconds of CPU of all processes in a quarter of a second, below which nothing is being cleared up."""
PAUSE = 0.25


class Stage(msgspec.Struct):
    """The edge at one moment; memory in MB, and the CPU of the whole gateway in ms per second while idle."""

    name: str
    memory: float
    idle: float
    sockets: int
    came: int = 0
    """Sessions or streams that are new."""
    each: float = 0.0
    """KiB more than before, for each of these."""


class Crowd:
    """Takes the stages, one after the other, of a gateway at `url`."""

    def __init__(self, url: str, processes: Processes, sessions: int, streams: int) -> None:
        self._url = f"{url}/{SERVER}"
        self._processes = processes
        self._sessions = sessions
        self._streams = streams
        self._traffic = calling(self._url, "legacy", "echo")

    async def stages(self) -> list[Stage]:
        """Sessions, streams of both kinds upon them, none, and the same again and again."""
        await self._warm()
        found = [await self._stage("nobody")]
        tokens = await initialized(self._traffic, self._sessions)
        found.append(await self._stage(f"{self._sessions:,} sessions", found[-1], self._sessions))
        gets = await standing(self._url, tokens[: self._streams])
        found.append(await self._stage(f"and {self._streams:,} GET streams", found[-1], self._streams))
        listens = await listening(self._url, self._streams)
        found.append(await self._stage(f"and {self._streams:,} listen streams", found[-1], self._streams))
        await closed([*gets, *listens])
        await asyncio.sleep(LINGER)
        found.append(await self._stage("all closed"))
        for number in range(1, CYCLES + 1):
            await self._cycle(tokens)
            found.append(await self._stage(f"opened and closed again, {number}"))
        await asyncio.sleep(LINGER)
        found.append(await self._stage("half a minute later"))
        return found

    async def _settled(self) -> None:
        """Return once a session can be begun: the edge may not have heard of the server's list yet."""
        async with asyncio.timeout(SETTLE_WITHIN):
            while True:
                with suppress(WrongAnswer):
                    await initialized(self._traffic, 1)
                    return
                await asyncio.sleep(PAUSE)

    async def _warm(self) -> None:
        await self._settled()
        await closed(await standing(self._url, await initialized(self._traffic, WARM)))
        await closed(await listening(self._url, WARM))
        await asyncio.sleep(LINGER)

    async def _cycle(self, tokens: list[str]) -> None:
        await closed(await standing(self._url, tokens[: self._streams]))
        await closed(await listening(self._url, self._streams))

    async def _stage(self, name: str, before: Stage | None = None, came: int = 0) -> Stage:
        idle = await asyncio.to_thread(self._idle)
        memory = self._processes.memory()["edge"]
        each = (memory - before.memory) * 1e6 / 1024 / came if before is not None else 0.0
        return Stage(name, memory, idle, int(self._processes.sockets()["edge"]), came, each)

    def _idle(self) -> float:
        """Milliseconds of CPU per second, once what was opened or closed is done with."""
        deadline = time.monotonic() + QUIET_WITHIN
        while _total(self._processes, PAUSE) > SETTLED and time.monotonic() < deadline:
            pass
        return _total(self._processes, IDLE) / IDLE * 1000


def _allow(files: int) -> None:
    """Let this process have so many open at once; the gateway sees to itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(files, hard)), hard))


def _total(processes: Processes, seconds: float) -> float:
    before: Costs = processes.cpu()
    time.sleep(seconds)
    return sum(spent(before, processes.cpu()).values())


def crowd(sessions: int, streams: int) -> list[Stage]:
    """Measure one gateway with one server."""
    _allow(2 * streams + FILES)
    with running({SERVER: stdio()}, Peer()) as target:
        target.wait_ready()
        taken = Crowd(target.url, target.processes(), sessions, streams)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(taken.stages())
