"""What metrics cost a call in each process, and a scrape of a large fleet.

python -m benchmarks.meters
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import prometheus_client
from msgspec import Raw

from libs.common.errors import NULL
from libs.common.messages.metrics import MetricsTold
from libs.common.meters import families
from libs.common.meters.asking import exposition
from libs.common.meters.cells import SECONDS, Series, Spread, Sum
from libs.common.meters.registry import FAMILIES
from services.connector.timed import Timed
from services.edge.exchange import Exchange
from services.edge.measured import Measured
from services.edge.message import Message
from services.edge.settings import Settings
from services.edge.tally import Tally
from services.router.limits import limiter
from services.router.limits.limit import Level, Reading, limited
from tests.services.edge.stub import StubCatalog

ROUNDS = 100_000
WORKERS, TOOLS = 100, 20
BOUNDS = len(SECONDS) + 1


class All:
    """The surface of all servers, as far as counting looks at it."""

    server = ""


def spent(work: Callable[[], object]) -> float:
    """µs of CPU of one call of `work`."""
    began = time.process_time()
    for _ in range(ROUNDS):
        work()
    return (time.process_time() - began) / ROUNDS * 1e6


async def awaited(work: Callable[[], Awaitable[object]]) -> float:
    """The same of work that is awaited."""
    began = time.process_time()
    for _ in range(ROUNDS):
        await work()
    return (time.process_time() - began) / ROUNDS * 1e6


async def edge() -> float:
    """One `execute`: HTTP and JSON-RPC, less what both do without being counted."""
    arguments = {"name": "demo__echo", "arguments": {}}
    message = Message("request", "tools/call", NULL, {"name": "execute", "arguments": arguments}, {})
    exchange: Any = Exchange("POST", None, None, All(), {})  # type: ignore[arg-type]  # nobody is there
    tally = Tally(StubCatalog(), Settings(version="1"))

    async def work() -> Raw:
        return NULL

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    async def send(message: Any) -> None:
        pass

    scope: Any = {"method": "POST", "endpoint": app}
    outer: Any = Measured(app, {app: "/mcp"}, ())
    counted = await awaited(lambda: tally.answered(exchange, message, work())) - await awaited(work)
    return (
        counted
        + await awaited(lambda: outer(scope, None, send))
        - await awaited(lambda: app(scope, None, send))
    )


def router(levels: int) -> float:
    """One request that counts to so many limits."""
    asked = [Level(f"level{number}", "", limited(1, 1)) for number in range(levels)]
    said = [Reading(0, 1, 1)] * levels
    count = limiter._count  # noqa: SLF001 (the part of the limiter that counts)
    return spent(lambda: count(asked, said)) + spent(lambda: families.ROUTED.cell("call", "forwarded").add())


def connector() -> float:
    def call() -> None:
        with Timed("git"):
            pass

    return spent(call)


async def scrape() -> tuple[int, float]:
    """Lines of the text of a large fleet, and ms of CPU for them."""
    calls = tuple(
        Series((f"tool{number}", "downstream", "git", "success", *[""] * 5), 1.5, (1,) * BOUNDS)
        for number in range(TOOLS)
    )
    single = {
        name: (Series(("",) * len(family.labels), 1.0),)
        for name, family in FAMILIES.items()
        if family.kind != "histogram"
    }
    told = {families.TOOL_CALLS.name: calls, **single}
    fleet = [MetricsTold(f"p{number}", "connector", f"c{number}", told) for number in range(WORKERS)]
    began = time.process_time()
    text = await exposition(fleet)
    return text.count("\n"), (time.process_time() - began) * 1e3


def library() -> list[tuple[str, float]]:
    """The same numbers by prometheus_client, and what one line of its text costs."""
    registry = prometheus_client.CollectorRegistry()
    sums = prometheus_client.Counter("sums", "x", ["a"], registry=registry).labels("b")
    spread = prometheus_client.Histogram("spread", "x", ["a"], registry=registry, buckets=SECONDS)
    for number in range(1000):
        spread.labels(str(number)).observe(1)
    one = spread.labels("0")
    began = time.process_time()
    lines = prometheus_client.generate_latest(registry).count(b"\n")
    line = (time.process_time() - began) / lines * 1e6
    return [
        ("a sum, by prometheus_client", spent(sums.inc)),
        ("an observation, by prometheus_client", spent(lambda: one.observe(0.3))),
        ("a line of text, by prometheus_client", line),
    ]


async def main() -> None:
    one, spread = Sum(), Spread()
    lines, cpu = await scrape()
    rows = [
        ("a sum", spent(one.add)),
        ("an observation", spent(lambda: spread.observe(0.3))),
        ("a line of text", cpu / lines * 1e3),
        *library(),
        ("all metrics of a call in the edge", await edge()),
        ("in the router, five limits", router(5)),
        ("in the connector", connector()),
    ]
    print("| µs of CPU | |\n|---|---:|")
    for name, cost in rows:
        print(f"| {name} | {cost:.2f} |")
    print(f"\nA scrape of {WORKERS} workers with {TOOLS} tools each: {lines} lines, {cpu:.0f} ms")


if __name__ == "__main__":
    asyncio.run(main())
