"""What a call is told of its place in a trace, and what its server gets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import Raw

from libs.common import rpc, telemetry
from libs.common.bus import Bus
from libs.common.config import HttpServer, StdioServer
from libs.common.messages.calls import Call, ListServer, Order
from libs.common.telemetry import current
from libs.common.trace import NONE, Trace
from services.connector.spanned import Spanned
from tests.collector import Collector, attributes, collecting
from tests.libs.common.telemetry.tables import table

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
ROUTED = f"00-{TRACE}-{'1' * 16}-01"
SERVERS: dict[str, StdioServer | HttpServer] = {
    "git": StdioServer(name="git", cmd=("git-mcp",)),
    "far": HttpServer(name="far", url="https://user:s3cret@far.example/mcp?key=s3cret"),
}


class Handled:
    """The handler behind, which keeps what it got and where it ran."""

    def __init__(self, result: bytes = b"{}") -> None:
        self.orders: list[Order] = []
        self.places: list[str] = []
        self._result = Raw(result)

    async def handle(self, order: Order, job: rpc.Job) -> Raw:
        self.orders.append(order)
        self.places.append(current.TRACE.get())
        job.event(Raw(b'{"method":"notifications/message","params":{"data":"s3cret"}}'))
        return self._result


@asynccontextmanager
async def spanning(collector: Collector, handled: Handled, **tracing: Any) -> AsyncIterator[Spanned]:
    handle = telemetry.begin(table(collector.url, tracing=tracing), "connector-1")
    assert handle.tracing is not None
    yield Spanned(handled.handle, handle.tracing, SERVERS)
    await handle.close()


def call(trace: Trace, server: str = "git", method: str = "tools/call", tool: str = "log") -> Call:
    return Call(server, method, time.time() + 30, tool=tool, trace=trace)


@pytest.fixture
async def job(bus: Bus) -> rpc.Job:
    return rpc.Job(bus, f"{bus.inbox}.1")


async def test_a_server_gets_the_span_of_its_call_and_what_belongs_to_the_trace(job: rpc.Job) -> None:
    handled = Handled()
    async with collecting() as collector:
        async with spanning(collector, handled) as spanned:
            await spanned.handle(call(Trace(PARENT, "a=1", "b=2", ROUTED)), job)
            await spanned.handle(call(Trace(PARENT, "a=1", "b=2", ROUTED.replace(TRACE, "c" * 32))), job)
        sent = await collector.span("tools/call log")
    first, second = handled.orders
    assert isinstance(first, Call)
    assert isinstance(second, Call)
    context = f"00-{TRACE}-{sent.span_id.hex()}-01"
    assert first.trace.members() == {"traceparent": context, "tracestate": "a=1", "baggage": "b=2"}
    assert handled.places[0] == context
    assert second.trace.members().keys() == {"traceparent", "baggage"}
    assert sent.parent_span_id.hex() == "1" * 16
    assert attributes(sent.attributes)["network.transport"] == "pipe"
    assert [attributes(event.attributes) for event in sent.events] == [
        {"mcp.method.name": "notifications/message"}
    ]


async def test_what_is_not_recorded_reaches_the_server_as_the_client_sent_it(job: rpc.Job) -> None:
    handled = Handled()
    async with collecting() as collector:
        async with spanning(collector, handled) as spanned:
            orders: list[Order] = [
                call(Trace(PARENT, own=f"{ROUTED[:-1]}0")),
                call(NONE),
                ListServer("git", 1.0),
            ]
            for order in orders:
                await spanned.handle(order, job)
        assert collector.spans == []
    assert handled.orders == orders
    assert handled.places[0] == f"{ROUTED[:-1]}0"


async def test_without_propagation_the_servers_see_the_client_and_not_us(job: rpc.Job) -> None:
    handled, off = Handled(), {"propagation": {"trace_context": False}}
    async with collecting() as collector:
        async with spanning(collector, handled, **off) as spanned:
            await spanned.handle(call(Trace(PARENT, "a=1", own=ROUTED)), job)
        await collector.span("tools/call log")
    (order,) = handled.orders
    assert isinstance(order, Call)
    assert order.trace.members() == {"traceparent": PARENT, "tracestate": "a=1"}


async def test_a_span_says_how_a_server_is_reached_and_nothing_that_may_be_secret(job: rpc.Job) -> None:
    handled = Handled(b'{"isError":true,"content":[{"text":"s3cret"}]}')
    async with collecting() as collector:
        async with spanning(collector, handled) as spanned:
            await spanned.handle(call(Trace(own=ROUTED), "far"), job)
            await spanned.handle(call(Trace(own=ROUTED), "far", "made/s3cret", ""), job)
        sent, other = await collector.span("tools/call log"), await collector.span("_OTHER")
        assert "s3cret" not in collector.text()
    said = attributes(sent.attributes)
    assert (said["server.address"], said["server.port"], said["error.type"]) == (
        "far.example",
        443,
        "tool_error",
    )
    assert attributes(other.attributes)["mcp.method.name"] == "_OTHER"
