from __future__ import annotations

import asyncio

import anyio
import httpx
import pytest

from tests.meters import Since
from tests.services.edge.conftest import Edge, running

pytestmark = pytest.mark.anyio

FAMILY = "http.server.request.duration"


async def told(since: Since) -> dict[tuple[str, ...], float]:
    """What was counted, once anything was: an answer is read before the request has ended."""
    with anyio.fail_after(5):
        while not since.told(FAMILY):
            await anyio.sleep(0.01)
    return since.told(FAMILY)


async def test_routes_are_counted_and_never_paths(edge: Edge) -> None:
    since = Since()
    await edge.modern("tools/list", path="/mcp/demo")
    assert await told(since) == {("POST", "/mcp/{server}", "200"): 1}


@pytest.mark.parametrize(
    ("verb", "path", "labels"),
    [
        ("GET", "/nowhere/at/all", ("GET", "unknown", "404")),
        ("PROPFIND", "/nowhere", ("other", "unknown", "404")),
        ("POST", "/mcp", ("POST", "/mcp", "400")),
    ],
)
async def test_what_is_refused_is_counted_too(
    edge: Edge, verb: str, path: str, labels: tuple[str, ...]
) -> None:
    since = Since()
    await edge.http.request(verb, path, json={}, headers={"accept": "application/json, text/event-stream"})
    assert await told(since) == {labels: 1}


async def test_health_is_not_counted(edge: Edge) -> None:
    since = Since()
    for path in ("/health", "/ready"):
        await edge.http.get(path)
    await edge.http.get("/nowhere")
    assert await told(since) == {("GET", "unknown", "404"): 1}


async def test_a_request_lasts_to_the_end_of_its_stream(edge: Edge) -> None:
    since = Since()
    call = asyncio.create_task(edge.execute("demo__events"))
    with anyio.fail_after(5):
        await edge.gateway.started.wait()
        assert since.told(FAMILY) == {}
        edge.gateway.release.set()
        await call
    assert await told(since) == {("POST", "/mcp", "200"): 1}


async def test_a_client_that_leaves_before_there_is_a_status_is_499() -> None:
    async with running() as edge:
        since = Since()
        call = asyncio.create_task(edge.execute("demo__slow"))
        with anyio.fail_after(5):
            await edge.gateway.started.wait()
            call.cancel()
            with pytest.raises((asyncio.CancelledError, httpx.HTTPError)):
                await call
        assert await told(since) == {("POST", "/mcp", "499"): 1}
