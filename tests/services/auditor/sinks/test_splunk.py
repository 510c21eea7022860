"""U5 for Splunk: a collector that stalls, fails, takes half, resets or forgets loses no event."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from libs.common.config.collectors import SplunkSink
from services.auditor.sinks import Delivery, Rejected, SinkDown
from services.auditor.sinks.splunk import Splunk
from tests.services.auditor.sinks.certificates import issued
from tests.services.auditor.sinks.collector import TOKEN, Collector, indexing, reply
from tests.services.auditor.sinks.events import batch, delivery

pytestmark = pytest.mark.anyio

SEED = 20261121
UNPROVEN = "nothing was acknowledged within"


@asynccontextmanager
async def collected(collector: Collector, **more: Any) -> AsyncIterator[Splunk]:
    table = {"type": "splunk", "url": collector.url, "token": TOKEN, **more}
    sink = Splunk(SplunkSink.model_validate(table))
    try:
        yield sink
    finally:
        await sink.close()


async def persist(sink: Splunk, events: Sequence[Delivery], tries: int = 100) -> int:
    """Deliver as the consumer does, without its pauses; returns how often."""
    left, tried = list(events), 0
    while left:
        tried += 1
        assert tried <= tries, "the batch was never taken"
        try:
            taken = set(await sink.deliver(left))
        except SinkDown:
            continue
        left = [each for index, each in enumerate(left) if index not in taken]
    return tried


async def test_a_batch_counts_once_the_indexers_acknowledge_it() -> None:
    async with indexing() as collector, collected(collector) as sink:
        collector.delay = 2
        assert sorted(await sink.deliver(batch(1, 500))) == list(range(500))
        assert collector.requests == 1
        assert collector.asked == 3
        assert collector.uids == [f"u{number}" for number in range(1, 501)]
        assert len(set(collector.channels)) == 1


async def test_the_envelope_has_what_was_configured() -> None:
    more = {"index": "mcp", "source": "gw", "sourcetype": "nexus:test", "host": "edge-1"}
    async with indexing() as collector, collected(collector, **more) as sink:
        event = json.dumps({"metadata": {"uid": "u1"}, "time": 1_771_000_000_123}).encode()
        await sink.deliver([delivery(1, event)])
        assert collector.indexed == [{"event": json.loads(event), "time": 1_771_000_000.123, **more}]


async def test_without_acknowledgement_the_collectors_word_is_enough() -> None:
    async with indexing() as collector, collected(collector, acknowledge=False) as sink:
        assert len(await sink.deliver(batch(1, 3))) == 3
        assert collector.asked == 0
        assert collector.channels == []


@pytest.mark.parametrize(
    "path", ["/", "/services/collector", "/services/collector/event", "/services/collector/event/"]
)
async def test_the_url_may_be_the_hosts_or_the_collectors(path: str) -> None:
    async with indexing() as collector:
        collector.url += path
        async with collected(collector) as sink:
            assert len(await sink.deliver(batch(1, 1))) == 1


async def test_tls_trusts_the_authority_that_was_given(tmp_path: Path) -> None:
    certificates = issued(tmp_path, mutual=True)
    async with indexing(certificates.server) as collector:
        async with collected(collector, tls=certificates.known) as sink:
            assert len(await sink.deliver(batch(1, 1))) == 1
        async with collected(collector) as sink:
            with pytest.raises(SinkDown, match="no answer: ClientConnectorCertificateError"):
                await sink.deliver(batch(1, 1))


async def test_acknowledgements_that_never_come_mean_that_the_batch_comes_again() -> None:
    async with indexing() as collector, collected(collector, ack_timeout="300ms") as sink:
        collector.delay = 10**6
        with pytest.raises(SinkDown, match=UNPROVEN):
            await sink.deliver(batch(1, 3))
        collector.delay = 0
        assert len(await sink.deliver(batch(1, 3))) == 3
        assert collector.uids == ["u1", "u2", "u3"] * 2


async def test_an_acknowledgement_that_was_lost_on_its_way_means_the_same() -> None:
    async with indexing() as collector, collected(collector, ack_timeout="300ms") as sink:
        collector.acks_lost = lambda number: number == 1
        with pytest.raises(SinkDown, match=UNPROVEN):
            await sink.deliver(batch(1, 3))
        assert len(await sink.deliver(batch(1, 3))) == 3


@pytest.mark.parametrize(
    ("response", "wait", "said"),
    [
        (reply(503, 9, "Server is busy"), 7, "code 9: Server is busy"),
        (reply(429, 26, "HEC queue at capacity"), 7, "HTTP 429, code 26"),
        (reply(500, 8, "Internal server error"), None, "code 8"),
        (reply(403, 1), 30, "the token is disabled"),
        (reply(401, 2), 30, "asks for a token"),
        (reply(403, 4), 30, "not known to Splunk"),
        (reply(400, 7), 30, "may not write to this index"),
        (reply(400, 10), 30, "wants a channel"),
        (reply(400, 14), 30, "no indexer acknowledgement"),
        (web.Response(status=200, text="<html>a proxy's page</html>"), None, "not as a collector answers"),
        (web.Response(status=404, text="{}"), None, "HTTP 404, and not as a collector"),
        (web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}), None, "HTTP 307"),
        (web.Response(status=200, text='{"code":0,"text":"' + "x" * 100_000), None, "not as a collector"),
    ],
    ids=range(13),
)
async def test_each_answer_has_its_meaning(response: web.Response, wait: float | None, said: str) -> None:
    async with indexing() as collector, collected(collector) as sink:
        collector.trouble = lambda number: response if number == 1 else None
        with pytest.raises(SinkDown, match=said) as caught:
            await sink.deliver(batch(1, 3))
        assert caught.value.retry_after == wait
        assert TOKEN not in str(caught.value)
        assert len(await sink.deliver(batch(1, 3))) == 3


async def test_a_token_without_acknowledgement_is_said_to_be_so() -> None:
    async with indexing() as collector, collected(collector) as sink:
        collector.with_acks = False
        with pytest.raises(SinkDown, match="set `acknowledge = false`"):
            await sink.deliver(batch(1, 1))


async def test_a_channel_that_is_not_accepted_is_replaced() -> None:
    async with indexing() as collector, collected(collector) as sink:
        collector.trouble = lambda number: reply(400, 11, "Invalid data channel") if number == 2 else None
        await sink.deliver(batch(1, 1))
        with pytest.raises(SinkDown, match="code 11"):
            await sink.deliver(batch(2, 2))
        await sink.deliver(batch(2, 2))
        assert len(set(collector.channels)) == 2


async def test_events_that_are_refused_are_named_and_the_others_taken() -> None:
    async with indexing() as collector, collected(collector) as sink:
        refused = {f"u{number}" for number in range(10, 101, 10)}
        collector.judge = lambda event: event["metadata"]["uid"] not in refused
        with pytest.raises(Rejected) as caught:
            await sink.deliver([*batch(1, 100), delivery(101, b"not an event")])
        assert {f"u{index + 1}" for index in caught.value.poison} == refused | {"u101"}
        assert set(caught.value.accepted) == set(range(101)) - set(caught.value.poison)
        assert set(collector.uids) == {f"u{index + 1}" for index in caught.value.accepted}


async def test_a_batch_that_is_too_large_is_sent_in_pieces() -> None:
    async with indexing() as collector, collected(collector) as sink:
        collector.trouble = lambda number: web.Response(status=413) if number in (1, 2) else None
        assert sorted(await sink.deliver(batch(1, 100))) == list(range(100))
        assert sorted(collector.uids) == sorted(f"u{number}" for number in range(1, 101))
        assert collector.requests == 5


async def test_a_collector_that_fails_in_every_way_loses_nothing() -> None:
    chance = random.Random(SEED)
    ways = ("reset", "half", (500, 8), (503, 9), None, None)
    async with indexing() as collector, collected(collector, ack_timeout="150ms", timeout="150ms") as sink:
        plan = [chance.choice(ways) for _ in range(40)] + ["stall", None]
        chance.shuffle(plan)
        collector.trouble = lambda number: plan[number - 1] if number <= len(plan) else None
        collector.acks_lost = lambda number: number % 5 == 0
        wanted = {f"u{number}" for number in range(1, 401)}
        tried = sum([await persist(sink, batch(first, first + 39)) for first in range(1, 401, 40)])
        assert set(collector.uids) == wanted
        assert tried > 10, "it did fail"
        assert len(collector.uids) > len(wanted), "what was doubtful came twice"


async def test_a_collector_that_is_down_for_long_gets_everything_from_the_stream_later() -> None:
    async with indexing() as collector, collected(collector, timeout="100ms") as sink:
        collector.trouble = lambda number: "stall" if number < 4 else None
        assert await persist(sink, batch(1, 100)) == 4


async def test_several_batches_wait_for_their_acknowledgements_at_a_time() -> None:
    async with indexing() as collector, collected(collector) as sink:
        collector.delay = 2
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(sink.deliver(batch(1, 10)))
            await collector.until(lambda: collector.requests == 1)
            second = tasks.create_task(sink.deliver(batch(11, 20)))
            await collector.until(lambda: collector.requests == 2)
            assert not first.done()
            assert not second.done()
        assert (len(first.result()), len(second.result())) == (10, 10)


def test_a_token_does_not_show() -> None:
    table = SplunkSink.model_validate({"type": "splunk", "url": "https://splunk:8088", "token": TOKEN})
    assert TOKEN not in repr(table)
    assert TOKEN not in repr(Splunk(table))
