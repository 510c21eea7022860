"""The short way of messages: order, errors, headers, and the end of a subscription."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from nats.aio.msg import Msg

from libs.common.bus import Bus

pytestmark = pytest.mark.anyio

SUBJECT = "nexus.v1.request"
QUEUE = "router"


async def test_messages_are_handled_one_after_the_other_in_their_order(bus: Bus, other: Bus) -> None:
    seen: list[bytes] = []
    running = 0

    async def handler(msg: Msg) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        seen.append(msg.data)
        running -= 1

    await other.subscribe(SUBJECT, handler)
    await other.settled()
    wanted = [b"%d" % number for number in range(500)]
    for data in wanted:
        await bus.publish(SUBJECT, data)
    await bus.settled()
    await other.settled()
    assert seen == wanted


async def test_a_handler_that_fails_does_not_end_the_connection(bus: Bus, other: Bus) -> None:
    seen = asyncio.Event()

    async def handler(msg: Msg) -> None:
        if msg.data == b"bad":
            raise ValueError("bad")
        seen.set()

    await other.subscribe(SUBJECT, handler)
    await other.settled()
    await bus.publish(SUBJECT, b"bad")
    await bus.publish(SUBJECT, b"good")
    with anyio.fail_after(5):
        await seen.wait()
    await other.settled()


async def test_a_question_nobody_takes_is_told_by_headers_and_still_heard(bus: Bus) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    bus.answers["call"] = heard.set_result
    await bus.publish(SUBJECT, b"anybody?", f"{bus.inbox}.call")
    with anyio.fail_after(5):
        assert await heard == b""


async def test_what_arrived_before_the_end_is_handled_and_nothing_after(bus: Bus, other: Bus) -> None:
    seen: list[bytes] = []

    async def handler(msg: Msg) -> None:
        seen.append(msg.data)

    sub = await other.subscribe(SUBJECT, handler, queue=QUEUE)
    await other.settled()
    await bus.publish(SUBJECT, b"before")
    await bus.settled()
    await other.unsubscribe(sub)
    assert seen == [b"before"]
    await bus.publish(SUBJECT, b"after")
    await bus.settled()
    await other.settled()
    assert seen == [b"before"]
    assert len(other.nats.direct) == 1  # the inbox


async def test_messages_arrive_again_after_a_reconnection(bus: Bus, other: Bus) -> None:
    seen = asyncio.Event()
    back = asyncio.Event()

    async def handler(msg: Msg) -> None:
        seen.set()

    await other.subscribe(SUBJECT, handler)
    await other.settled()
    other.on_reconnect(back.set)
    transport = other.nats._transport
    assert transport is not None
    transport.close()  # what a broken network does to the socket
    with anyio.fail_after(10):
        await back.wait()
        await other.settled()
        await bus.publish(SUBJECT, b"again")
        await seen.wait()


async def test_a_raw_handler_gets_headers_as_they_came_and_a_fault_in_it_ends_nothing(
    bus: Bus, other: Bus
) -> None:
    seen: list[tuple[str, bytes, bytes]] = []

    def handler(subject: str, reply: str, data: bytes, headers: bytes) -> None:
        if data == b"bad":
            raise ValueError("a fault")
        seen.append((subject, data, headers))

    sub = await other.receive("audit.v1.x", handler)
    await other.settled()
    await bus.nats.publish("audit.v1.x", b"one", headers={"A": "1"})
    await bus.nats.publish("audit.v1.x", b"bad", headers={"A": "2"})
    await bus.publish("audit.v1.x", b"two")
    await bus.settled()
    await other.settled()
    assert seen == [
        ("audit.v1.x", b"one", b"NATS/1.0\r\nA: 1\r\n\r\n"),
        ("audit.v1.x", b"two", b""),
    ]
    await other.drop(sub)
    await bus.publish("audit.v1.x", b"three")
    await bus.settled()
    await other.settled()
    assert len(seen) == 2
