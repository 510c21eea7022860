"""The auditor that reads along: calls without an end, gaps and checkpoints, over restarts and outages."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from libs.common import subjects
from libs.common.audit.chain import Chain
from libs.common.audit.checkpoint import Checkpoint, Signer
from libs.common.audit.events import Event, Outcome
from libs.common.audit.trail import Trail
from libs.common.bus import Bus
from libs.common.kv import Bucket
from services.auditor import calls, chains, ledger
from services.auditor.ledger import Ledger
from services.auditor.stream import Streams
from tests.broker import Broker
from tests.services.auditor.conftest import record

pytestmark = pytest.mark.anyio

SIGNER = Signer(b"s" * 32)
REQUESTED, COMPLETED = "mcp.tool.call.requested", "mcp.tool.call.completed"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "TICK", 0.1)
    monkeypatch.setattr(ledger, "SETTLED", 0.3)
    monkeypatch.setattr(ledger, "SAVE_EVERY", 0.2)
    monkeypatch.setattr(calls, "GRACE", 0.3)
    monkeypatch.setattr(chains, "SETTLE", 0.3)


class Edge:
    """A process that makes events, and may lose some."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._chain = Chain("edge-1")

    async def make(self, event: Event, *, lose: bool = False) -> None:
        sealed = self._chain.seal(event)
        if not lose:
            await record(self._bus, sealed.uid, data=sealed.line)

    async def request(self, call: str, deadline: float = 0.2) -> None:
        await self.make(
            Event(code="mcp.tool.call.requested", call=call, deadline=time.time() + deadline, tool="slow")
        )

    async def complete(self, call: str) -> None:
        outcome = Outcome("ok", 0, "ok", "yes")
        await self.make(Event(code="mcp.tool.call.completed", call=call, outcome=outcome, status=200))


@pytest.fixture
def edge(auditor: Bus) -> Edge:
    return Edge(auditor)


@asynccontextmanager
async def reading(
    bus: Bus, streams: Streams, folder: Path, *, interval: float = 3600.0
) -> AsyncIterator[Ledger]:
    """A ledger at work, with a trail of its own."""
    bucket = Bucket(bus, subjects.LEDGER, owner=True)
    async with Trail(bus, folder / "spool", b"k" * 32, worker="auditor-1") as trail:
        at_work = Ledger(bus, streams, bucket, trail, SIGNER, interval)
        task = asyncio.create_task(at_work.run())
        try:
            yield at_work
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()


async def events(bus: Bus, code: str) -> list[dict[str, Any]]:
    """All events of a code that are in the stream."""
    jetstream = bus.jetstream()
    last = (await jetstream.stream_info(subjects.AUDIT_STREAM)).state.last_seq
    found = [
        json.loads((await jetstream.get_msg(subjects.AUDIT_STREAM, n + 1)).data or b"{}") for n in range(last)
    ]
    return [each for each in found if each["metadata"]["event_code"] == code]


async def until(bus: Bus, code: str, wanted: int, timeout: float = 20) -> list[dict[str, Any]]:
    """The events of a code, once there are so many."""
    with anyio.fail_after(timeout):
        while len(found := await events(bus, code)) < wanted:
            await anyio.sleep(0.05)
    return found


async def test_a_call_without_an_end_gets_one_that_says_unknown(
    auditor: Bus, streams: Streams, edge: Edge, tmp_path: Path
) -> None:
    async with reading(auditor, streams, tmp_path):
        await edge.request("lost")
        await edge.request("fine")
        await edge.complete("fine")
        ends = await until(auditor, COMPLETED, 2)
        await edge.request("after")
        await edge.complete("after")
        ends = await until(auditor, COMPLETED, 3)
    (lost,) = [each for each in ends if each["metadata"]["correlation_uid"] == "lost"]
    assert lost["unmapped"]["nexus"]["outcome"]["executed"] == "unknown"
    assert lost["resources"][0]["name"] == "slow"
    assert len(ends) == 3


