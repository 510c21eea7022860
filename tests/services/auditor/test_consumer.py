"""What reaches a sink, and what happens while it takes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import anyio
import pytest

from libs.common import meters, subjects
from libs.common.audit import pull
from libs.common.bus import Bus
from libs.common.meters import families
from services.auditor import consumer, stream
from services.auditor.sinks import Delivery, Rejected, SinkDown
from services.auditor.stream import Streams, durable
from tests.broker import Broker
from tests.services.auditor.conftest import AUDITED, dead, record
from tests.services.auditor.receivers import Receiver, feeding

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "BACKOFF_FIRST", 0.02)


async def pending(bus: Bus, name: str = "siem") -> int:
    """Events that the sink has not acknowledged."""
    await bus.settled()
    info = await bus.jetstream().consumer_info(subjects.AUDIT_STREAM, durable(name))
    return (info.num_ack_pending or 0) + (info.num_pending or 0)


async def test_every_event_arrives_once_in_order_and_is_acknowledged(auditor: Bus, streams: Streams) -> None:
    wanted = [f"u{number}" for number in range(1200)]
    await record(auditor, *wanted)
    sink = Receiver()
    async with feeding(auditor, streams, sink) as feeding_it:
        await sink.until(lambda: len(sink.taken) >= len(wanted))
        assert feeding_it.standing.delivered <= len(wanted)
    assert sink.uids == wanted
    assert [each.data.decode() for each in sink.taken] == wanted
    assert {each.subject for each in sink.taken} == {AUDITED}
    assert [each.sequence for each in sink.taken] == list(range(1, len(wanted) + 1))
    assert max(sink.offers) <= 500
    assert await pending(auditor) == 0


async def test_an_event_that_comes_while_the_sink_waits_is_delivered_at_once(
    auditor: Bus, streams: Streams
) -> None:
    sink = Receiver()
    async with feeding(auditor, streams, sink):
        for uid in ("a", "b", "c"):
            await record(auditor, uid)
            await sink.until(lambda uid=uid: uid in sink.uids, timeout=2)  # type: ignore[misc]  # bound now
    assert sink.uids == ["a", "b", "c"]


async def test_a_sink_that_is_down_gets_the_same_batch_until_it_takes_it(
    auditor: Bus, streams: Streams
) -> None:
    await record(auditor, "a", "b")
    offers = 0

    def judge(batch: Sequence[Delivery]) -> Collection[int]:
        nonlocal offers
        offers += 1
        if offers < 4:
            raise SinkDown("the other side is closed")
        return range(len(batch))

    sink = Receiver(judge)
    async with feeding(auditor, streams, sink) as feeding_it:
        await sink.until(lambda: bool(sink.taken))
        assert feeding_it.standing.failures == 3
    assert sink.offers == [2, 2, 2, 2]
    assert sink.uids == ["a", "b"]


async def test_how_a_sink_does_can_be_measured(auditor: Bus, streams: Streams) -> None:
    await record(auditor, "a", "b")
    sink, up = Receiver(), families.SINK_UP.cell("siem")
    async with feeding(auditor, streams, sink) as feeding_it:
        await sink.until(lambda: len(sink.taken) == 2)
        while feeding_it.standing.delivered < 2:
            await auditor.settled()
        told = {each.name: {one.labels: one.value for one in each.series} for each in meters.collect()}
        assert up.value == 1
        feeding_it.standing.down = "the other side is closed"
        feeding_it.look()
        assert up.value == 0
    assert told["nexus.audit.sink.events"]["siem", "delivered"] == 2
    assert told["nexus.audit.sink.pending"]["siem",] == 0


async def test_what_was_not_taken_of_a_batch_comes_again(auditor: Bus, streams: Streams) -> None:
    await record(auditor, "a", "b", "c", "d")

    def judge(batch: Sequence[Delivery]) -> Collection[int]:
        return [index for index, each in enumerate(batch) if each.uid in "ac" or each.tries > 1]

    sink = Receiver(judge)
    async with feeding(auditor, streams, sink):
        await sink.until(lambda: len(sink.taken) == 4)
    assert sorted(sink.uids) == ["a", "b", "c", "d"]
    assert await pending(auditor) == 0


async def test_what_is_rejected_each_time_ends_among_the_dead_letters(auditor: Bus, streams: Streams) -> None:
    await record(auditor, "good", "poison")

    def judge(batch: Sequence[Delivery]) -> Collection[int]:
        poison = {index: "no field\nhost" for index, each in enumerate(batch) if each.uid == "poison"}
        accepted = [index for index in range(len(batch)) if index not in poison]
        sink.taken += [batch[index] for index in accepted]
        if poison:
            raise Rejected(poison, accepted)
        return []

    sink = Receiver(judge)
    async with feeding(auditor, streams, sink, max_tries=3) as feeding_it:
        await sink.until(lambda: len(sink.offers) == 3)
        while feeding_it.standing.dead == 0:
            await auditor.settled()
        await record(auditor, "later")
        await sink.until(lambda: "later" in sink.uids)
    ((subject, event, headers),) = await dead(auditor)
    assert (subject, event) == ("audit.dead.v1.siem", b"poison")
    assert headers["Nexus-Reason"] == "no field?host"
    assert headers["Nexus-Sequence"] == "2"
    assert sink.uids == ["good", "later"]


async def test_a_fault_in_a_sink_loses_nothing(auditor: Bus, streams: Streams) -> None:
    await record(auditor, "a")

    def judge(batch: Sequence[Delivery]) -> Collection[int]:
        if len(sink.offers) == 1:
            raise KeyError("a fault of the sink")
        return range(len(batch))

    sink = Receiver(judge)
    async with feeding(auditor, streams, sink):
        await sink.until(lambda: sink.uids == ["a"])


async def test_events_go_on_after_the_broker_came_back(
    auditor: Bus, streams: Streams, broker: Broker
) -> None:
    sink = Receiver()
    async with feeding(auditor, streams, sink):
        await record(auditor, "before")
        await sink.until(lambda: sink.uids == ["before"])
        await auditor.settled()
        broker.stop(kill=True)
        broker.start()
        with anyio.fail_after(10):
            while not auditor.connected:
                await anyio.sleep(0.01)
        await record(auditor, "after")
        await sink.until(lambda: "after" in sink.uids)
    assert set(sink.uids) == {"before", "after"}


async def test_a_consumer_that_was_deleted_is_made_again(auditor: Bus, streams: Streams) -> None:
    sink = Receiver()
    async with feeding(auditor, streams, sink):
        await record(auditor, "a")
        await sink.until(lambda: "a" in sink.uids)
        await auditor.jetstream().delete_consumer(subjects.AUDIT_STREAM, durable("siem"))
        await record(auditor, "b")
        await sink.until(lambda: "b" in sink.uids)


async def test_an_event_larger_than_a_batch_comes_alone(auditor: Bus, streams: Streams) -> None:
    large = b"x" * (2 * 2**20)
    await record(auditor, "small")
    await record(auditor, "large", data=large)
    await record(auditor, "last")
    sink = Receiver()
    async with feeding(auditor, streams, sink):
        await sink.until(lambda: len(sink.taken) == 3)
    assert sink.uids == ["small", "large", "last"]
    assert sink.taken[1].data == large


async def test_what_a_stopped_auditor_had_in_hand_goes_to_the_next_one_at_once(
    auditor: Bus, streams: Streams
) -> None:
    await record(auditor, "a", "b")
    stuck = Receiver(down)
    async with feeding(auditor, streams, stuck):
        await stuck.until(lambda: len(stuck.offers) > 1)
    sink = Receiver()
    async with feeding(auditor, streams, sink):
        await sink.until(lambda: len(sink.taken) == 2, timeout=3)
    assert sorted(sink.uids) == ["a", "b"]
    assert await pending(auditor) == 0


def down(batch: Sequence[Delivery]) -> Collection[int]:
    raise SinkDown("the other side is closed")


async def test_what_an_auditor_still_works_on_goes_to_no_other_one(
    auditor: Bus, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ACK_WAIT", 0.6)
    monkeypatch.setattr(pull, "KEEP_EVERY", 0.1)
    await record(auditor, "a", "b")
    stuck, other = Receiver(down), pull.Pull(auditor, subjects.AUDIT_STREAM, durable("siem"))
    async with feeding(auditor, streams, stuck):
        await stuck.until(lambda: bool(stuck.offers))
        assert await other.batch(1.5) == []
    await other.close()


async def test_what_an_auditor_died_with_goes_to_another_one(
    auditor: Bus, streams: Streams, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ACK_WAIT", 0.5)
    await record(auditor, "a", "b")
    await streams.feed("siem")
    killed = Bus(broker.url, "auditor")
    await killed.connect()
    taken = await pull.Pull(killed, subjects.AUDIT_STREAM, durable("siem")).batch(5)
    assert [each.uid for each in taken] == ["a", "b"]
    await killed.close()
    sink = Receiver()
    async with feeding(auditor, streams, sink):
        await sink.until(lambda: len(sink.taken) == 2, timeout=5)
    assert [each.tries for each in sink.taken] == [2, 2]
