"""Events out of the stream: nothing that was not asked for, each with its place and time."""

from __future__ import annotations

import time

import anyio
import pytest
from nats.js.api import DiscardPolicy, StreamConfig

from libs.common import subjects
from libs.common.audit.pull import ConsumerGone, Pull
from libs.common.audit.readers import follow, make_reader, unfollow
from libs.common.bus import Bus

pytestmark = pytest.mark.anyio

SUBJECT = "audit.v1.api_activity"


@pytest.fixture
async def filled(bus: Bus) -> Bus:
    """A bus with twenty events in the stream, the last ten of another class."""
    config = StreamConfig(subjects.AUDIT_STREAM, subjects=[subjects.AUDIT], discard=DiscardPolicy.NEW)
    jetstream = bus.jetstream()
    await jetstream.add_stream(config)
    for number in range(20):
        subject = SUBJECT if number < 10 else "audit.v1.authentication"
        headers = {"Other": "x", "Nats-Msg-Id": f"u{number}"}
        await jetstream.publish(subject, b"%d" % number, headers=headers)
    return bus


async def read(bus: Bus, name: str, wanted: int) -> list[str]:
    pull = Pull(bus, subjects.AUDIT_STREAM, name)
    got: list[str] = []
    with anyio.fail_after(10):
        while len(got) < wanted:
            got += [each.uid for each in await pull.batch()]
    assert await pull.batch(0.1) == []
    await pull.close()
    return got


async def test_each_event_says_what_it_is_and_when_it_was_stored(filled: Bus) -> None:
    pull = Pull(filled, subjects.AUDIT_STREAM, await follow(filled, "me"))
    first, *_ = await pull.batch(5)
    await pull.close()
    assert (first.uid, first.sequence, first.data, first.tries) == ("u0", 1, b"0", 1)
    assert first.subject == SUBJECT
    assert first.stored == pytest.approx(time.time(), abs=10)
    assert pull.pending == 0


async def test_no_more_arrives_than_one_batch_however_long_nobody_takes_it(filled: Bus) -> None:
    pull = Pull(filled, subjects.AUDIT_STREAM, await follow(filled, "me"), events=3)
    got = [len(await pull.batch(5)) for _ in range(7)]
    assert got == [3, 3, 3, 3, 3, 3, 2]
    await pull.close()


async def test_a_batch_ends_at_its_size(filled: Bus) -> None:
    pull = Pull(filled, subjects.AUDIT_STREAM, await follow(filled, "me"), size=400)
    got = [each.uid for _ in range(10) for each in await pull.batch(0.1)]
    assert got == [f"u{number}" for number in range(20)]
    await pull.close()


async def test_reading_begins_where_it_was_told_to(filled: Bus) -> None:
    assert await read(filled, await follow(filled, "me", sequence=18), 3) == ["u17", "u18", "u19"]
    assert await read(filled, await follow(filled, "me", since=time.time() - 60), 20)
    assert await read(filled, await follow(filled, "me", since=time.time() + 60), 0) == []
    assert await read(filled, await follow(filled, "me", new=True), 0) == []
    only = await read(filled, await follow(filled, "me", classes=["authentication"]), 10)
    assert only == [f"u{number}" for number in range(10, 20)]


async def test_a_reader_goes_on_where_it_was(filled: Bus) -> None:
    await make_reader(filled, "siem")
    pull = Pull(filled, subjects.AUDIT_STREAM, "siem", events=5)
    for each in await pull.batch(5):
        await filled.publish(each.reply, b"")
    await pull.close()
    await filled.settled()
    await make_reader(filled, "siem")
    again = Pull(filled, subjects.AUDIT_STREAM, "siem", events=5)
    assert [each.uid for each in await again.batch(5)] == ["u5", "u6", "u7", "u8", "u9"]
    await again.close()


async def test_a_consumer_that_is_gone_is_said_to_be(filled: Bus) -> None:
    name = await follow(filled, "me")
    pull = Pull(filled, subjects.AUDIT_STREAM, name)
    await pull.batch(5)
    await unfollow(filled, name)
    with pytest.raises(ConsumerGone), anyio.fail_after(10):
        await pull.batch()
    await pull.close()
