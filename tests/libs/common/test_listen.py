"""Several parts of one worker that listen on one subject, at once and one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import anyio
import pytest
from anyio.lowlevel import checkpoint
from msgspec import Raw

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import decoder
from libs.common.errors import NexusError, ServerUnavailable
from libs.common.messages.calls import Call
from tests.broker import Broker

pytestmark = pytest.mark.anyio

SUBJECT = subjects.call("git")


class Counted:
    """How often a message was handled."""

    def __init__(self) -> None:
        self.calls = 0

    async def handle(self, call: Call, job: rpc.Job) -> Raw:
        self.calls += 1
        return call.params


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
async def server(other: Bus, counted: Counted) -> AsyncIterator[rpc.Server[Call]]:
    server: rpc.Server[Call] = rpc.Server(other, "w1", decoder(Call), counted.handle)
    await server.start()
    yield server
    await server.drain(0)


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


async def ask(client: rpc.Client) -> Raw:
    with anyio.fail_after(10):
        return await client.request(SUBJECT, Call("git", "x", time.time() + 5), deadline=time.time() + 5)


def subscriptions(server: rpc.Server[Call]) -> int:
    return [sub.subject for sub in server._bus.nats._subs.values()].count(SUBJECT)


async def test_two_that_listen_at_once_subscribe_once_and_each_can_rely_on_it(
    server: rpc.Server[Call], client: rpc.Client, counted: Counted
) -> None:
    async def listen() -> None:
        await server.listen(SUBJECT, "connector")
        await ask(client)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(listen)
    assert subscriptions(server) == 1
    assert counted.calls == 5


async def test_the_subscription_lives_until_the_last_has_left(
    server: rpc.Server[Call], client: rpc.Client
) -> None:
    for _ in range(3):
        await server.listen(SUBJECT, "connector")
    for _ in range(2):
        await server.ignore(SUBJECT)
        await ask(client)
    await server.ignore(SUBJECT)
    assert subscriptions(server) == 0
    with pytest.raises(ServerUnavailable):
        await ask(client)


async def test_one_that_leaves_while_another_comes_does_not_take_it_along(
    server: rpc.Server[Call], client: rpc.Client
) -> None:
    await server.listen(SUBJECT, "connector")
    for _ in range(50):
        await asyncio.gather(server.ignore(SUBJECT), server.listen(SUBJECT, "connector"))
        assert subscriptions(server) == 1
        await ask(client)


async def test_one_that_is_cancelled_while_it_listens_does_not_count(server: rpc.Server[Call]) -> None:
    first, second = (asyncio.create_task(server.listen(SUBJECT, "connector")) for _ in range(2))
    await checkpoint()
    second.cancel()
    await asyncio.wait({first, second})
    assert (first.exception(), second.cancelled()) == (None, True)
    await server.ignore(SUBJECT)
    assert subscriptions(server) == 0
    alone = asyncio.create_task(server.listen(SUBJECT, "connector"))
    await checkpoint()
    alone.cancel()
    await asyncio.wait({alone})
    assert alone.cancelled()
    assert subscriptions(server) == 0


async def test_one_that_listens_while_the_bus_is_away_is_told_and_does_not_count(
    server: rpc.Server[Call], broker: Broker, other: Bus
) -> None:
    broker.stop(kill=True)
    with anyio.fail_after(5):
        while other.connected:
            await anyio.sleep(0.005)
    with anyio.fail_after(10), pytest.raises(NexusError):
        await server.listen(SUBJECT, "connector")
    assert subscriptions(server) == 0


async def test_nobody_begins_to_listen_once_the_worker_drains(
    server: rpc.Server[Call], client: rpc.Client
) -> None:
    await server.listen(SUBJECT, "connector")
    await server.drain(0)
    await server.listen(SUBJECT, "connector")
    assert subscriptions(server) == 0
    await server.ignore(SUBJECT)
    await server.ignore(SUBJECT)
