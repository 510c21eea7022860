"""Facts over a real JetStream: kept, in order, again when they could not be handled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from structlog.testing import capture_logs

from libs.common import facts, subjects
from libs.common.bus import Bus
from libs.common.errors import BusUnavailable, ResultTooLarge
from libs.common.facts import MAX_DELIVER, Facts, ServerFailed, ServerStarted, ToolsListed
from tests.broker import Broker

pytestmark = pytest.mark.anyio


def failed(server: str) -> ServerFailed:
    return ServerFailed(server=server, worker="w1", reason="it exited", retry_in=1.0)


class Heard:
    """What a service was told; it refuses a server named `poison`."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.news = asyncio.Event()

    async def on_failed(self, fact: ServerFailed) -> None:
        self.names.append(fact.server)
        self.news.set()
        if fact.server == "poison" or (self.names.count(fact.server) == 1 and fact.server == "once"):
            raise ZeroDivisionError

    async def until(self, count: int) -> None:
        with anyio.fail_after(20):
            while len(self.names) < count:
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def listening(broker: Broker, heard: Heard) -> AsyncIterator[Facts]:
    service = Facts(broker.url, "indexer")
    service.subscribe(ServerFailed, heard.on_failed)
    async with service:
        yield service


@pytest.fixture
async def sender(broker: Broker) -> AsyncIterator[Facts]:
    async with Facts(broker.url, "connector") as sender:
        yield sender


async def test_a_fact_of_another_kind_is_not_heard(broker: Broker, sender: Facts) -> None:
    heard = Heard()
    async with listening(broker, heard):
        await sender.publish(ServerStarted(server="other", worker="w1", kind="stdio"))
        await sender.publish(failed("git"))
        await heard.until(1)
    assert heard.names == ["git"]


async def test_facts_wait_for_a_service_that_is_away(broker: Broker, sender: Facts) -> None:
    heard = Heard()
    async with listening(broker, heard):
        await sender.publish(failed("first"))
        await heard.until(1)
    await sender.publish(failed("second"))
    async with listening(broker, heard):
        await heard.until(2)
    assert heard.names == ["first", "second"]


async def test_a_fact_that_could_not_be_handled_comes_again_before_later_ones(
    broker: Broker, sender: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "RETRY", 0.05)
    heard = Heard()
    with capture_logs() as logs:
        async with listening(broker, heard):
            for server in ("once", "later"):
                await sender.publish(failed(server))
            await heard.until(3)
    assert heard.names == ["once", "once", "later"]
    assert [log["event"] for log in logs] == ["fact not handled"]


async def test_a_fact_nobody_can_handle_is_given_up_after_five_times(
    broker: Broker, sender: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "RETRY", 0.05)
    heard = Heard()
    with capture_logs():
        async with listening(broker, heard):
            await sender.publish(failed("poison"))
            await sender.publish(failed("later"))
            await heard.until(MAX_DELIVER + 1)
    assert heard.names == ["poison"] * MAX_DELIVER + ["later"]


async def test_junk_in_the_stream_is_skipped(broker: Broker, sender: Facts, other: Bus) -> None:
    heard = Heard()
    async with listening(broker, heard):
        for junk in (b"", b"{", b"[]", b'{"server":7}', b"\xff" * 100):
            await other.jetstream().publish(ServerFailed.subject, junk)
        await sender.publish(failed("git"))
        await heard.until(1)
    assert heard.names == ["git"]


async def test_each_fact_reaches_one_of_two_replicas(broker: Broker, sender: Facts) -> None:
    heard = Heard()
    async with listening(broker, heard), listening(broker, heard):
        for number in range(20):
            await sender.publish(failed(f"s{number}"))
        await heard.until(20)
    assert sorted(heard.names) == sorted(f"s{number}" for number in range(20))


async def test_a_fact_the_bus_cannot_carry_is_refused_for_good(sender: Facts) -> None:
    huge = ToolsListed(server="git", worker="w1", digest="1", tools=[{"x": "x" * 9 * 2**20}])
    with pytest.raises(ResultTooLarge, match="larger than the message bus carries"):
        await sender.publish(huge)


async def test_without_a_stream_or_a_bus_a_fact_is_refused_for_now(
    broker: Broker, sender: Facts, other: Bus
) -> None:
    await other.jetstream().delete_stream(subjects.FACT_STREAM)
    with pytest.raises(BusUnavailable, match=r"did not store nexus\.v1\.fact\.server\.failed"):
        await sender.publish(failed("git"))
    async with Facts(broker.url, "connector"):
        await sender.publish(failed("git"))
    broker.stop(kill=True)
    with anyio.fail_after(3), pytest.raises(BusUnavailable):
        await sender.publish(failed("git"), timeout=0.5)
