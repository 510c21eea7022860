"""U4: a receiver that stands still costs no memory, and gets everything once it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.config.collectors import SplunkSink, SyslogSink
from services.auditor.consumer import Consumer
from services.auditor.sinks import Sink
from services.auditor.sinks.kinds import lanes
from services.auditor.sinks.splunk import Splunk
from services.auditor.sinks.syslog import Syslog
from services.auditor.stream import Streams, durable
from tests.services.auditor.conftest import AUDITED
from tests.services.auditor.receivers import feeding
from tests.services.auditor.sinks.collecting import collecting
from tests.services.auditor.sinks.collector import TOKEN, indexing

pytestmark = pytest.mark.anyio

EVENTS = 3000
SIZE = 8000
GROWTH = 64 * 2**20
"""Bytes that this process may grow by: sink and receiver are both in it."""


async def fill(bus: Bus) -> set[str]:
    """Events in the stream, more than anything in between may keep; their uids."""
    jetstream, wanted = bus.jetstream(), {f"u{number}" for number in range(EVENTS)}
    for uid in sorted(wanted):
        data = json.dumps({"metadata": {"uid": uid}, "filler": "x" * SIZE}).encode()
        await jetstream.publish_async(AUDITED, data, headers={"Nats-Msg-Id": uid})
    await jetstream.publish_async_completed()
    return wanted


@asynccontextmanager
async def closing(sink: Sink) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await sink.close()


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


async def stands_still(bus: Bus, consumer: Consumer, width: int) -> None:
    """Return once every batch was offered some times: hardly more is out of the stream."""
    before = resident()
    async with asyncio.timeout(30):
        while consumer.standing.failures < 3 * width:
            await asyncio.sleep(0.05)
    assert resident() - before < GROWTH
    info = await bus.jetstream().consumer_info(subjects.AUDIT_STREAM, durable("siem"))
    assert 0 < info.num_ack_pending * SIZE <= (width + 1) * 2**20


async def test_a_receiver_of_syslog_that_stops_reading(auditor: Bus, streams: Streams) -> None:
    wanted = await fill(auditor)
    async with collecting() as collector:
        collector.reading.clear()
        table = {"type": "syslog", "url": f"tcp://127.0.0.1:{collector.port}", "timeout": "100ms"}
        sink = Syslog(SyslogSink.model_validate(table))
        async with closing(sink), feeding(auditor, streams, sink) as consumer:
            await stands_still(auditor, consumer, 1)
            collector.reading.set()
            await collector.until(lambda: wanted <= set(collector.uids), 60)
        assert len(collector.uids) == EVENTS, "nothing came twice"


async def test_a_splunk_that_stalls_and_then_answers_slowly(auditor: Bus, streams: Streams) -> None:
    wanted = await fill(auditor)
    async with indexing() as collector:
        table = SplunkSink.model_validate(
            {"type": "splunk", "url": collector.url, "token": TOKEN, "timeout": "200ms"}
        )
        sink, width = Splunk(table), lanes(table)
        collector.trouble = lambda number: "stall"
        async with closing(sink), feeding(auditor, streams, sink, lanes=width) as consumer:
            await stands_still(auditor, consumer, width)
            assert consumer.standing.delivered == 0
            collector.trouble = lambda number: None
            collector.delay = 2
            await collector.until(lambda: wanted <= set(collector.uids), 60)
            assert len(collector.uids) < 2 * EVENTS
