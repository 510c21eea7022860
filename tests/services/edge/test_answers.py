"""Answers and cancelling without a network: who cancelled, and what waits for a slow reader."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from msgspec import Raw

from libs.common.errors import InvalidRequest
from services.edge.body import ClientGone
from services.edge.flights import Cancelled, Flights
from services.edge.streams import WAITING_MAX, Answer, Watch

pytestmark = pytest.mark.anyio

ONE = Raw(b"1")


class Client:
    """A client that leaves when told."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.watched = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        self.watched.set()
        await self.left.wait()
        return {"type": "http.disconnect"}


async def work(client: Client) -> None:
    with Watch(client.receive):
        await asyncio.Event().wait()


async def test_a_client_that_leaves_ends_the_work_and_the_task_goes_on() -> None:
    client = Client()
    client.left.set()
    with anyio.fail_after(5):
        with pytest.raises(ClientGone):
            await work(client)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_stopping_the_server_is_not_taken_for_a_client_that_left() -> None:
    client = Client()
    task = asyncio.create_task(work(client))
    with anyio.fail_after(5):
        await client.watched.wait()
        client.left.set()
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


async def test_work_that_is_done_at_once_is_never_watched() -> None:
    client = Client()
    with Watch(client.receive):
        pass
    await asyncio.sleep(0)
    assert not client.watched.is_set()


async def fly(flights: Flights, started: asyncio.Event) -> None:
    with flights.flight("s", ONE):
        started.set()
        await asyncio.Event().wait()


async def test_a_cancelled_flight_says_so() -> None:
    flights, started = Flights(), asyncio.Event()
    task = asyncio.create_task(fly(flights, started))
    with anyio.fail_after(5):
        await started.wait()
        assert flights.cancel("s", Raw(b"1"))
        assert flights.cancel("s", ONE)
        with pytest.raises(Cancelled):
            await task
    assert not flights.cancel("s", ONE)


async def test_stopping_the_server_is_not_taken_for_a_cancelled_request() -> None:
    flights, started = Flights(), asyncio.Event()
    task = asyncio.create_task(fly(flights, started))
    with anyio.fail_after(5):
        await started.wait()
        flights.cancel("s", ONE)
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert len(flights) == 0


async def test_an_id_is_free_again_after_its_flight() -> None:
    flights = Flights()
    for _ in range(2):
        with flights.flight("s", ONE), pytest.raises(InvalidRequest), flights.flight("s", ONE):
            pytest.fail("the same id twice at the same time")
    assert len(flights) == 0


async def test_events_that_wait_are_bounded_in_bytes_and_the_answer_is_not() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    answer = Answer(send)
    for _ in range(3):
        answer.event(b"x" * (WAITING_MAX // 2 - 100))
    with anyio.fail_after(5):
        await answer.finish(b"y" * WAITING_MAX)
        await answer.close()
    assert answer.dropped == 1
    whole = b"".join(sent)
    assert (whole.count(b"data: x"), whole.count(b"data: y")) == (2, 1)
    assert whole.endswith(b"y\n\n")


async def test_an_event_after_the_end_is_dropped() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    answer = Answer(send)
    await answer.finish(b"{}")
    answer.event(b"{}")
    assert not answer.streaming
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
