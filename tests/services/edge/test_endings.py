"""Ends of calls that no answer tells: a gateway that stops, a client that left while nobody had the call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from msgspec import Raw

from libs.common import rpc
from libs.common.bus import Bus
from libs.common.errors import DeadlineExceeded, NexusError
from libs.common.fleet import Fleet
from libs.common.messages.calls import ExecuteTool, Request
from libs.common.policy import Policy
from services.edge.audited import Audited
from services.edge.definitions import Definitions
from services.edge.dispatch import Dispatch
from services.edge.evidence import Evidence
from services.edge.gateway import Gateway, OnEvent
from services.edge.visitor import CLIENT_LEFT
from tests.services.edge.conftest import connect, running
from tests.services.edge.stub import StubCatalog, StubGateway
from tests.services.edge.test_pair import opened
from tests.written import Written, code, outcome, written

pytestmark = pytest.mark.anyio


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Written]:
    async with written(tmp_path / "spool") as book:
        yield book


def audited(gateway: Gateway, book: Written) -> Audited:
    trail = book.trail
    return Audited(gateway, trail, Evidence(Policy(), Definitions(StubCatalog()), trail.fingerprints))


async def cancelled(gateway: Gateway, ready: Callable[[], bool], why: str | None) -> None:
    """Call, and cancel that as soon as it is ready."""
    call = asyncio.create_task(gateway.request(ExecuteTool("demo__slow", time.time() + 30)))
    with anyio.fail_after(5):
        while not ready():
            await anyio.sleep(0.005)
    call.cancel(why)
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_call_that_runs_when_the_gateway_stops_failed_and_may_have_run(book: Written) -> None:
    gateway = StubGateway()
    await cancelled(audited(gateway, book), gateway.started.is_set, None)
    completed = book.events()[-1]
    assert completed["message"] == "the gateway stopped before the call was finished"
    assert outcome(completed) == ("failed", -31011, "none", "unknown")


class Watched(Fleet):
    """Says whether anybody waits for news of it."""

    waits = False

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.waits = True
        return super().listen(callback)


async def test_u9_a_call_that_nobody_had_yet_was_not_executed(bus: Bus, book: Written) -> None:
    """No router listens, so the call waits to be sent again."""
    fleet = Watched(["demo"])
    async with rpc.Client(bus) as client:
        gateway = audited(Dispatch(bus, client, fleet), book)
        await cancelled(gateway, lambda: fleet.waits, CLIENT_LEFT)
    completed = book.events()[-1]
    assert completed["http_response"]["code"] == 499
    assert outcome(completed) == ("aborted", 0, "none", "no")


class Late(StubGateway):
    async def request(self, message: Request, *, on_event: OnEvent | None = None) -> Raw:
        raise DeadlineExceeded("the call took longer than its deadline")


async def test_a_deadline_leaves_open_whether_it_ran(book: Written) -> None:
    with pytest.raises(NexusError):
        await audited(Late(), book).request(ExecuteTool("demo__slow", time.time() + 30))
    completed = book.events()[-1]
    assert completed["message"] == "the time was over"
    assert outcome(completed) == ("failed", -31013, "none", "unknown")


async def test_messages_of_the_older_transport_are_told_of_where_the_stream_is(book: Written) -> None:
    async with running(trail=book.trail) as edge:
        async with opened(edge) as stream:
            await stream.initialize()
            async with connect(edge.url) as other:
                other.headers["user-agent"] = "poster/1"
                assert await stream.say("tools/call", 1, other, name="echo", arguments={}) == 202
            while (await stream.hear()).get("id") != 1:
                pass
            assert await stream.say("odd/method", 2) == 202
            while (await stream.hear()).get("id") != 2:
                pass
        ends = await book.ended(5)
    assert [(code(each), each["api"]["operation"]) for each in ends] == [
        ("mcp.request", "initialize"),
        ("mcp.request", "notifications/initialized"),
        ("mcp.tool.call.completed", "tools/call"),
        ("mcp.request", "odd/method"),
        ("mcp.request", "GET"),
    ]
    call = ends[2]
    assert (call["http_request"]["user_agent"], call["actor"]["app_name"]) == ("poster/1", "old")
    assert (call["http_response"]["code"], outcome(call)) == (202, ("ok", 0, "ok", "yes"))
    assert len({each["actor"]["session"]["uid"] for each in ends}) == 1


async def test_a_message_for_no_stream_is_told_of_where_it_was_posted(book: Written) -> None:
    async with running(trail=book.trail) as edge:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        refused = await edge.http.post("/mcp/demo/messages?session=forged", json=body)
        assert refused.status_code == 404
        (end,) = await book.ended(1)
    assert (end["http_response"]["code"], end["status_id"]) == (404, 2)
