"""Answers that stream, clients that leave, and clients that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import anyio
import pytest

from libs.common.codec import decode
from services.edge.body import ClientGone
from services.edge.streams import QUEUE_MAX, Answer, frame
from tests.services.edge.conftest import Edge, connect, modern_body, modern_headers, running

pytestmark = pytest.mark.anyio

LOG_LEVEL = "io.modelcontextprotocol/logLevel"


def events(text: str) -> list[Any]:
    """The JSON of each server-sent event, as the WHATWG algorithm reads them."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    found = []
    for block in blocks:
        lines = block.split("\n")
        assert lines[0] == "event: message"
        assert all(line.startswith("data: ") for line in lines[1:])
        found.append(decode("\n".join(line.removeprefix("data: ") for line in lines[1:])))
    return found


def call(tool: str, meta: dict[str, Any] | None = None) -> dict[str, Any]:
    body = modern_body("tools/call", meta=meta, name="execute", arguments={"name": tool, "arguments": {}})
    return {"url": "/mcp", "json": body, "headers": modern_headers("tools/call", "execute")}


async def read_until(lines: AsyncIterator[str], text: str) -> list[str]:
    seen = []
    async for line in lines:
        seen.append(line)
        if text in line:
            return seen
    pytest.fail(f"the stream ended before {text!r}: {seen}")


def test_a_line_break_between_json_tokens_does_not_end_an_event() -> None:
    framed = frame(b'{"a":\n1,\r\n"b":\r2}')
    assert framed == b'event: message\ndata: {"a":\ndata: 1,\ndata: "b":\ndata: 2}\n\n'


async def test_progress_arrives_in_order_before_the_result_and_under_the_clients_token(edge: Edge) -> None:
    edge.gateway.release.set()
    answer = await edge.http.post(**call("demo__events", {"progressToken": "mine"}))
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["x-accel-buffering"] == "no"
    first, second, final = events(answer.text)
    assert first["params"] == {"progressToken": "mine", "progress": 1, "message": "step\n1"}
    assert second["params"]["progress"] == 2
    assert (final["id"], final["result"]["resultType"]) == (1, "complete")


async def test_an_event_is_sent_while_the_call_still_runs(edge: Edge) -> None:
    with anyio.fail_after(5):
        async with edge.http.stream("POST", **call("demo__events", {"progressToken": 7})) as answer:
            lines = answer.aiter_lines()
            await read_until(lines, '"progress":1')
            assert edge.gateway.running == 1
            edge.gateway.release.set()
            await read_until(lines, '"result"')


async def test_without_a_token_there_is_no_progress_and_the_answer_is_json(edge: Edge) -> None:
    edge.gateway.release.set()
    answer = await edge.http.post(**call("demo__events"))
    assert answer.headers["content-type"] == "application/json"
    assert "result" in answer.json()


async def test_a_log_message_reaches_only_a_client_that_asked_for_logs(edge: Edge) -> None:
    edge.gateway.release.set()
    answer = await edge.http.post(**call("demo__events", {LOG_LEVEL: "info"}))
    logged, final = events(answer.text)
    assert logged["method"] == "notifications/message"
    assert "result" in final


async def test_a_legacy_client_gets_progress_on_its_post(edge: Edge) -> None:
    edge.gateway.release.set()
    arguments = {"name": "demo__events", "arguments": {}}
    meta = {"progressToken": 0}
    answer = await edge.legacy(
        await edge.session(), "tools/call", name="execute", arguments=arguments, _meta=meta
    )
    first, logged, _, final = events(answer.text)
    assert first["params"]["progressToken"] == 0
    assert logged["method"] == "notifications/message"
    assert "resultType" not in final["result"]


async def test_a_cancelled_legacy_stream_ends_without_an_answer(edge: Edge) -> None:
    headers = await edge.session()
    arguments = {"name": "demo__events", "arguments": {}}
    params = {"name": "execute", "arguments": arguments, "_meta": {"progressToken": 1}}
    body = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}
    with anyio.fail_after(5):
        async with edge.http.stream("POST", "/mcp", json=body, headers=headers) as answer:
            await edge.gateway.started.wait()
            await edge.notify(headers, "notifications/cancelled", requestId=5)
            assert len(events((await answer.aread()).decode())) == 3
    assert edge.gateway.cancelled


