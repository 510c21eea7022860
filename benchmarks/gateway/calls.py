"""What a call costs, and how long it takes: direct, and through the gateway in every way there is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Literal

import msgspec

from benchmarks.gateway.generator import Failed, Generator, Round
from benchmarks.gateway.load import Job
from benchmarks.gateway.processes import Costs, Processes
from benchmarks.gateway.traffic import Client, Traffic, calling

Way = Literal["direct", "execute", "transparent"]
Downstream = Literal["stdio", "http"]
SETTLE_WITHIN = 30.0
PAUSE = 0.25


class Plan(msgspec.Struct, frozen=True):
    """How much is measured."""

    in_flight: tuple[int, ...] = (1, 16, 64)
    calls: int = 4000
    rounds: int = 3
    ways: tuple[Way, ...] = ("execute", "transparent")
    clients: tuple[Client, ...] = ("modern", "legacy")


class Row(msgspec.Struct):
    """One line of the table: the cheapest round's costs, the median of the rounds' times."""

    way: Way
    client: Client
    downstream: Downstream
    in_flight: int
    rate: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    costs: Costs = {}
    cost: float = 0.0
    error: str = ""


class Bench:
    """Measures one target, `url`, and the HTTP server behind it, `direct`."""

    def __init__(self, generator: Generator, plan: Plan) -> None:
        self._generator = generator
        self._plan = plan

    def direct(self, url: str) -> Iterator[Row]:
        """Without a gateway: what HTTP and the server themselves take."""
        for client in self._plan.clients:
            yield from self._rows("direct", "http", calling(url, client, "echo"))

    def gateway(self, url: str, processes: Processes) -> Iterator[Row]:
        """Through the gateway."""
        places: Sequence[Downstream] = ("stdio", "http")
        for way, place, client in itertools.product(self._plan.ways, places, self._plan.clients):
            yield from self._rows(way, place, _traffic(url, way, place, client), processes)

    def _rows(
        self, way: Way, place: Downstream, traffic: Traffic, processes: Processes | None = None
    ) -> Iterator[Row]:
        for in_flight in self._plan.in_flight:
            row = Row(way, traffic.client, place, in_flight)
            try:
                self._fill(row, self._measured(traffic, in_flight, processes))
            except Failed as error:
                row.error = str(error)
            yield row
            if row.error:
                return

    def _measured(self, traffic: Traffic, in_flight: int, processes: Processes | None) -> list[Round]:
        settle(self._generator, traffic)
        # A call alone takes the longest, so fewer are enough for the same time.
        calls = self._plan.calls if in_flight > 1 else self._plan.calls // 2
        job = Job(traffic, in_flight, calls)
        return [self._generator.round(job, processes) for _ in range(self._plan.rounds)]

    def _fill(self, row: Row, rounds: list[Round]) -> None:
        row.rate = max(each.rate for each in rounds)
        row.p50, row.p95, row.p99 = (
            median(getattr(each, name) for each in rounds) for name in ("p50", "p95", "p99")
        )
        cheapest = min(rounds, key=lambda each: each.cost)
        row.costs, row.cost = cheapest.costs, cheapest.cost


def settle(generator: Generator, traffic: Traffic) -> None:
    """Return once a call succeeds. Raises `Failed` with the last reason after 30 s."""
    deadline = time.monotonic() + SETTLE_WITHIN
    while True:
        try:
            generator.round(Job(traffic, 1, 2, warm=1))
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE)
        else:
            return


def _traffic(url: str, way: Way, place: Downstream, client: Client) -> Traffic:
    if way == "transparent":
        return calling(f"{url}/{place}", client, "echo")
    return calling(url, client, f"{place}__echo", inside="execute")
