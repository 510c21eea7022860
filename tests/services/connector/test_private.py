"""Sessions of callers of their own, with real children: who shares one, when it is opened, when it ends."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from msgspec import Raw
from msgspec.structs import replace

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import decode, raw
from libs.common.errors import CallFailed, Overloaded
from libs.common.identity import ANONYMOUS, Principal
from libs.common.messages.calls import Call, Client
from services.connector import private
from tests.broker import Broker
from tests.services.connector.parts import child, gone
from tests.services.connector.world import Connector, connecting, watching

pytestmark = pytest.mark.anyio

ANN, BEN = Principal("ann"), Principal("ben")
ASKABLE = Raw(b'{"elicitation":{}}')
MODERN = Client("2026-07-28", ASKABLE)
ELICIT = "elicitation/create"
ACCEPT = {"action": "accept", "content": {"name": "Ann"}}


def legacy(session: str) -> Client:
    return Client("2025-11-25", ASKABLE, session=session)


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


@asynccontextmanager
async def keeping(broker: Broker, sharing: str, **settings: Any) -> AsyncIterator[Connector]:
    """A connector with the child, kept in this way."""
    async with connecting(broker) as connector, watching(broker) as watcher:
        connector.keep(child(sharing=sharing, **settings))
        await watcher.until(watcher.is_ready)
        yield connector


def calling(name: str, who: Principal = ANN, client: Client = MODERN, **arguments: Any) -> Call:
    params = raw({"name": name, "arguments": arguments})
    return Call("child", "tools/call", time.time() + 10, params, principal=who, client=client)


def asking(who: Principal = ANN, client: Client = MODERN) -> Call:
    return calling("ask", who, client, methods=[ELICIT])


async def send(client: rpc.Client, call: Call) -> Any:
    with anyio.fail_after(15):
        return decode(await client.request(subjects.worker("w1"), call, deadline=call.deadline))


async def answer(client: rpc.Client, call: Call, asked: Any) -> Any:
    """What the child was answered, once the client has come back."""
    more = {"inputResponses": {"q1": ACCEPT}, "requestState": asked["requestState"]}
    again = replace(call, deadline=time.time() + 10, params=raw({**decode(call.params), **more}))
    return json.loads((await send(client, again))["content"][0]["text"])


async def pid(client: rpc.Client, who: Principal = ANN, speaker: Client = MODERN) -> int:
    """The process that a caller talks to."""
    text = (await send(client, calling("pid", who, speaker)))["content"][0]["text"]
    return int(text.split()[0])


async def until_running(connector: Connector, who: Principal) -> None:
    """Wait until a call of this caller is on its session."""
    private = connector.pool.private["child"]
    with anyio.fail_after(10):
        while (live := private.find(asking(who))) is None or not live.running:
            await anyio.sleep(0.01)


async def test_every_principal_has_a_process_and_keeps_it(broker: Broker, client: rpc.Client) -> None:
    async with keeping(broker, "per-principal"):
        first = await pid(client)
        assert await pid(client, BEN) != first
        assert await pid(client, ANN, legacy("s1")) == first


async def test_every_session_of_a_client_has_a_process(broker: Broker, client: rpc.Client) -> None:
    async with keeping(broker, "per-session"):
        pids = [await pid(client, ANN, speaker) for speaker in (legacy("s1"), legacy("s2"), MODERN)]
        assert len(set(pids)) == 3
        assert await pid(client, ANN, legacy("s1")) == pids[0]


async def test_calls_that_come_at_once_wait_for_one_process(broker: Broker, client: rpc.Client) -> None:
    pids: set[int] = set()

    async def note() -> None:
        pids.add(await pid(client))

    async with keeping(broker, "per-principal") as connector:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(note)
        assert len(pids) == 1
        assert len(connector.pool.private["child"]) == 1


async def test_a_question_is_for_the_caller_whose_session_it_comes_on(
    broker: Broker, client: rpc.Client
) -> None:
    async with keeping(broker, "per-principal") as connector, anyio.create_task_group() as tasks:
        for who in (ANN, BEN):
            tasks.start_soon(send, client, calling("slow", who))
            await until_running(connector, who)
        for who in (ANN, BEN):
            call = asking(who)
            asked = await send(client, call)
            assert asked["inputRequests"]["q1"]["method"] == ELICIT
            assert (await answer(client, call, asked))[0]["result"] == ACCEPT
        tasks.cancel_scope.cancel()


async def test_of_anonymous_callers_nobody_is_asked_while_two_calls_are_under_way(
    broker: Broker, client: rpc.Client
) -> None:
    async with keeping(broker, "per-principal") as connector, anyio.create_task_group() as tasks:
        tasks.start_soon(send, client, calling("slow", ANONYMOUS))
        await until_running(connector, ANONYMOUS)
        told = await send(client, asking(ANONYMOUS))
        assert "error" in json.loads(told["content"][0]["text"])[0]
        tasks.cancel_scope.cancel()


async def test_a_modern_client_is_asked_although_an_earlier_call_was_never_answered(
    broker: Broker, client: rpc.Client
) -> None:
    async with keeping(broker, "per-session") as connector:
        first, second = asking(ANONYMOUS), asking(ANONYMOUS)
        asked = [await send(client, first), await send(client, second)]
        assert len(connector.pool.private["child"]) == 2
        for call, each in zip((second, first), reversed(asked), strict=True):
            assert (await answer(client, call, each))[0]["result"] == ACCEPT
        assert "requestState" in await send(client, asking(ANONYMOUS))
        assert len(connector.pool.private["child"]) == 2


async def test_the_least_used_session_gives_way_and_none_that_works(
    broker: Broker, client: rpc.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "SETTLE", 0.0)
    async with keeping(broker, "per-session", max_sessions=2) as connector:
        first = await pid(client, ANN, legacy("s1"))
        held = asking(ANN, legacy("s2"))
        asked = await send(client, held)
        assert await pid(client, ANN, legacy("s3")) != first
        await gone(first)
        assert len(connector.pool.private["child"]) == 2
        await send(client, asking(ANN, legacy("s3")))
        with pytest.raises(CallFailed, match="all in use") as caught:
            await pid(client, ANN, legacy("s4"))
        assert (caught.value.failure().code, caught.value.executed) == (Overloaded.code, "no")
        assert (await answer(client, held, asked))[0]["result"] == ACCEPT


async def test_an_idle_session_is_closed_and_opened_again(
    broker: Broker, client: rpc.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "IDLE", 0.3)
    monkeypatch.setattr(private, "LOOK", 0.05)
    async with keeping(broker, "per-principal") as connector:
        first = await pid(client)
        await gone(first)
        with anyio.fail_after(5):
            while len(connector.pool.private["child"]):
                await anyio.sleep(0.01)
        assert await pid(client) != first


async def test_a_session_that_died_is_opened_again_for_the_next_call(
    broker: Broker, client: rpc.Client
) -> None:
    async with keeping(broker, "per-principal"):
        first, other = await pid(client), await pid(client, BEN)
        with pytest.raises(CallFailed) as caught:
            await send(client, calling("crash"))
        assert caught.value.executed == "unknown"
        assert await pid(client) != first
        assert await pid(client, BEN) == other


async def test_a_caller_whose_session_does_not_open_hears_why(
    broker: Broker, client: rpc.Client, tmp_path: Any
) -> None:
    once = tmp_path / "started"
    async with keeping(broker, "per-principal", cmd=child(f"once={once}").cmd):
        with pytest.raises(CallFailed, match="could not be opened: it did not start") as caught:
            await pid(client)
        assert caught.value.executed == "no"
        assert caught.value.failure().retry


async def test_all_processes_end_with_the_connector(broker: Broker, client: rpc.Client) -> None:
    async with keeping(broker, "per-session"):
        pids = [await pid(client, ANN, legacy(f"s{number}")) for number in range(2)]
    await gone(*pids)
