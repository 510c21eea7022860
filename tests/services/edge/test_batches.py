"""Several messages in one POST, for the revisions that know them."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from services.edge.era import BATCHING
from services.edge.message import BATCH_MAX
from tests.services.edge.conftest import Edge, modern_body, modern_headers
from tests.services.edge.test_streams import events

pytestmark = pytest.mark.anyio

OLD = "2025-03-26"


def request(number: Any, method: str = "ping", **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def execute(number: Any, tool: str, **meta: Any) -> dict[str, Any]:
    arguments = {"name": tool, "arguments": {}}
    return request(number, "tools/call", name="execute", arguments=arguments, _meta=meta)


async def post(edge: Edge, batch: Any, version: str = OLD) -> httpx.Response:
    headers = await edge.session(protocolVersion=version)
    return await edge.http.post("/mcp", json=batch, headers=headers)


@pytest.mark.parametrize("version", BATCHING)
async def test_each_request_of_a_batch_is_answered_in_one_array(edge: Edge, version: str) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    batch = [request(1), note, execute("b", "demo__echo"), request(3, "no/such")]
    answer = await post(edge, batch, version)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found = {each["id"]: each for each in answer.json()}
    assert set(found) == {1, "b", 3}
    assert found[1]["result"] == {}
    assert found["b"]["result"]["content"][0]["text"] == "demo__echo {}"
    assert found[3]["error"]["code"] == -32601


async def test_requests_of_a_batch_run_side_by_side(edge: Edge) -> None:
    headers = await edge.session(protocolVersion=OLD)
    found: list[httpx.Response] = []

    async def ask() -> None:
        batch = [execute(1, "demo__slow"), execute(2, "demo__slow")]
        found.append(await edge.http.post("/mcp", json=batch, headers=headers))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            while edge.gateway.running < 2:
                await anyio.sleep(0.005)
            edge.gateway.release.set()
    assert {each["id"] for each in found[0].json()} == {1, 2}


async def test_a_batch_with_events_is_answered_as_a_stream_with_every_answer(edge: Edge) -> None:
    edge.gateway.release.set()
    answer = await post(edge, [request(1), execute(2, "demo__events", progressToken="t")])
    assert answer.headers["content-type"] == "text/event-stream"
    found = events(answer.text)
    assert [each["params"]["progress"] for each in found if each.get("method", "").endswith("progress")] == [
        1, 2,
    ]  # fmt: skip
    assert {each["id"] for each in found if "result" in each} == {1, 2}


async def test_a_batch_without_requests_is_taken_in_silence(edge: Edge) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    answer = await post(edge, [note, {"jsonrpc": "2.0", "id": 5, "result": {}}])
    assert (answer.status_code, answer.content) == (202, b"")


async def test_what_cannot_be_read_in_a_batch_is_refused_alone(edge: Edge) -> None:
    answer = await post(edge, [request(1), 7, {"jsonrpc": "1.0", "id": 2, "method": "ping"}, [request(3)]])
    assert answer.status_code == 200
    assert [(each["id"], "error" in each) for each in answer.json()[:3]] == [
        (None, True),
        (2, True),
        (None, True),
    ]
    assert answer.json()[3] == {"jsonrpc": "2.0", "id": 1, "result": {}}


@pytest.mark.parametrize(
    ("batch", "why"),
    [
        ([], "1 to 50"),
        ([request(number) for number in range(BATCH_MAX + 1)], "1 to 50"),
        ([request(1), request(1)], "same id"),
        ([request(1, "initialize", protocolVersion=OLD)], "initialize"),
    ],
)
async def test_a_batch_against_the_rules_is_refused_whole(edge: Edge, batch: Any, why: str) -> None:
    answer = await post(edge, batch)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32600
    assert why in answer.json()["error"]["message"]


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
async def test_later_revisions_refuse_batches(edge: Edge, version: str) -> None:
    answer = await post(edge, [request(1)], version)
    assert answer.status_code == 400
    assert f"revision {version} has no batches" in answer.json()["error"]["message"]


async def test_the_modern_era_refuses_batches(edge: Edge) -> None:
    answer = await edge.http.post(
        "/mcp", json=[modern_body("tools/list")], headers=modern_headers("tools/list")
    )
    assert answer.status_code == 400
    assert "batches are not accepted" in answer.json()["error"]["message"]
    assert (
        await edge.http.post("/mcp", json=[request(1)], headers=modern_headers("ping"))
    ).status_code == 400


async def test_a_batch_needs_a_session(edge: Edge) -> None:
    answer = await edge.http.post(
        "/mcp", json=[request(1)], headers={**await edge.session(), "mcp-session-id": "x"}
    )
    assert answer.status_code == 404
