"""One run: clients call, processes are killed as a seed decides, then everything is compared."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.check import Recorded, broken, faults
from tests.chaos.clients import Habit, Told, client
from tests.chaos.fleet import Fleet
from tests.chaos.sinkhole import Sinkhole
from tests.cluster import Cluster

SETTLED_WITHIN = 300.0
"""Seconds for every sink to catch up after the last call: the deadline of a call, the reconciler, a retry."""
QUIET = 20.0
"""Seconds without an event of a call anywhere, after which none is expected: above deadline and grace."""
OF_CALLS = b'"event_code":"mcp.'

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What happens in a run; equal plans strike at equal moments."""

    seed: int = 1
    calls: int = 10_000
    clients: int = 50
    rate: float = 150.0
    """Calls a second, all clients together."""
    kills: dict[str, int] = field(
        default_factory=lambda: {"edge": 3, "router": 5, "connector": 10, "auditor": 3, "nats": 3}
    )

    def strikes(self) -> list[tuple[float, str]]:
        """When which role is struck, in seconds from the first call."""
        chance, length = random.Random(self.seed), self.calls / self.rate
        victims = [role for role, times in self.kills.items() for _ in range(times)]
        return sorted((chance.uniform(0.05, 0.9) * length, role) for role in victims)


@dataclass(slots=True)
class Outcome:
    """What a run has shown."""

    told: Told
    executed: Counter[str]
    sinks: dict[str, Recorded]
    deaths: list[str]
    chains: int
    faults: list[str]
    seconds: float


async def run(plan: Plan, folder: Path, say: Say) -> Outcome:
    """Raises what goes wrong with the run itself; what is wrong with the trail is in the outcome."""
    told, began = Told(), time.monotonic()
    async with Sinkhole(random.Random(plan.seed)) as sinkhole:
        async with Fleet(folder, sinkhole.table()) as fleet:
            say(f"ready after {time.monotonic() - began:.0f} s; seed {plan.seed}, {plan.calls} calls")
            began = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(_tell(plan, told, fleet, say))
                striking = tasks.create_task(_strike(plan, fleet))
                await _calls(plan, fleet, told)
                await striking
                telling.cancel()
            sinkhole.calm = True
            seconds = time.monotonic() - began
            say(f"{told.finished} calls over after {seconds:.0f} s; waiting for the sinks")
            await _settled(folder / "audit.ndjson", sinkhole, fleet.cluster)
        lines = (folder / "audit.ndjson").read_bytes().splitlines()
    sinks = {"file": Recorded.read(lines), "webhook": Recorded.read(sinkhole.lines)}
    executed = Counter((folder / "executions").read_text().split())
    found = faults(told, executed, sinks)
    wrong, chains = broken(lines)
    return Outcome(told, executed, sinks, fleet.deaths, chains, found + wrong, seconds)


async def _calls(plan: Plan, fleet: Fleet, told: Told) -> None:
    urls = [fleet.url(edge) for edge in fleet.ports]
    share, habit = plan.calls // plan.clients, Habit(plan.clients / plan.rate)
    async with asyncio.TaskGroup() as tasks:
        for number in range(plan.clients):
            chance = random.Random(f"{plan.seed}/{number}")
            tasks.create_task(client(f"c{number}", share, urls, told, chance, habit))


async def _strike(plan: Plan, fleet: Fleet) -> None:
    chance, began = random.Random(plan.seed), time.monotonic()
    for moment, role in plan.strikes():
        await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
        await fleet.strike(role, chance)


async def _tell(plan: Plan, told: Told, fleet: Fleet, say: Say) -> None:
    for second in itertools.count(1):
        await asyncio.sleep(1)
        fleet.revive()
        if second % 10 == 0:
            say(f"{told.finished}/{plan.calls} calls over, {len(fleet.deaths)} processes killed")


async def _settled(path: Path, sinkhole: Sinkhole, cluster: Cluster) -> None:
    """Return when no call leaves events any more and no sink owes the stream an acknowledgement."""
    end, size, quiet = time.monotonic() + SETTLED_WITHIN, (-1, -1), time.monotonic()
    while time.monotonic() < end:
        now = (path.read_bytes().count(OF_CALLS), sum(OF_CALLS in line for line in sinkhole.lines))
        if now != size:
            size, quiet = now, time.monotonic()
        elif time.monotonic() > quiet + QUIET and not await cluster.unacknowledged("AUDIT"):
            return
        await asyncio.sleep(0.5)
