"""What the progress of a call costs, beside the same call without: ten events, at once and spread."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from benchmarks.gateway.calls import Downstream, settle
from benchmarks.gateway.generator import Failed, Generator, Round
from benchmarks.gateway.load import Job
from benchmarks.gateway.processes import Processes
from benchmarks.gateway.traffic import Client, Traffic, calling, progressing

EVENTS = 10
SPREAD = 0.002
"""Seconds between events that do not come at once: each is then a wake-up of its own."""
CALLS = 1000
SLOW = 100
"""Calls whose events are spread."""


class Stretch(msgspec.Struct):
    """One case, in CPU microseconds of a call, all processes of the gateway: the cheapest rounds."""

    client: Client
    downstream: Downstream
    in_flight: int
    pause: float
    """Milliseconds between events."""
    plain: float = 0.0
    progress: float = 0.0
    error: str = ""

    @property
    def ratio(self) -> float:
        return self.progress / self.plain if self.plain else 0.0


def progress(generator: Generator, url: str, processes: Processes, rounds: int) -> Iterator[Stretch]:
    """Every kind of client and server; plain and progress rounds take turns, so that both meet the same."""
    places: Sequence[Downstream] = ("stdio", "http")
    clients: Sequence[Client] = ("modern", "legacy")
    cases = ((1, 0.0), (16, 0.0), (1, SPREAD))
    for place, client, (in_flight, pause) in itertools.product(places, clients, cases):
        row = Stretch(client, place, in_flight, pause * 1000)
        plain = calling(url, client, f"{place}__echo", inside="execute")
        told = progressing(url, client, f"{place}__steps", EVENTS, pause=pause, inside="execute")
        try:
            pairs = [_pair(generator, plain, told, row, processes) for _ in range(rounds)]
            row.plain, row.progress = (min(each.cost for each in side) for side in zip(*pairs, strict=True))
        except Failed as error:
            row.error = str(error)
        yield row


def _pair(
    generator: Generator, plain: Traffic, told: Traffic, row: Stretch, processes: Processes
) -> tuple[Round, Round]:
    settle(generator, told)
    calls = SLOW if row.pause else CALLS
    return (
        generator.round(Job(plain, row.in_flight, CALLS), processes),
        generator.round(Job(told, row.in_flight, calls), processes),
    )
