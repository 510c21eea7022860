"""Calls over a real bus: answers, events, silence, cancel, drain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

import anyio
import pytest
from msgspec import Raw

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import decoder, encode, raw
from libs.common.errors import (
    BusUnavailable,
    CallFailed,
    DeadlineExceeded,
    NexusError,
    Overloaded,
    ServerUnavailable,
    WorkerLost,
)
from libs.common.messages.calls import Call, CancelCall, SearchTools
from libs.common.rpc.job import EVENTS_BYTES, EVENTS_MAX, GATHERED_MAX
from tests.broker import Broker

pytestmark = pytest.mark.anyio

SUBJECT = "nexus.v1.call.demo"


def call(method: str = "echo", seconds: float = 10, params: object = None) -> Call:
    return Call("demo", method, time.time() + seconds, raw(params or {}))


class Worker:
    """A connector in miniature: what it does is chosen by the method."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.release = asyncio.Event()

    async def handle(self, call: Call, job: rpc.Job) -> Raw:
        self.started.set()
        match call.method:
            case "echo":
                return call.params
            case "events":
                for n in range(20):
                    job.event(raw(n))
                return raw("done")
            case "steps":
                job.event(raw(0))
                await self.release.wait()
                for n in range(1, 10):
                    job.event(raw(n))
                    await asyncio.sleep(0)
                return raw("done")
            case "fail":
                raise ServerUnavailable('no connector holds server "demo"', server="demo")
            case "bug":
                raise ZeroDivisionError
            case "big":
                return raw("x" * 10_000_000)
            case _:
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
                return raw("released")


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
async def server(other: Bus, worker: Worker) -> AsyncIterator[rpc.Server[Call]]:
    server: rpc.Server[Call] = rpc.Server(other, "w1", decoder(Call), worker.handle, limit=50)
    await server.start()
    await server.listen(SUBJECT, "connector")
    yield server
    await server.drain(0)


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


async def ask(client: rpc.Client, message: Call) -> Raw:
    with anyio.fail_after(10):
        return await client.request(SUBJECT, message, deadline=message.deadline)


async def refused(client: rpc.Client) -> NexusError:
    """Ask until nobody takes the call any more."""
    while True:
        try:
            await ask(client, call("echo"))
        except NexusError as error:
            return error


async def test_an_answer_arrives_as_it_was_sent(client: rpc.Client, server: rpc.Server[Call]) -> None:
    assert bytes(await ask(client, call(params={"x": 1.10}))) == b'{"x":1.1}'


async def test_two_hundred_calls_at_once_get_their_own_answers(
    client: rpc.Client, server: rpc.Server[Call]
) -> None:
    async def one(n: int) -> None:
        assert bytes(await ask(client, call(params={"n": n}))) == b'{"n":%d}' % n

    for start in range(0, 200, 40):
        async with anyio.create_task_group() as tasks:
            for n in range(start, start + 40):
                tasks.start_soon(one, n)
    assert len(client) == 0


async def test_events_arrive_in_order_before_the_result(client: rpc.Client, server: rpc.Server[Call]) -> None:
    seen: list[bytes] = []
    message = call("events")
    with anyio.fail_after(10):
        result = await client.request(
            SUBJECT, message, deadline=message.deadline, on_event=lambda event: seen.append(bytes(event))
        )
    assert bytes(result) == b'"done"'
    assert seen == [b"%d" % n for n in range(20)]


async def test_the_first_event_arrives_at_once_and_those_after_it_together(
    client: rpc.Client, server: rpc.Server[Call], worker: Worker, other: Bus
) -> None:
    seen: list[bytes] = []

    def on_event(event: Raw) -> None:
        seen.append(bytes(event))
        worker.release.set()

    message = call("steps")
    before = other.nats.stats["out_msgs"]
    with anyio.fail_after(10):
        await client.request(SUBJECT, message, deadline=message.deadline, on_event=on_event)
    assert seen == [b"%d" % n for n in range(10)]
    assert other.nats.stats["out_msgs"] - before < 8


async def test_large_events_are_sent_one_by_one(client: rpc.Client, other: Bus) -> None:
    large = [raw(str(n) * GATHERED_MAX) for n in range(3)]

    async def handle(_: Call, job: rpc.Job) -> Raw:
        for each in large:
            job.event(each)
        return raw("done")

    server: rpc.Server[Call] = rpc.Server(other, "w1", decoder(Call), handle)
    await server.listen(SUBJECT, "connector")
    seen: list[Raw] = []
    message = call("large")
    before = other.nats.stats["out_msgs"]
    with anyio.fail_after(10):
        await client.request(SUBJECT, message, deadline=message.deadline, on_event=seen.append)
    assert seen == large
    assert other.nats.stats["out_msgs"] - before == len(large) + 1
    await server.drain(0)