async def test_a_call_is_ended_by_the_next_auditor_if_the_first_one_died(
    auditor: Bus, streams: Streams, edge: Edge, tmp_path: Path
) -> None:
    async with reading(auditor, streams, tmp_path / "one"):
        for number in range(30):
            await edge.request(f"c{number}", deadline=1.5)
            if number != 7:
                await edge.complete(f"c{number}")
    assert len(await events(auditor, COMPLETED)) == 29
    async with reading(auditor, streams, tmp_path / "two") as second:
        ends = await until(auditor, COMPLETED, 30)
        with anyio.fail_after(5):
            while len(second.calls):
                await anyio.sleep(0.02)
    assert ends[-1]["metadata"]["correlation_uid"] == "c7"
    async with reading(auditor, streams, tmp_path / "three") as third:
        with anyio.fail_after(5):
            while third._horizon() == 0:
                await anyio.sleep(0.02)
    assert len(await events(auditor, COMPLETED)) == 30


async def test_a_place_that_cannot_be_read_costs_only_reading_everything_again(
    auditor: Bus, streams: Streams, edge: Edge, tmp_path: Path
) -> None:
    await Bucket(auditor, subjects.LEDGER, owner=True).put(ledger.KEY, b'{"sequence": "x"')
    await edge.request("lost")
    async with reading(auditor, streams, tmp_path):
        (end,) = await until(auditor, COMPLETED, 1)
    assert end["metadata"]["correlation_uid"] == "lost"


async def test_many_open_calls_are_all_ended_within_a_bound_of_memory(
    auditor: Bus, streams: Streams, edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls.Calls.__init__, "__defaults__", (10,))
    for number in range(35):
        await edge.request(f"c{number}")
    async with reading(auditor, streams, tmp_path) as at_work:
        ends = await until(auditor, COMPLETED, 35)
        assert len(at_work.calls) <= 10
    assert sorted(each["metadata"]["correlation_uid"] for each in ends) == sorted(f"c{n}" for n in range(35))


async def test_an_event_that_never_came_is_told_with_its_chain_and_number(
    auditor: Bus, streams: Streams, edge: Edge, tmp_path: Path
) -> None:
    async with reading(auditor, streams, tmp_path):
        await edge.make(Event(code="mcp.request"))
        await edge.make(Event(code="mcp.request"), lose=True)
        await edge.make(Event(code="mcp.request"), lose=True)
        await edge.make(Event(code="mcp.request"))
        (gap,) = await until(auditor, "audit.gap", 1)
    facts = gap["unmapped"]["nexus"]["facts"]
    assert facts == {"broken": False, "chain": edge._chain.uid, "missing": {"first": 2, "last": 3}}
    assert edge._chain.uid in gap["finding_info"]["title"]


async def test_a_checkpoint_vouches_for_the_head_of_every_chain_that_moved(
    auditor: Bus, streams: Streams, edge: Edge, tmp_path: Path
) -> None:
    async with reading(auditor, streams, tmp_path, interval=0.3):
        for _ in range(5):
            await edge.make(Event(code="mcp.request"))
        with anyio.fail_after(20):
            while True:
                points = [
                    each["unmapped"]["nexus"]["facts"] for each in await events(auditor, "audit.checkpoint")
                ]
                heads = {link["chain"]: link for point in points for link in point["chains"]}
                if heads.get(edge._chain.uid, {}).get("seq") == 5:
                    break
                await anyio.sleep(0.05)
    assert heads[edge._chain.uid]["hash"] == edge._chain.hash
    assert all(msgspec.convert(point, Checkpoint).holds([SIGNER.public]) for point in points)


async def test_reading_goes_on_after_the_broker_was_killed(
    auditor: Bus, streams: Streams, edge: Edge, tmp_path: Path, broker: Broker
) -> None:
    async with reading(auditor, streams, tmp_path):
        await edge.request("before", deadline=3.0)
        await auditor.settled()
        broker.stop(kill=True)
        broker.start()
        with anyio.fail_after(10):
            while not auditor.connected:
                await anyio.sleep(0.01)
        await edge.complete("before")
        await edge.request("after")
        ends = await until(auditor, COMPLETED, 2)
    assert [each["metadata"]["correlation_uid"] for each in ends] == ["before", "after"]
    assert ends[0]["unmapped"]["nexus"]["outcome"]["executed"] == "yes"
