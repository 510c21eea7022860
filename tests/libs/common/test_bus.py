"""One connection to a real broker that comes, goes and refuses."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.errors import BusUnavailable
from tests.broker import Broker

pytestmark = pytest.mark.anyio

SUBJECT = subjects.call("git")


class Heard:
    """Messages in their order; `boom` breaks the handler."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.news = asyncio.Event()

    async def take(self, msg: Msg) -> None:
        self.messages.append(msg.data)
        self.news.set()
        if msg.data == b"boom":
            raise ZeroDivisionError

    async def until(self, count: int) -> None:
        with anyio.fail_after(10):
            while len(self.messages) < count:
                self.news.clear()
                await self.news.wait()


async def away(bus: Bus) -> None:
    with anyio.fail_after(5):
        while bus.connected:
            await anyio.sleep(0.005)


async def back(bus: Bus) -> None:
    with anyio.fail_after(10):
        while not bus.connected:
            await anyio.sleep(0.005)
        await bus.settled()


async def test_a_settled_subscription_misses_nothing(bus: Bus, other: Bus) -> None:
    heard = Heard()
    for round_ in range(20):
        sub = await bus.subscribe(SUBJECT, heard.take)
        await bus.settled()
        await other.publish(SUBJECT, b"%d" % round_)
        await heard.until(round_ + 1)
        await bus.unsubscribe(sub)
    assert heard.messages == [b"%d" % round_ for round_ in range(20)]


async def test_what_was_sent_before_the_end_of_a_subscription_is_handled(bus: Bus, other: Bus) -> None:
    heard = Heard()
    sub = await bus.subscribe(SUBJECT, heard.take)
    await bus.settled()
    for number in range(500):
        await other.publish(SUBJECT, b"%d" % number)
    await other.settled()
    await bus.unsubscribe(sub)
    assert len(heard.messages) == 500
    await other.publish(SUBJECT, b"late")
    await other.settled()
    await bus.settled()
    assert len(heard.messages) == 500


async def test_a_handler_that_fails_is_told_of_and_the_next_message_handled(bus: Bus, other: Bus) -> None:
    heard = Heard()
    await bus.subscribe(SUBJECT, heard.take)
    await bus.settled()
    with capture_logs() as logs:
        for message in (b"boom", b"next"):
            await other.publish(SUBJECT, message)
        await heard.until(2)
    assert [log["event"] for log in logs] == ["bus error"]
    assert bus.connected


async def test_a_queue_group_shares_messages(bus: Bus, other: Bus) -> None:
    one, two = Heard(), Heard()
    await bus.subscribe(SUBJECT, one.take, queue="connector")
    await other.subscribe(SUBJECT, two.take, queue="connector")
    await bus.settled()
    await other.settled()
    for number in range(100):
        await bus.publish(SUBJECT, b"%d" % number)
    for each in (bus, other, bus):
        await each.settled()
    assert sorted(map(int, one.messages + two.messages)) == list(range(100))


async def test_without_a_broker_publishing_is_refused_and_nothing_is_kept_for_later(
    bus: Bus, other: Bus, broker: Broker
) -> None:
    heard = Heard()
    await other.subscribe(SUBJECT, heard.take)
    await other.settled()
    with capture_logs() as logs:
        broker.stop(kill=True)
        await away(bus)
        with pytest.raises(BusUnavailable, match="lost its message bus"):
            await bus.publish(SUBJECT, b"lost")
        broker.start()
        await back(bus)
        await back(other)
    await bus.publish(SUBJECT, b"after")
    await heard.until(1)
    assert heard.messages == [b"after"]
    assert {"bus disconnected", "bus reconnected"} <= {log["event"] for log in logs}


async def test_a_subscription_ended_while_the_broker_was_away_does_not_come_back(
    bus: Bus, other: Bus, broker: Broker
) -> None:
    kept, ended = Heard(), Heard()
    await bus.subscribe(subjects.SEARCH, kept.take)
    sub = await bus.subscribe(SUBJECT, ended.take)
    await bus.settled()
    with capture_logs():
        broker.stop(kill=True)
        await away(bus)
        with anyio.fail_after(1):
            await bus.unsubscribe(sub)
        broker.start()
        await back(bus)
        await back(other)
    for subject in (SUBJECT, subjects.SEARCH):
        await other.publish(subject, b"after")
    await kept.until(1)
    await bus.settled()
    assert ended.messages == []


async def test_reconnecting_is_told_to_whoever_asked(bus: Bus, broker: Broker) -> None:
    told = asyncio.Event()
    bus.on_reconnect(told.set)
    with capture_logs():
        broker.stop(kill=True)
        await away(bus)
        broker.start()
        with anyio.fail_after(10):
            await told.wait()


async def test_answers_find_whoever_asked_and_others_are_dropped(bus: Bus, other: Bus) -> None:
    got: list[bytes] = []
    bus.answers["c1"] = got.append
    for token in ("nobody", "c1"):
        await other.publish(f"{bus.inbox}.{token}", token.encode())
    await other.settled()
    await bus.settled()
    assert got == [b"c1"]


async def test_no_two_connections_share_an_inbox(bus: Bus, other: Bus, broker: Broker) -> None:
    third = Bus(broker.url, "edge")
    assert len({bus.inbox, other.inbox, third.inbox}) == 3
    assert third.inbox.startswith("_INBOX_edge.")


async def test_closing_is_bounded_whatever_the_broker_does(broker: Broker) -> None:
    quiet = Bus(broker.url, "edge")
    with anyio.fail_after(5):
        await quiet.close()
    for kill in (False, True):
        bus = Bus(broker.url, "edge")
        await bus.connect()
        with capture_logs():
            if kill:
                broker.stop(kill=True)
            with anyio.fail_after(5):
                await bus.close()
                await bus.close()
        assert not bus.connected


async def test_the_bound_of_a_message_is_that_of_the_broker(bus: Bus) -> None:
    assert bus.max_payload == 9 * 1024 * 1024


async def test_a_question_is_answered_or_nobody_is_there_or_nobody_speaks(bus: Bus, other: Bus) -> None:
    async def answer(msg: Msg) -> None:
        if msg.data == b"how?":
            await msg.respond(b"well")

    sub = await other.subscribe(SUBJECT, answer)
    await other.settled()
    with anyio.fail_after(10):
        assert await bus.ask(SUBJECT, b"how?", 5) == b"well"
        assert await bus.ask(SUBJECT, b"why?", 0.05) is None
        await other.drop(sub)
        await other.settled()
        assert await bus.ask(SUBJECT, b"how?", 5) == b""
    assert not bus.answers


async def test_a_question_without_a_broker_is_refused(bus: Bus, broker: Broker) -> None:
    broker.stop(kill=True)
    with anyio.fail_after(10):
        while bus.connected:
            await anyio.sleep(0.01)
    with pytest.raises(BusUnavailable):
        await bus.ask(SUBJECT, b"how?", 5)
    assert not bus.answers