async def test_an_error_after_events_is_the_last_event(edge: Edge) -> None:
    answer = await edge.http.post(**call("demo__breaks", {"progressToken": 1}))
    first, last = events(answer.text)
    assert (answer.status_code, first["method"]) == (200, "notifications/progress")
    assert (last["id"], last["error"]["code"]) == (1, -31012)


async def test_a_flood_of_progress_is_cut_and_the_result_still_arrives(edge: Edge) -> None:
    answer = await edge.http.post(**call("demo__flood", {"progressToken": 1}))
    found = events(answer.text)
    steps = [event["params"]["progress"] for event in found[:-1]]
    assert len(steps) == QUEUE_MAX
    assert steps == sorted(steps)
    assert "result" in found[-1]


async def test_a_silent_stream_gives_signs_of_life() -> None:
    with anyio.fail_after(5):
        async with (
            running(keepalive=0.02) as edge,
            edge.http.stream("POST", **call("demo__events", {"progressToken": 1})) as answer,
        ):
            lines = answer.aiter_lines()
            await read_until(lines, ": keep-alive")
            await read_until(lines, ": keep-alive")
            edge.gateway.release.set()
            await read_until(lines, '"result"')


@pytest.mark.parametrize("tool", ["demo__slow", "demo__events"])
async def test_a_modern_client_that_hangs_up_has_cancelled(edge: Edge, tool: str) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:

            async def hang_up() -> None:
                await edge.gateway.started.wait()
                group.cancel_scope.cancel()

            group.start_soon(hang_up)
            async with connect(edge.url) as leaving:
                await leaving.post(**call(tool, {"progressToken": 1}))
        await edge.gateway.ended.wait()
    assert edge.gateway.cancelled


async def test_a_legacy_client_that_hangs_up_has_not_cancelled(edge: Edge) -> None:
    headers = await edge.session()
    params = {"name": "execute", "arguments": {"name": "demo__slow", "arguments": {}}}
    body = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:

            async def hang_up() -> None:
                await edge.gateway.started.wait()
                group.cancel_scope.cancel()

            group.start_soon(hang_up)
            async with connect(edge.url) as leaving:
                await leaving.post("/mcp", json=body, headers=headers)
        assert (await edge.legacy(headers, "ping")).status_code == 200
        assert (edge.gateway.running, len(edge.flights)) == (1, 1)
        edge.gateway.release.set()
        await edge.gateway.ended.wait()
    assert not edge.gateway.cancelled


async def test_of_news_about_the_same_a_slow_client_gets_the_newest() -> None:
    sent: list[bytes] = []
    stuck = asyncio.Event()

    async def send(message: MutableMapping[str, Any]) -> None:
        await stuck.wait()
        sent.append(message.get("body", b""))

    answer = Answer(send)
    hint = answer.open()
    await asyncio.sleep(0)
    hint(b'"other"', "y")
    for number in range(10_000):
        hint(b"%d" % number, "x")
    answer.event(b'"event"')
    stuck.set()
    with anyio.fail_after(5):
        while b'"event"' not in b"".join(sent):
            await asyncio.sleep(0)
        hint(b'"later"', "x")
        await answer.finish(b'"final"')
    assert answer.dropped == 0
    found = [line for line in b"".join(sent).splitlines() if line.startswith(b"data: ")]
    assert found == [b'data: "other"', b"data: 9999", b'data: "event"', b'data: "later"', b'data: "final"']


async def test_news_that_find_no_room_are_dropped_and_leave_nothing_behind() -> None:
    async def send(message: MutableMapping[str, Any]) -> None:
        await asyncio.Event().wait()

    answer = Answer(send)
    hint = answer.open()
    for number in range(QUEUE_MAX + 5):
        hint(b"%d" % number, f"x:{number}")
    assert answer.dropped == 5
    hint(b"again", f"x:{QUEUE_MAX + 1}")
    hint(b"again", "x:0")
    assert answer.dropped == 6
    await answer.close()
    hint(b"late", "x:1")


async def test_a_client_that_does_not_read_is_given_up() -> None:
    stuck = asyncio.Event()

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await stuck.wait()

    answer = Answer(send, timeout=0.01)
    with anyio.fail_after(5):
        answer.event(b"{}")
        with pytest.raises(ClientGone):
            await answer.finish(b"{}")
        await answer.close()