async def test_large_events_that_cannot_leave_do_not_fill_the_memory(client: rpc.Client, other: Bus) -> None:
    large = [raw(str(n) * (EVENTS_BYTES // 4)) for n in range(9)]

    async def handle(_: Call, job: rpc.Job) -> Raw:
        for each in large:
            job.event(each)
        assert sum(len(bytes(each)) for each in job.events) <= EVENTS_BYTES
        return raw("done")

    server: rpc.Server[Call] = rpc.Server(other, "w1", decoder(Call), handle)
    await server.listen(SUBJECT, "connector")
    seen: list[Raw] = []
    message = call("large")
    with anyio.fail_after(10):
        await client.request(SUBJECT, message, deadline=message.deadline, on_event=seen.append)
    assert seen == large[-3:]
    await server.drain(0)


async def test_a_flood_of_events_does_not_wait_until_some_are_lost(client: rpc.Client, other: Bus) -> None:
    async def handle(_: Call, job: rpc.Job) -> Raw:
        for n in range(EVENTS_MAX * 3):
            job.event(raw(n))
            await asyncio.sleep(0)
        return raw("done")

    server: rpc.Server[Call] = rpc.Server(other, "w1", decoder(Call), handle)
    await server.listen(SUBJECT, "connector")
    seen: list[bytes] = []
    message = call("flood")
    with anyio.fail_after(10):
        await client.request(
            SUBJECT, message, deadline=message.deadline, on_event=lambda event: seen.append(bytes(event))
        )
    assert seen == [b"%d" % n for n in range(EVENTS_MAX * 3)]
    await server.drain(0)


async def test_calls_that_stand_keep_no_other_out(client: rpc.Client, other: Bus, worker: Worker) -> None:
    server: rpc.Server[Call] = rpc.Server(
        other, "w1", decoder(Call), worker.handle, limit=1, stands=lambda call: call.method == "stand"
    )
    await server.listen(SUBJECT, "connector")
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask, client, call("stand"))
        with anyio.fail_after(10):
            while len(server) < 3:
                await anyio.sleep(0.01)
        assert bytes(await ask(client, call(params={"n": 1}))) == b'{"n":1}'
        worker.release.set()
    assert len(server) == 0
    await server.drain(0)


async def test_a_call_that_is_cancelled_before_it_began_is_forgotten(
    client: rpc.Client, server: rpc.Server[Call], worker: Worker, bus: Bus
) -> None:
    await bus.publish(SUBJECT, encode(call("wait")), f"{bus.inbox}.early")
    await bus.publish(subjects.worker("w1"), encode(CancelCall("early")))
    await ask(client, call("echo"))
    with anyio.fail_after(5):
        while len(server):
            await anyio.sleep(0.01)


async def test_an_error_arrives_with_code_verdict_and_data(
    client: rpc.Client, server: rpc.Server[Call]
) -> None:
    with pytest.raises(CallFailed) as caught:
        await ask(client, call("fail"))
    failure = caught.value.failure()
    assert (failure.code, failure.executed, failure.retry) == (-31002, "no", True)
    assert bytes(failure.data) == b'{"server":"demo","executed":"no"}'


async def test_a_bug_in_a_handler_is_an_unknown_outcome_without_a_trace(
    client: rpc.Client, server: rpc.Server[Call]
) -> None:
    with pytest.raises(CallFailed, match="internal error") as caught:
        await ask(client, call("bug"))
    assert caught.value.executed == "unknown"
    assert "Zero" not in caught.value.message


async def test_a_result_over_the_bus_bound_is_refused_with_its_size(
    client: rpc.Client, server: rpc.Server[Call]
) -> None:
    with pytest.raises(CallFailed, match="larger than the gateway carries") as caught:
        await ask(client, call("big"))
    assert caught.value.executed == "yes"


async def test_nobody_listening_is_known_at_once_and_proven(client: rpc.Client) -> None:
    started = time.monotonic()
    with pytest.raises(ServerUnavailable) as caught:
        await ask(client, call())
    assert caught.value.executed == "no"
    assert time.monotonic() - started < 1


async def test_cancelling_before_the_first_beat_reaches_the_worker(
    client: rpc.Client, server: rpc.Server[Call], worker: Worker
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, client, call("wait"))
        with anyio.fail_after(5):
            await worker.started.wait()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        await worker.cancelled.wait()
    assert len(client) == 0


async def test_a_call_that_outlives_its_deadline_is_stopped_downstream(
    client: rpc.Client, server: rpc.Server[Call], worker: Worker
) -> None:
    with pytest.raises(DeadlineExceeded):
        await ask(client, call("wait", seconds=0.3))
    with anyio.fail_after(5):
        await worker.cancelled.wait()


async def test_a_dead_worker_is_known_within_three_seconds(
    broker: Broker, client: rpc.Client, worker: Worker
) -> None:
    dying = Bus(broker.url, "connector")
    await dying.connect()
    server: rpc.Server[Call] = rpc.Server(dying, "w2", decoder(Call), worker.handle)
    await server.start()
    await server.listen(SUBJECT, "connector")
    outcome: list[NexusError] = []

    async def caller() -> None:
        try:
            await ask(client, call("wait"))
        except NexusError as error:
            outcome.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        with anyio.fail_after(5):
            await worker.started.wait()
        started = time.monotonic()
        await dying.close()
    assert time.monotonic() - started < 3
    assert isinstance(outcome[0], WorkerLost)
    assert outcome[0].executed == "unknown"
    worker.release.set()
    await server.drain(1)


async def test_a_full_worker_refuses_more(
    client: rpc.Client, server: rpc.Server[Call], worker: Worker
) -> None:
    refused: list[NexusError] = []

    async def one() -> None:
        try:
            await ask(client, call("wait"))
        except NexusError as error:
            refused.append(error)
            worker.release.set()

    async with anyio.create_task_group() as tasks:
        for _ in range(51):
            tasks.start_soon(one)
    assert len(refused) == 1
    assert "already runs 50 calls" in refused[0].message


async def test_a_drain_finishes_running_calls_and_refuses_new_ones(
    client: rpc.Client, server: rpc.Server[Call], worker: Worker
) -> None:
    answers: list[bytes] = []

    async def one() -> None:
        answers.append(bytes(await ask(client, call("wait"))))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        await worker.started.wait()
        async with anyio.create_task_group() as inner:
            inner.start_soon(server.drain, 5)
            refusal = await refused(client)
            assert refusal.executed == "no"
            worker.release.set()
    assert answers == [b'"released"']


async def test_calls_fail_fast_while_the_bus_is_away_and_work_again_after(
    broker: Broker, bus: Bus, client: rpc.Client, server: rpc.Server[Call]
) -> None:
    broker.stop(kill=True)
    with anyio.fail_after(5):
        while bus.connected:
            await anyio.sleep(0.01)
    with pytest.raises(BusUnavailable) as caught:
        await ask(client, call())
    assert caught.value.executed == "no"
    broker.start()
    with anyio.fail_after(10):
        while True:
            try:
                assert bytes(await ask(client, call())) == b"{}"
            except NexusError:
                await anyio.sleep(0.05)
            else:
                break


async def test_too_many_waiting_calls_are_refused(bus: Bus, server: rpc.Server[Call], worker: Worker) -> None:
    async with rpc.Client(bus, pending_max=1) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, client, call("wait"))
        await worker.started.wait()
        with pytest.raises(Overloaded):
            await ask(client, call())
        worker.release.set()


async def test_an_unreadable_message_is_answered_and_survived(
    bus: Bus, client: rpc.Client, server: rpc.Server[Call]
) -> None:
    for junk in (b"", b"{", b'{"t":"call"}', b"\xff" * 100):
        await bus.publish(SUBJECT, junk, f"{bus.inbox}.junk")
    assert bytes(await ask(client, call())) == b"{}"


async def test_a_worker_takes_calls_for_itself_alone(
    bus: Bus, client: rpc.Client, server: rpc.Server[Call], worker: Worker
) -> None:
    direct = subjects.worker("w1")
    message = call(params={"x": 1})
    with anyio.fail_after(10):
        assert bytes(await client.request(direct, message, deadline=message.deadline)) == b'{"x":1}'
    message = call("wait")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(client.request, direct, message, deadline=message.deadline))
        with anyio.fail_after(5):
            await worker.started.wait()
        tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        await worker.cancelled.wait()


async def test_an_unreadable_call_for_one_worker_is_refused_and_harms_nobody(
    bus: Bus, client: rpc.Client, server: rpc.Server[Call]
) -> None:
    await bus.publish(subjects.worker("w1"), b"junk")
    odd = SearchTools(time.time() + 5)
    with anyio.fail_after(10), pytest.raises(CallFailed, match="cannot be read"):
        await client.request(subjects.worker("w1"), odd, deadline=odd.deadline)
    assert bytes(await ask(client, call(params={"n": 1}))) == b'{"n":1}'
