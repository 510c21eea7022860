"""Questions of modern servers, brought to legacy clients on the stream of the call that raised them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import anyio
import httpx
import pytest
from msgspec import Raw

from libs.common.codec import raw
from libs.common.errors import InvalidRequest, ResultInvalid
from libs.common.messages.calls import CallServer, Client
from services.edge import rounds
from services.edge.questions import Questions, Reply, addressed
from tests.services.edge.conftest import LEGACY, Edge

pytestmark = pytest.mark.anyio

PATH = "/mcp/demo"
ALL: dict[str, Any] = {"elicitation": {}, "roots": {}}
CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "asks"}}


async def start(edge: Edge, capabilities: dict[str, Any]) -> dict[str, str]:
    params = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "t"}}
    body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    answer = await edge.http.post(PATH, json=body, headers=LEGACY)
    return {**LEGACY, "mcp-session-id": answer.headers["mcp-session-id"]}


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def test_a_legacy_client_is_asked_on_its_call_and_gets_the_final_result(edge: Edge) -> None:
    headers = await start(edge, ALL)
    told = {"elicitation/create": {"action": "accept", "content": {}}, "roots/list": {"roots": []}}
    with anyio.fail_after(10):
        async with edge.http.stream("POST", PATH, json=CALL, headers=headers) as answer:
            last: dict[str, Any] = {}
            async for last in events(answer):
                if "method" in last:
                    reply = {"jsonrpc": "2.0", "id": last["id"], "result": told[last["method"]]}
                    posted = await edge.http.post(PATH, json=reply, headers=headers)
                    assert posted.status_code == 202
    assert last["id"] == 7
    assert json.loads(last["result"]["content"][0]["text"]) == {
        "who": told["elicitation/create"],
        "where": told["roots/list"],
    }
    assert "resultType" not in last["result"]


async def test_a_foreign_session_cannot_answer_a_question(edge: Edge) -> None:
    headers, foreign = await start(edge, ALL), await start(edge, ALL)
    with anyio.fail_after(10):
        async with edge.http.stream("POST", PATH, json=CALL, headers=headers) as answer:
            stream = events(answer)
            question = await anext(stream)
            reply = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}
            assert (await edge.http.post(PATH, json=reply, headers=foreign)).status_code == 202
            refusal = {"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no"}}
            await edge.http.post(PATH, json=refusal, headers=headers)
            last = [event async for event in stream][-1]
    assert last["error"]["code"] == -32600
    assert "the client refused" in last["error"]["message"]


async def test_a_client_that_offers_nothing_is_not_asked(edge: Edge) -> None:
    headers = await start(edge, {})
    answer = await edge.http.post(PATH, json=CALL, headers=headers)
    assert "does not offer" in answer.json()["error"]["message"]


async def test_an_answer_to_a_question_of_another_replica_is_sent_there(edge: Edge) -> None:
    headers = await start(edge, ALL)
    reply = {"jsonrpc": "2.0", "id": "otherreplica.0123abcd", "result": {"action": "accept"}}
    await edge.http.post(PATH, json=reply, headers=headers)
    [(replica, sent)] = edge.gateway.replies
    assert (replica, sent.token, bytes(sent.result)) == ("otherreplica", "0123abcd", b'{"action":"accept"}')


async def test_a_log_level_is_remembered_and_asked_of_modern_servers(edge: Edge) -> None:
    headers = await start(edge, ALL)
    assert (await edge.legacy(headers, "logging/setLevel", PATH, level="error")).json()["result"] == {}
    assert (await edge.legacy(headers, "logging/setLevel", PATH, level="loud")).status_code == 200
    await edge.legacy(headers, "resources/read", PATH, uri="x:y")
    sent = edge.gateway.seen[-1]
    assert isinstance(sent, CallServer)
    assert b'"io.modelcontextprotocol/logLevel":"error"' in bytes(sent.params)


@pytest.mark.parametrize("odd", [1, None, "", "plain", "a.", ".b", "a.b.c", "a/b.c", "é.b", "x" * 70 + ".y"])
def test_only_ids_of_questions_are_addresses(odd: object) -> None:
    assert addressed(odd) is None


async def hold(_: object, answers: Coroutine[Any, Any, rounds.Answers]) -> rounds.Answers:
    return await answers


async def test_a_server_that_never_comes_to_an_end_is_cut_off() -> None:
    rounds_seen: list[dict[str, Any]] = []

    async def again(more: dict[str, Any]) -> Raw:
        rounds_seen.append(more)
        return more_input

    async def ask(method: str, params: Raw) -> Reply:
        return Reply(raw({"action": "accept"}))

    question = {"q": {"method": "elicitation/create", "params": {}}}
    more_input = raw({"resultType": "input_required", "inputRequests": question})
    client = Client("2025-11-25", raw(ALL))
    with pytest.raises(ResultInvalid, match="did not come to an end"):
        await rounds.complete(more_input, client, ask, again, hold)
    assert len(rounds_seen) == rounds.ROUNDS_MAX


async def test_a_client_that_knows_no_urls_declines_them() -> None:
    async def again(more: dict[str, Any]) -> Raw:
        assert bytes(more["inputResponses"]["q"]) == b'{"action":"decline"}'
        return raw({"done": True})

    async def ask(method: str, params: Raw) -> Reply:
        raise InvalidRequest("must not be asked")

    url = {"mode": "url", "url": "https://x.example", "message": "go", "elicitationId": "1"}
    question = {"q": {"method": "elicitation/create", "params": url}}
    first = raw({"resultType": "input_required", "inputRequests": question})
    result = await rounds.complete(first, Client("2025-06-18", raw(ALL)), ask, again, hold)
    assert bytes(result) == b'{"done":true}'


async def test_a_question_is_settled_once_and_forgotten() -> None:
    questions = Questions("r1")
    asked: list[bytes] = []

    async def settle() -> None:
        while not asked:
            await anyio.lowlevel.checkpoint()
        found = addressed(json.loads(asked[0])["id"])
        assert found is not None
        assert not questions.settle("s2", found[1], Reply())
        assert questions.settle("s1", found[1], Reply(raw(1)))
        assert not questions.settle("s1", found[1], Reply(raw(2)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(settle)
        reply = await questions.ask("s1", "roots/list", raw({}), asked.append)
    assert bytes(reply.result) == b"1"
    assert len(questions) == 0
