"""Streams that break and are taken up again, at whatever replica."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import pytest

from libs.common import subjects
from libs.common.bus import Bus
from libs.common.codec import encode, raw
from libs.common.identity import Principal
from libs.common.messages.streams import Kept
from libs.common.seal import Keyring
from services.edge import journal, listening, standing
from services.edge.holding import holding
from services.edge.journal import Journals
from services.edge.lines import Lines
from services.edge.replay import Place
from services.edge.sessions import Sessions
from tests.broker import Broker
from tests.services.edge.conftest import KEY, Edge, connect, running
from tests.services.edge.stub import StubCatalog, progress

pytestmark = pytest.mark.anyio

PATH = "/mcp/demo"


@dataclass
class Replica:
    bus: Bus
    edge: Edge
    journals: Journals


@asynccontextmanager
async def replica(broker: Broker) -> AsyncIterator[Replica]:
    bus = Bus(broker.url, "edge")
    await bus.connect()
    try:
        async with Journals(bus) as journals, running(journals=journals) as edge:
            await bus.subscribe(subjects.held(bus.client), holding(journals, Lines(bus.client)))
            await bus.settled()
            yield Replica(bus, edge, journals)
    finally:
        await bus.close()


@pytest.fixture
async def one(broker: Broker) -> AsyncIterator[Replica]:
    async with replica(broker) as one:
        await until(lambda: one.journals._declared)
        yield one


@pytest.fixture
async def two(broker: Broker) -> AsyncIterator[Replica]:
    async with replica(broker) as two:
        yield two


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not true():
            await anyio.sleep(0.005)


async def stored(bus: Bus) -> int:
    info = await bus.jetstream().stream_info(subjects.EVENT_STREAM)
    return info.state.messages


def call(tool: str = "events", number: Any = 7, **meta: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": {}, "_meta": {"progressToken": "t", **meta}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


@dataclass
class Event:
    id: str = ""
    retry: str = ""
    data: str = ""

    @property
    def message(self) -> Any:
        return json.loads(self.data)


async def read(answer: httpx.Response) -> AsyncIterator[Event]:
    """Server-sent events as the WHATWG algorithm reads them, those without data as well."""
    event = Event()
    async for line in answer.aiter_lines():
        name, _, value = line.partition(":")
        if not line and event != Event():
            yield event
            event = Event()
        elif name in ("id", "retry", "data"):
            setattr(event, name, getattr(event, name) + value.removeprefix(" "))


async def upto(answer: httpx.Response, count: int) -> AsyncIterator[Event]:
    """The first `count` events."""
    async for event in read(answer):
        yield event
        count -= 1
        if not count:
            return


async def begun(edge: Edge, headers: dict[str, str], count: int = 1, **kinds: Any) -> list[Event]:
    """The first events of a call, whose connection then breaks."""
    found: list[Event] = []
    with anyio.fail_after(5):
        async with (
            connect(edge.url) as leaving,
            leaving.stream("POST", PATH, json=call(**kinds), headers=headers) as answer,
        ):
            assert answer.headers["content-type"] == "text/event-stream"
            async for event in read(answer):
                found.append(event)
                if len(found) == count:
                    return found
    pytest.fail(f"the stream ended early: {found}")


def back(headers: dict[str, str], last: str) -> dict[str, str]:
    return {**headers, "last-event-id": last}


async def again(edge: Edge, headers: dict[str, str], last: str) -> list[Event]:
    with anyio.fail_after(10):
        async with edge.http.stream("GET", PATH, headers=back(headers, last)) as answer:
            assert answer.status_code == 200, await answer.aread()
            return [event async for event in read(answer)]


async def test_a_broken_stream_goes_on_at_another_replica_until_the_answer(
    one: Replica, two: Replica
) -> None:
    headers = await one.edge.session(PATH)
    primed, first = await begun(one.edge, headers, 2)
    assert (primed.data, primed.retry != "") == ("", True)
    assert first.message["params"]["progress"] == 1
    found: list[Event] = []
    with anyio.fail_after(10):
        async with two.edge.http.stream("GET", PATH, headers=back(headers, first.id)) as answer:
            async for event in read(answer):
                found.append(event)
                if len(found) == 2:
                    one.edge.gateway.release.set()
    logged, second, final = (event.message for event in found)
    assert logged["method"] == "notifications/message"
    assert second["params"]["progress"] == 2
    assert (final["id"], "result" in final) == (7, True)
    assert not one.edge.gateway.cancelled


async def test_a_stream_that_is_over_is_told_to_its_end(one: Replica, two: Replica) -> None:
    one.edge.gateway.release.set()
    headers = await one.edge.session(PATH)
    whole = await one.edge.http.post(PATH, json=call(), headers=headers)
    ids = [line.removeprefix("id: ") for line in whole.text.splitlines() if line.startswith("id: ")]
    for place, last in enumerate(ids):
        for edge in (one.edge, two.edge):
            assert [event.id for event in await again(edge, headers, last)] == ids[place + 1 :]


async def test_nobody_else_can_take_a_stream_up(one: Replica, two: Replica) -> None:
    headers, others = await one.edge.session(PATH), await one.edge.session(PATH)
    (first,) = await begun(one.edge, headers)
    for edge in (one.edge, two.edge):
        refused = await edge.http.get(PATH, headers=back(others, first.id))
        assert refused.status_code == 400
        assert "not kept" in refused.json()["error"]["message"]
    mine = await one.edge.session(PATH, user="ann")
    foreign = await two.edge.http.get(PATH, headers={**back(mine, first.id), "x-test-user": "bob"})
    assert foreign.status_code == 404


async def test_two_streams_of_a_session_are_never_mixed(one: Replica, two: Replica) -> None:
    headers = await one.edge.session(PATH)
    first, second = [(await begun(one.edge, headers, number=number))[0] for number in (7, 8)]
    one.edge.gateway.release.set()
    for event, number in ((first, 7), (second, 8)):
        found = await again(two.edge, headers, event.id)
        assert [each.message["id"] for each in found if "id" in each.message] == [number]
        assert len(found) == 4


async def test_an_answer_without_events_leaves_nothing(one: Replica) -> None:
    headers = await one.edge.session(PATH)
    answer = await one.edge.http.post(PATH, json=call("echo"), headers=headers)
    assert answer.headers["content-type"] == "application/json"
    await one.journals._write()
    assert (await stored(one.bus), len(one.journals)) == (0, 0)


async def test_events_that_come_together_are_kept_together(one: Replica) -> None:
    one.edge.gateway.release.set()
    headers = await one.edge.session(PATH)
    await one.edge.http.post(PATH, json=call("flood"), headers=headers)
    await one.journals._write()
    assert await stored(one.bus) <= 3


@pytest.mark.parametrize(("version", "ids", "primes"), [
    ("2024-11-05", False, False),
    ("2025-03-26", True, False),
    ("2025-06-18", True, False),
    ("2025-11-25", True, True),
])  # fmt: skip
async def test_each_revision_gets_what_its_clients_know(
    one: Replica, version: str, ids: bool, primes: bool
) -> None:
    one.edge.gateway.release.set()
    headers = await one.edge.session(PATH, protocolVersion=version)
    async with one.edge.http.stream("POST", PATH, json=call(), headers=headers) as answer:
        found = [event async for event in read(answer)]
    assert (found[0].data == "") == primes
    assert all(bool(event.id) == ids for event in found)
    assert bool(found[0].retry) == primes


def session_id(headers: dict[str, str]) -> str:
    sessions = Sessions(Keyring([KEY]), StubCatalog(), 60)
    return sessions.resume(headers["mcp-session-id"], Principal("anonymous"), PATH).id


async def test_a_call_whose_replica_is_dead_ends_with_a_verdict(one: Replica) -> None:
    headers = await one.edge.session(PATH)
    dead = "0123456789ab-1"
    kept = Kept(1, (progress(1), progress(2)), (raw(7), raw("b")))
    await one.bus.publish(subjects.stream(f"{session_id(headers)}-{dead}"), encode(kept))
    event, lost, other = await again(one.edge, headers, f"{dead}-1")
    assert (event.id, event.message["params"]["progress"]) == (f"{dead}-2", 2)
    assert (lost.message["id"], lost.message["error"]["data"]["executed"]) == (7, "unknown")
    assert other.message["id"] == "b"


async def test_a_dead_replica_leaves_no_verdict_on_what_was_answered(one: Replica) -> None:
    headers = await one.edge.session(PATH)
    dead = "0123456789ab-1"
    answer = raw({"jsonrpc": "2.0", "id": 7, "result": {}})
    for kept in (Kept(1, (answer,), (raw(7),)), Kept(2, (progress(1),), (raw(7),))):
        await one.bus.publish(subjects.stream(f"{session_id(headers)}-{dead}"), encode(kept))
    assert [event.id for event in await again(one.edge, headers, f"{dead}-0")] == [f"{dead}-1", f"{dead}-2"]


async def test_a_quiet_call_gets_a_stream_that_can_be_left(
    one: Replica, two: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "OPEN_AFTER", 0.05)
    headers = await one.edge.session(PATH)
    (primed,) = await begun(one.edge, headers, tool="slow")
    assert primed.data == ""
    one.edge.gateway.release.set()
    (final,) = await again(two.edge, headers, primed.id)
    assert (final.message["id"], "result" in final.message) == (7, True)


async def test_a_cancelled_call_ends_its_stream_without_an_answer(one: Replica, two: Replica) -> None:
    headers = await one.edge.session(PATH)
    primed, _ = await begun(one.edge, headers, 2)
    await one.edge.notify(headers, "notifications/cancelled", PATH, requestId=7)
    found = await again(two.edge, headers, primed.id)
    assert all("method" in event.message for event in found)


@pytest.mark.parametrize("last", ["0123456789ab-1-5", "0123456789ab-ffffffffffff-999999999999"])
async def test_a_stream_that_is_not_kept_is_refused(one: Replica, last: str) -> None:
    headers = await one.edge.session(PATH)
    refused = await one.edge.http.get(PATH, headers=back(headers, last))
    assert refused.status_code == 400


@pytest.mark.parametrize("last", ["", "7", "*", "0123456789ab-1-5.>", "0123456789ab-1", "a b-1-1", "x" * 99])
def test_an_id_that_is_not_ours_is_none(last: str) -> None:
    assert Place.of("5e55", last) is None


async def test_the_standing_stream_tells_what_happened_while_its_client_was_away(
    one: Replica, two: Replica
) -> None:
    headers = await one.edge.session(PATH)
    with anyio.fail_after(10):
        async with (
            connect(one.edge.url) as leaving,
            leaving.stream("GET", PATH, headers=headers) as answer,
        ):
            primed, first = [event async for event in upto(answer, 2)]
        assert (primed.data, first.message["method"]) == ("", "notifications/tools/list_changed")
        await until(lambda: len(one.edge.standing._lingering) == 1)
        one.edge.gateway.listens[0].tell("notifications/prompts/list_changed")
        async with two.edge.http.stream("GET", PATH, headers=back(headers, first.id)) as answer:
            found = [event.message["method"] async for event in upto(answer, 3) if event.data]
    assert set(found) == {"notifications/tools/list_changed", "notifications/prompts/list_changed"}
    await until(lambda: len(one.edge.standing) == 0)


async def test_a_client_that_comes_back_takes_the_place_of_its_dead_connection(one: Replica) -> None:
    headers = await one.edge.session(PATH)
    with anyio.fail_after(10):
        async with one.edge.http.stream("GET", PATH, headers=headers) as dead:
            old = read(dead)
            primed = await anext(old)
            async with one.edge.http.stream("GET", PATH, headers=back(headers, primed.id)) as answer:
                assert [event async for event in upto(answer, 2)]
                # The old connection is ended, so that reading it comes to an end.
                assert [event async for event in old if not event.data] == []


async def test_a_stream_without_its_client_ends_after_a_while(
    one: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "LINGER", 0.05)
    headers = await one.edge.session(PATH)
    with anyio.fail_after(10):
        async with connect(one.edge.url) as leaving, leaving.stream("GET", PATH, headers=headers) as answer:
            assert [event async for event in upto(answer, 1)]
        await until(lambda: len(one.edge.standing) == len(one.journals) == 0)


def test_what_is_larger_than_a_message_of_the_bus_is_left_out() -> None:
    journals = Journals(Bus("nats://127.0.0.1:1", "edge"))
    journal = journals.start("5e55", (raw(7),), primes=False)
    for text in (b'"a"', b'"%b"' % (b"x" * 100), b'"c"'):
        journal.add(text)
    journal.end()
    first, second, end = journal.take(50)
    assert [(each.first, len(each.events)) for each in (first, second, end)] == [(1, 1), (3, 1), (4, 0)]
    assert (end.last, end.requests) == (True, (raw(7),))


async def test_a_broker_that_forgot_everything_keeps_streams_again(one: Replica, broker: Broker) -> None:
    renewed = anyio.Event()
    one.bus.on_reconnect(renewed.set)
    broker.stop(kill=True)
    await until(lambda: not one.bus.connected)
    broker.start()
    # Told after the journals were, which by then know that their stream may be gone.
    with anyio.fail_after(10):
        await renewed.wait()
    await until(lambda: one.journals._declared)
    one.edge.gateway.release.set()
    headers = await one.edge.session(PATH)
    await one.edge.http.post(PATH, json=call(), headers=headers)
    await one.journals._write()
    await one.bus.settled()
    assert await stored(one.bus) > 0


async def test_a_client_that_was_asked_can_come_back_to_answer(one: Replica, two: Replica) -> None:
    headers = await one.edge.session(PATH, capabilities={"elicitation": {}, "roots": {}})
    primed, *questions = await begun(one.edge, headers, 3, tool="asks")
    with anyio.fail_after(10):
        async with two.edge.http.stream("GET", PATH, headers=back(headers, primed.id)) as answer:
            found = read(answer)
            assert [(await anext(found)).message["id"] for _ in questions] == [
                each.message["id"] for each in questions
            ]
            for question in questions:
                reply = {"jsonrpc": "2.0", "id": question.message["id"], "result": {"said": "yes"}}
                assert (await one.edge.http.post(PATH, json=reply, headers=headers)).status_code == 202
            final = (await anext(found)).message
    assert (final["id"], "yes" in str(final["result"])) == (7, True)


async def test_a_client_that_was_asked_and_stays_away_is_given_up(
    one: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ABANDONED", 0.05)
    headers = await one.edge.session(PATH, capabilities={"elicitation": {}, "roots": {}})
    primed, *_ = await begun(one.edge, headers, 3, tool="asks")
    await until(lambda: len(one.edge.flights) == 0)
    assert (await again(one.edge, headers, primed.id))[-1].message["error"]["data"]["executed"] == "unknown"
