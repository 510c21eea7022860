"""Where a held call is, sealed into `requestState`: who may use it, where, and for how long."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from msgspec import Raw

from libs.common.codec import decode, encode, raw
from libs.common.errors import BusUnavailable, InvalidParams, NexusError, ServerUnavailable, WorkerLost
from libs.common.identity import Principal
from libs.common.messages.calls import CallServer, ExecuteTool, HoldCall
from libs.common.seal import Keyring
from services.edge import parked as module
from services.edge import vigil
from services.edge.parked import PREFIX, Parked
from tests.services.edge.conftest import KEY, Edge, modern_body, modern_headers
from tests.services.edge.test_questions import ALL, events, start

pytestmark = pytest.mark.anyio

ALICE, BOB = Principal("alice"), Principal("bob")
PATH = "/mcp/demo"
WORKER = "the-worker-that-holds-the-call"
HELD: dict[str, Any] = {
    "resultType": "input_required",
    "requestState": "s",
    "_meta": {"nexus/worker": WORKER},
}
NOT_VALID = "requestState is not valid here"


@pytest.fixture
def parked() -> Parked:
    return Parked(Keyring([KEY]))


def issue(parked: Parked, result: Any = HELD, principal: Principal = ALICE) -> Any:
    return decode(parked.issue(raw(result), principal, PATH))


def test_a_held_call_is_found_again_and_its_place_is_not_told(parked: Parked) -> None:
    issued = issue(parked, {**HELD, "_meta": {"nexus/worker": WORKER, "a": 1}})
    assert issued["_meta"] == {"a": 1}
    assert "_meta" not in issue(parked)
    assert issued["requestState"].startswith(PREFIX)
    assert WORKER not in encode(issued).decode()
    worker, params = parked.redeem({**issued, "name": "x"}, ALICE, PATH)
    assert (worker, decode(raw(params["requestState"])), params["name"]) == (WORKER, "s", "x")


def test_a_legacy_round_brings_the_state_raw(parked: Parked) -> None:
    state = raw(issue(parked)["requestState"])
    assert parked.redeem({"requestState": state}, ALICE, PATH)[0] == WORKER


@pytest.mark.parametrize("state", ["server-1", "", None, 7, {"a": 1}, "NXS1.x", Raw(b'"server-2"')])
def test_any_other_state_passes_as_it_is(parked: Parked, state: object) -> None:
    params = {"requestState": state}
    assert parked.redeem(params, ALICE, PATH) == ("", params)
    assert parked.redeem({}, ALICE, PATH) == ("", {})


@pytest.mark.parametrize(
    "result",
    [
        {"content": []},
        {"resultType": "input_required", "requestState": "s"},
        {**HELD, "resultType": "complete"},
        {**HELD, "_meta": {"nexus/worker": "not an id"}},
        {**HELD, "_meta": {"nexus/worker": 7}},
        {**HELD, "_meta": ["nexus/worker"]},
        ["nexus/worker"],
    ],
)
def test_any_other_result_passes_as_it_is(parked: Parked, result: object) -> None:
    before = raw(result)
    assert parked.issue(before, ALICE, PATH) is before


def test_a_forged_a_foreign_and_an_old_state_are_refused_alike(
    parked: Parked, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = issue(parked)["requestState"]
    elsewhere = issue(Parked(Keyring([bytes(32)])))["requestState"]
    monkeypatch.setattr(module, "LIFE", -1)
    old = issue(parked)["requestState"]
    refused = [(state, BOB, PATH), (state, ALICE, "/mcp"), (state[:-1], ALICE, PATH), (PREFIX, ALICE, PATH)]
    for wrong, principal, route in [*refused, (elsewhere, ALICE, PATH), (old, ALICE, PATH)]:
        with pytest.raises(InvalidParams) as caught:
            parked.redeem({"requestState": wrong}, principal, route)
        assert caught.value.message == NOT_VALID
    assert parked.redeem({"requestState": state}, ALICE, PATH)[0] == WORKER


@pytest.mark.parametrize("path", ["/mcp", PATH])
async def test_the_answer_of_a_modern_client_goes_to_who_holds_its_call(edge: Edge, path: str) -> None:
    target: dict[str, Any] = {"name": "parks"}
    if path == "/mcp":
        target = {"name": "execute", "arguments": {"name": "demo__parks", "arguments": {}}}
    asked = (await edge.modern("tools/call", path, **target)).json()["result"]
    assert "nexus/worker" not in encode(asked).decode()
    more = {"requestState": asked["requestState"], "inputResponses": {"q1": {"action": "accept"}}}
    final = (await edge.modern("tools/call", path, **target, **more)).json()["result"]
    assert json.loads(final["content"][0]["text"]) == {**more, "requestState": "held-1"}
    sent = edge.gateway.seen[-1]
    assert isinstance(sent, CallServer | ExecuteTool)
    assert sent.worker == WORKER


async def test_somebody_else_cannot_answer(edge: Edge) -> None:
    asked = (await edge.modern("tools/call", PATH, name="parks")).json()["result"]
    body = modern_body("tools/call", name="parks", requestState=asked["requestState"])
    headers = modern_headers("tools/call", "parks", **{"x-test-user": "mallory"})
    calls = len(edge.gateway.seen)
    error = (await edge.http.post(PATH, json=body, headers=headers)).json()["error"]
    assert (error["code"], error["message"]) == (-32602, NOT_VALID)
    assert len(edge.gateway.seen) == calls


CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "parks"}}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "EVERY", 0.01)


async def asked(edge: Edge, *replies: dict[str, Any]) -> dict[str, Any]:
    """The last message to a client with a session that gives these replies to what it is asked."""
    headers = await start(edge, ALL)
    last: dict[str, Any] = {}
    left = list(replies)
    with anyio.fail_after(10):
        async with edge.http.stream("POST", PATH, json=CALL, headers=headers) as answer:
            async for last in events(answer):
                if "method" in last and left:
                    reply = {"jsonrpc": "2.0", "id": last["id"], **left.pop(0)}
                    await edge.http.post(PATH, json=reply, headers=headers)
    return last


def ends(edge: Edge) -> list[HoldCall]:
    """What was said to whoever holds the call, of its end."""
    return [sent for sent in edge.gateway.seen if isinstance(sent, HoldCall) and sent.end]


async def until_ended(edge: Edge) -> HoldCall:
    with anyio.fail_after(5):
        while not ends(edge):
            await anyio.sleep(0.01)
    (end,) = ends(edge)
    return end


async def test_a_legacy_client_is_asked_for_a_held_call_too(edge: Edge) -> None:
    last = await asked(edge, {"result": {"action": "cancel"}})
    told = json.loads(last["result"]["content"][0]["text"])
    assert told == {"requestState": "held-1", "inputResponses": {"q1": {"action": "cancel"}}}
    assert not ends(edge)


async def test_the_error_of_a_legacy_client_reaches_the_server_that_asked(edge: Edge) -> None:
    error = {"code": -1, "message": "User rejected"}
    last = await asked(edge, {"error": error})
    told = json.loads(last["result"]["content"][0]["text"])
    assert told["inputResponses"] == {"q1": {"nexus/refused": error}}


@pytest.mark.parametrize("leave", ["cancel", "hang up"])
async def test_a_held_call_is_ended_when_its_legacy_client_leaves(edge: Edge, leave: str) -> None:
    headers = await start(edge, ALL)
    with anyio.fail_after(10):
        async with edge.http.stream("POST", PATH, json=CALL, headers=headers) as answer:
            stream = events(answer)
            await anext(stream)
            if leave == "cancel":
                await edge.notify(headers, "notifications/cancelled", PATH, requestId=7)
                assert [event async for event in stream] == []
    end = await until_ended(edge)
    assert (end.worker, decode(end.state), end.principal) == (WORKER, "held-1", Principal())


@pytest.mark.usefixtures("quick")
async def test_a_legacy_client_hears_at_once_that_its_held_call_is_lost(edge: Edge) -> None:
    edge.gateway.holds = WorkerLost("gone")
    error = (await asked(edge))["error"]
    assert (error["code"], error["data"]) == (WorkerLost.code, {"executed": "unknown"})


@pytest.mark.usefixtures("quick")
async def test_a_call_that_went_on_without_an_answer_gives_its_result(edge: Edge) -> None:
    edge.gateway.holds = Raw(b'{"over":true}')
    told = json.loads((await asked(edge))["result"]["content"][0]["text"])
    assert told["inputResponses"] == {}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [BusUnavailable("away"), ServerUnavailable("nobody was there")])
async def test_nothing_is_lost_while_the_worker_cannot_be_asked(edge: Edge, error: NexusError) -> None:
    edge.gateway.holds = error
    headers = await start(edge, ALL)
    with anyio.fail_after(10):
        async with edge.http.stream("POST", PATH, json=CALL, headers=headers) as answer:
            stream = events(answer)
            question = await anext(stream)
            for _ in range(5):
                edge.gateway.held.clear()
                await edge.gateway.held.wait()
            reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}
            await edge.http.post(PATH, json=reply, headers=headers)
            last = [event async for event in stream][-1]
    assert "result" in last
