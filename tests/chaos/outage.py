"""A sink that is away for minutes while clients go on calling: does it get everything, and at what price?

    python -m tests.chaos.outage [--seconds 600] [--rate 100] [--folder F]

Prints memory of the processes that keep events meanwhile. Ends with 1 if an event is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.chaos.check import Recorded, broken
from tests.chaos.clients import Habit, Told, client
from tests.chaos.fleet import TRUTH
from tests.chaos.sinkhole import Sinkhole
from tests.system.gateway import PYTHON, Gateway

CLIENTS = 10
EVERY = 10.0
"""Seconds between two looks at memory."""
CAUGHT_UP_WITHIN = 600.0
console = Console(width=110)


@dataclass(slots=True)
class Memory:
    """MB of one process: as the outage began, at most meanwhile, and at its end."""

    samples: list[float] = field(default_factory=list)

    def add(self, process: psutil.Process) -> None:
        self.samples.append(process.memory_info().rss / 2**20)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outage")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="outage-"))
    # One that no argument of ours names: whatever was started with its path has to be gone at the end.
    folder /= "gateway"
    folder.mkdir(parents=True, exist_ok=True)
    sys.exit(0 if await outage(folder, given.seconds, given.rate) else 1)


async def outage(folder: Path, seconds: float, rate: float) -> bool:
    """Whether everything arrived once the sink was back."""
    told = Told()
    server = {
        "cmd": [PYTHON, "-S", "-E", str(TRUTH), str(folder / "executions")],
        "tools": {"run": {"audit": {"capture": "redacted", "fields": ["call_id"]}}},
    }
    async with Sinkhole(random.Random(1), calm=True) as sink:
        async with Gateway(folder, {"one": server}, settings=sink.table()) as gateway:
            memory = {role: Memory() for role in ("edge", "auditor", "nats-server")}
            await _call(gateway.url, rate, 10.0, told, "warm")
            sink.down, before = True, len(sink.lines)
            watching = asyncio.create_task(_watch(gateway, memory))
            await _call(gateway.url, rate, seconds, told, "out")
            watching.cancel()
            missed, back = len(told.answered) * 2 - before, time.monotonic()
            sink.down = False
            await _caught_up(sink, told)
            took = time.monotonic() - back
            _show(memory, told, missed, took)
        recorded = Recorded.read(sink.lines)
    wrong, _ = broken(sink.lines)
    lost = (set(told.answered) - recorded.requested) | (set(told.answered) - recorded.completed)
    console.print(f"lost: {len(lost)}, faults of chains: {len(wrong)}, doubled: {recorded.doubled}")
    return not lost and not wrong and not told.strange


async def _call(url: str, rate: float, seconds: float, told: Told, name: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            calls, chance = int(seconds * rate / CLIENTS), random.Random(f"{name}{number}")
            habit = Habit(CLIENTS / rate, ("one__run",), (0,))
            tasks.create_task(client(f"{name}{number}", calls, [url], told, chance, habit))


async def _watch(gateway: Gateway, memory: dict[str, Memory]) -> None:
    while True:
        for role in ("edge", "auditor"):
            memory[role].add(gateway.services(role)[0])
        memory["nats-server"].add(gateway.broker())
        await asyncio.sleep(EVERY)


async def _caught_up(sink: Sinkhole, told: Told) -> None:
    """Return when the sink has both events of every call."""
    wanted = 2 * len(told.answered)
    async with asyncio.timeout(CAUGHT_UP_WITHIN):
        while sum(b'"event_code":"mcp.tool' in line for line in sink.lines) < wanted:
            await asyncio.sleep(0.5)


def _show(memory: dict[str, Memory], told: Told, missed: int, took: float) -> None:
    table = Table(title=f"{len(told.answered):,} calls; {missed:,} events waited, caught up in {took:.0f} s")
    for column in ("process", "MB as it began", "most", "at its end"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for role, each in memory.items():
        first, most, last = each.samples[0], max(each.samples), each.samples[-1]
        table.add_row(role, f"{first:.0f}", f"{most:.0f}", f"{last:.0f}")
    console.print(table)


if __name__ == "__main__":
    asyncio.run(main())
