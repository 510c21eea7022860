"""Calls over a real bus to real children: what is run, what is not, and what a cancel reaches."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from msgspec import Raw
from msgspec.structs import replace
from structlog.testing import capture_logs

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import decode, raw
from libs.common.errors import CallFailed, DeadlineExceeded, NexusError
from libs.common.messages.calls import Call
from libs.common.trace import Trace
from tests.broker import Broker
from tests.services.connector.parts import child
from tests.services.connector.world import Connector, Watcher, connecting, lister, tool, use, watching

pytestmark = pytest.mark.anyio


@pytest.fixture
async def connector(broker: Broker) -> AsyncIterator[Connector]:
    async with connecting(broker) as connector:
        yield connector


@pytest.fixture
async def watcher(broker: Broker) -> AsyncIterator[Watcher]:
    async with watching(broker) as watcher:
        yield watcher


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


def call(method: str, params: object = None, seconds: float = 10, *, notify: bool = False) -> Call:
    return Call("child", method, time.time() + seconds, raw(params or {}), notify=notify)


async def ask(client: rpc.Client, message: Call) -> Raw:
    with anyio.fail_after(15):
        return await client.request(subjects.call("child"), message, deadline=message.deadline)


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STRICT = {
    "type": "object",
    "required": ["city"],
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
}


async def test_arguments_that_miss_the_schema_are_explained_and_nothing_is_run(
    connector: Connector, watcher: Watcher, client: rpc.Client, tmp_path: Path
) -> None:
    strict = tool("forecast", inputSchema=STRICT)
    connector.keep(lister(tmp_path / "tools", strict, tool("executed")))
    await watcher.until(watcher.is_ready)
    wrong = raw({"arguments": {"city": 7, "days": "two"}})
    message = Call("child", "tools/call", time.time() + 10, wrong, tool="forecast")
    answer = decode(await ask(client, message))
    assert answer["isError"] is True
    assert answer["_meta"] == {"nexus/executed": "no"}
    text = answer["content"][0]["text"]
    assert 'do not fit the schema of "forecast"; the tool was not run' in text
    assert "arguments.city" in text
    assert "arguments.days" in text
    assert await use(client, "executed") == "[]"
    assert await use(client, "forecast", {"city": "Rome"}) == "forecast"
    assert await use(client, "executed") == '["forecast"]'


async def test_the_trace_of_a_call_is_written_into_its_meta(
    connector: Connector, watcher: Watcher, client: rpc.Client
) -> None:
    connector.keep(child())
    await watcher.until(watcher.is_ready)
    params = {"name": "echo", "arguments": {}, "_meta": {"kept": 1}}
    traced = replace(call("tools/call", params), trace=Trace(PARENT, baggage="b=2"))
    result = decode(await ask(client, traced))
    meta = json.loads(result["content"][0]["text"])["_meta"]
    assert meta == {"kept": 1, "traceparent": PARENT, "baggage": "b=2"}


async def test_a_transparent_call_is_passed_on_with_whatever_it_holds(
    connector: Connector, watcher: Watcher, client: rpc.Client
) -> None:
    connector.keep(child())
    await watcher.until(watcher.is_ready)
    answer = decode(await ask(client, call("tools/call", {"name": "echo", "arguments": {"x": 1}, "odd": 1})))
    assert json.loads(answer["content"][0]["text"]) == {"x": 1, "_meta": {}}
    with pytest.raises(CallFailed, match="unknown: no/such") as caught:
        await ask(client, call("no/such"))
    failure = caught.value.failure()
    assert (failure.code, failure.executed, failure.verbatim) == (-32601, "yes", True)


async def test_a_notification_reaches_the_child_and_is_answered_when_written(
    connector: Connector, watcher: Watcher, client: rpc.Client, tmp_path: Path
) -> None:
    connector.keep(lister(tmp_path / "tools", tool("heard")))
    await watcher.until(watcher.is_ready)
    assert bytes(await ask(client, call("notifications/roots/list_changed", notify=True))) == b"{}"
    heard = json.loads(await use(client, "heard"))
    assert heard[-1] == "notifications/roots/list_changed"


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_only_a_server_with_sessions_is_told_what_clients_announce(
    connector: Connector, watcher: Watcher, client: rpc.Client, era: str
) -> None:
    connector.keep(child(f"era={era}", era=era))
    await watcher.until(watcher.is_ready)
    for method in ("notifications/roots/list_changed", "notifications/com.example/odd"):
        assert bytes(await ask(client, call(method, notify=True))) == b"{}"
    own = ["notifications/initialized", "notifications/roots/list_changed", "notifications/com.example/odd"]
    assert json.loads(await use(client, "heard")) == (own if era == "legacy" else [])


async def test_what_a_child_logs_on_its_pipe_reaches_the_only_call_that_wants_it(
    connector: Connector, watcher: Watcher, client: rpc.Client
) -> None:
    connector.keep(child())
    await watcher.until(watcher.is_ready)
    for meta, told in (({"io.modelcontextprotocol/logLevel": "info"}, True), ({}, False)):
        message = call("tools/call", {"name": "burst", "arguments": {"lines": 3}, "_meta": meta})
        heard: list[Raw] = []
        with anyio.fail_after(15):
            await client.request(
                subjects.call("child"), message, deadline=message.deadline, on_event=heard.append
            )
        assert {decode(each)["method"] for each in heard} == ({"notifications/message"} if told else set())


async def log(
    client: rpc.Client, mark: str, together: int, level: str = "info"
) -> tuple[list[str], list[str]]:
    """What a call that logs hears of, beside `together` others, and which levels its server was told."""
    arguments = {"mark": mark, "together": together, "levels": ["debug", "error"]}
    meta = {"io.modelcontextprotocol/logLevel": level} if level else {}
    message = call("tools/call", {"name": "log", "arguments": arguments, "_meta": meta})
    heard: list[Raw] = []
    with anyio.fail_after(15):
        result = await client.request(
            subjects.call("child"), message, deadline=message.deadline, on_event=heard.append
        )
    levels = json.loads(decode(result)["content"][0]["text"])
    return [decode(each)["params"]["data"] for each in heard], levels


async def test_of_twenty_callers_at_once_none_hears_a_line_that_may_be_another_s(
    connector: Connector, watcher: Watcher, client: rpc.Client
) -> None:
    connector.keep(child())
    await watcher.until(watcher.is_ready)
    with capture_logs() as logged:
        told = await asyncio.gather(*(log(client, f"mark-{number}", together=20) for number in range(20)))
    assert [heard for heard, _ in told] == [[]] * 20
    dropped = [each["dropped"] for each in logged if each["event"] == "log line is for no certain call"]
    assert dropped == list(range(1, 41))
    assert (await log(client, "alone", together=1))[0] == ["alone", "alone"]


async def test_a_server_with_sessions_is_told_the_lowest_level_anybody_wanted(
    connector: Connector, watcher: Watcher, client: rpc.Client
) -> None:
    connector.keep(child())
    await watcher.until(watcher.is_ready)
    levels = [(await log(client, "x", 1, level))[1] for level in ("", "error", "emergency", "debug", "info")]
    assert levels == [[], ["error"], ["error"], ["error", "debug"], ["error", "debug"]]


async def test_a_cancel_reaches_the_child(connector: Connector, watcher: Watcher, client: rpc.Client) -> None:
    connector.keep(child())
    await watcher.until(watcher.is_ready)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, client, call("tools/call", {"name": "slow"}))
        with anyio.fail_after(5):
            while connector.pool.pick("child").running == 0:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    with anyio.fail_after(10):
        while await use(client, "cancelled") != "1":
            await anyio.sleep(0.05)
    assert connector.pool.pick("child").running == 0


async def test_a_call_past_its_deadline_stops_the_child_too(
    connector: Connector, watcher: Watcher, client: rpc.Client
) -> None:
    connector.keep(child())
    await watcher.until(watcher.is_ready)
    with pytest.raises((CallFailed, DeadlineExceeded)) as caught:
        await ask(client, call("tools/call", {"name": "slow"}, seconds=0.5))
    assert caught.value.executed == "unknown"
    with anyio.fail_after(10):
        while await use(client, "cancelled") != "1":
            await anyio.sleep(0.05)


async def test_a_call_for_a_server_this_worker_has_lost_is_a_proven_no(
    connector: Connector, client: rpc.Client
) -> None:
    await connector.parts.calls.listen(subjects.call("child"), "connector")
    with pytest.raises(NexusError, match='no longer holds server "child"') as caught:
        await ask(client, call("ping"))
    assert (caught.value.executed, caught.value.failure().retry) == ("no", True)


@pytest.mark.parametrize("params", [Raw(b"[]"), Raw(b"7"), Raw(b"null")])
async def test_params_that_are_no_object_are_refused_before_the_child_sees_them(
    connector: Connector, watcher: Watcher, client: rpc.Client, params: Raw
) -> None:
    connector.keep(child())
    await watcher.until(watcher.is_ready)
    with pytest.raises(CallFailed, match="params must be an object") as caught:
        await ask(client, Call("child", "tools/call", time.time() + 5, params))
    assert caught.value.executed == "no"


async def test_calls_go_to_the_least_busy_instance(
    connector: Connector, watcher: Watcher, client: rpc.Client
) -> None:
    connector.keep(child(instances=2))
    await watcher.until(lambda: len(connector.pool._live.get("child", ())) == 2 and watcher.is_ready())
    one, two = connector.pool._live["child"]
    async with anyio.create_task_group() as tasks:
        for busy in range(1, 5):
            tasks.start_soon(ask, client, call("tools/call", {"name": "slow"}))
            with anyio.fail_after(5):
                while one.running + two.running < busy:
                    await anyio.sleep(0.01)
        assert (one.running, two.running) == (2, 2)
        tasks.cancel_scope.cancel()


async def test_a_server_takes_so_many_calls_at_once_and_no_more(
    broker: Broker, watcher: Watcher, client: rpc.Client
) -> None:
    async with connecting(broker, most={"child": 2}) as connector:
        connector.keep(child())
        await watcher.until(watcher.is_ready)
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ask, client, call("tools/call", {"name": "slow"}))
            with anyio.fail_after(5):
                while connector.pool.pick("child").running < 2:
                    await anyio.sleep(0.01)
            with pytest.raises(CallFailed, match="2 calls of this server are under way") as caught:
                await ask(client, call("tools/call", {"name": "echo"}))
            tasks.cancel_scope.cancel()
        failure = caught.value.failure()
        assert (failure.code, failure.executed, failure.http) == (-31007, "no", 200)
        with anyio.fail_after(5):
            while connector.pool.pick("child").running:
                await anyio.sleep(0.01)
        assert await ask(client, call("tools/call", {"name": "echo"}))
