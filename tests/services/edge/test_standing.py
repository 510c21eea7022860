"""What a server tells outside of any call: the GET stream of legacy clients, listening of modern ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import httpx
import pytest
from msgspec import Raw

from services.edge.standing import Standing
from tests.services.edge.conftest import Edge, modern_body, modern_headers, running

pytestmark = pytest.mark.anyio

PATH = "/mcp/demo"
EVENTS = {"accept": "text/event-stream"}


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def until(edge: Edge, filters: int) -> None:
    with anyio.fail_after(10):
        while len(edge.gateway.filters) < filters:
            await anyio.sleep(0.01)


async def test_a_get_stream_tells_what_changed_without_tags_or_acknowledgement(edge: Edge) -> None:
    headers = await edge.session(PATH)
    with anyio.fail_after(10):
        async with edge.http.stream("GET", PATH, headers={**headers, **EVENTS}) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream"
            first = await anext(events(answer))
    assert first == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {}}


async def test_following_a_resource_changes_what_is_listened_to(edge: Edge) -> None:
    headers = await edge.session(PATH)
    with anyio.fail_after(20):
        async with edge.http.stream("GET", PATH, headers={**headers, **EVENTS}):
            await until(edge, 1)
            followed = await edge.legacy(headers, "resources/subscribe", PATH, uri="x:1")
            assert followed.json()["result"] == {}
            await until(edge, 2)
            await edge.legacy(headers, "resources/unsubscribe", PATH, uri="x:1")
            await until(edge, 3)
    assert [each.get("resourceSubscriptions") for each in edge.gateway.filters] == [None, ["x:1"], None]


async def test_hanging_up_ends_the_listening_and_frees_the_session(edge: Edge) -> None:
    headers = await edge.session(PATH)
    for number in (1, 2):
        async with edge.http.stream("GET", PATH, headers={**headers, **EVENTS}):
            await until(edge, number)
        with anyio.fail_after(10):
            while edge.gateway.running:
                await anyio.sleep(0.01)
    assert edge.gateway.cancelled


async def test_a_second_stream_of_one_session_is_refused(edge: Edge) -> None:
    headers = {**await edge.session(PATH), **EVENTS}
    async with edge.http.stream("GET", PATH, headers=headers):
        await until(edge, 1)
        async with edge.http.stream("GET", PATH, headers=headers) as second:
            body = "".join([line async for line in second.aiter_lines()])
    assert "has a stream already" in body


async def test_a_stream_needs_a_session_and_the_right_accept(edge: Edge) -> None:
    headers = await edge.session(PATH)
    assert (await edge.http.get(PATH, headers={**headers, "accept": "application/json"})).status_code == 406
    assert (await edge.http.get(PATH, headers=EVENTS)).status_code == 400


@pytest.mark.parametrize("uri", [None, "", 5, "x" * 3000])
async def test_an_odd_uri_is_not_followed(edge: Edge, uri: object) -> None:
    headers = await edge.session(PATH)
    answer = await edge.legacy(headers, "resources/subscribe", PATH, uri=uri)
    assert answer.json()["error"]["code"] == -32602


async def test_a_modern_listener_hears_events_tagged_with_its_own_id(edge: Edge) -> None:
    body = modern_body("subscriptions/listen", notifications={"toolsListChanged": True})
    headers = modern_headers("subscriptions/listen", None)
    heard: list[dict[str, Any]] = []
    with anyio.fail_after(10):
        async with edge.http.stream("POST", PATH, json=body, headers=headers) as answer:
            async for event in events(answer):
                heard.append(event)
                if event.get("method") == "notifications/tools/list_changed":
                    edge.gateway.release.set()
    tag = "io.modelcontextprotocol/subscriptionId"
    assert [each["params"]["_meta"][tag] for each in heard[:2]] == [body["id"]] * 2
    assert heard[-1]["result"]["_meta"][tag] == body["id"]


async def test_a_client_that_begins_anew_ends_its_stream_that_lingers() -> None:
    standing, listened, ended = Standing(), asyncio.Event(), asyncio.Event()

    async def listen(wanted: dict[str, Any], hear: Callable[[Raw], None]) -> Raw:
        listened.set()
        await asyncio.Event().wait()
        return Raw(b"{}")

    work = asyncio.create_task(standing.serve("s", lambda: (), listen, lambda message, about: None))
    with anyio.fail_after(5):
        await listened.wait()
        standing.linger(work, ended.set)
        with standing.attached("s"):
            await ended.wait()
    assert len(standing) == 0


async def test_a_stream_ends_when_its_time_is_over_and_may_begin_again() -> None:
    async with running(listen_ttl=0.2) as edge:
        headers = {**await edge.session(PATH), **EVENTS}
        with anyio.fail_after(10):
            for _ in range(2):
                async with edge.http.stream("GET", PATH, headers=headers) as answer:
                    assert answer.status_code == 200
                    await answer.aread()


async def test_a_session_cannot_fill_the_memory_of_every_edge(edge: Edge) -> None:
    headers = await edge.session(PATH)
    long = "x:" + "a" * 2000
    answers = [
        (await edge.legacy(headers, "resources/subscribe", PATH, uri=f"{long}{number}")).json()
        for number in range(9)
    ]
    assert ["result" in answer for answer in answers] == [True] * 8 + [False]
    assert answers[-1]["error"]["code"] == -32602
    gone = await edge.legacy(headers, "resources/unsubscribe", PATH, uri=f"{long}0")
    assert gone.json()["result"] == {}
