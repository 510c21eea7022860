"""Sessions are good for their principal and their path only: A6."""

from __future__ import annotations

import secrets

import httpx
import pytest

from libs.common.policy import Policy, Rule, Rules
from tests.services.edge.conftest import BOTH, LEGACY, Edge, running

pytestmark = pytest.mark.anyio

UNKNOWN = {"mcp-session-id": "no-such-session"}


async def each_way(edge: Edge, headers: dict[str, str], path: str) -> list[httpx.Response]:
    ping = {"jsonrpc": "2.0", "id": 9, "method": "tools/list", "params": {}}
    return [
        await edge.http.post(path, json=ping, headers=headers),
        await edge.http.delete(path, headers=headers),
        await edge.http.get(path, headers={**headers, "accept": "text/event-stream"}),
    ]


async def test_a6_the_session_of_another_is_as_unknown_as_none() -> None:
    async with running() as edge:
        stolen = {**await edge.session("/mcp/demo", user="alice"), "x-test-user": "mallory"}
        invented = {**LEGACY, **UNKNOWN, "x-test-user": "mallory"}
        theirs, nobodys = (
            await each_way(edge, stolen, "/mcp/demo"),
            await each_way(edge, invented, "/mcp/demo"),
        )
        assert [each.status_code for each in theirs] == [404, 404, 404]
        assert [each.content for each in theirs] == [each.content for each in nobodys]
        assert edge.gateway.seen == []


async def test_a6_a_session_opens_no_other_path() -> None:
    async with running() as edge:
        for path, other in (("/mcp/demo", "/mcp"), ("/mcp", "/mcp/demo"), ("/mcp/demo", "/mcp/late")):
            session = await edge.session(path) if path != "/mcp/late" else {}
            assert {each.status_code for each in await each_way(edge, session, other)} == {404}
        assert edge.gateway.seen == []


async def test_a6_without_a_session_id_nobody_is_taken_for_the_only_one() -> None:
    async with running() as edge:
        await edge.session("/mcp/demo")
        answer = await edge.legacy(LEGACY, "tools/list", "/mcp/demo")
        assert answer.status_code == 400


async def test_a6_a_client_does_not_choose_its_session() -> None:
    async with running() as edge:
        chosen = secrets.token_hex(16)
        body = {
            "jsonrpc": "2.0",
            "id": 0,
            "method": "initialize",
            "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}},
        }
        answer = await edge.http.post("/mcp", json=body, headers={**LEGACY, "mcp-session-id": chosen})
        assert answer.headers.get("mcp-session-id") != chosen


async def test_a6_a_changed_bit_makes_a_session_unknown() -> None:
    async with running() as edge:
        session = await edge.session("/mcp/demo")
        token = session["mcp-session-id"]
        for place in range(0, len(token), 17):
            other = "A" if token[place] != "A" else "B"
            broken = {**session, "mcp-session-id": token[:place] + other + token[place + 1 :]}
            assert (await edge.legacy(broken, "tools/list", "/mcp/demo")).status_code == 404
        assert edge.gateway.seen == []


async def test_a6_what_is_taken_from_a_caller_ends_within_the_session() -> None:
    rules = Policy({"demo": Rules(Rule(frozenset({"alices"})))})
    async with running(policy=rules) as edge:
        alice = await edge.session("/mcp/demo", user="alice")
        assert (await edge.legacy(alice, "tools/list", "/mcp/demo")).status_code == 200
        # The session stays, its caller is in no group any more.
        assert (await edge.initialize("/mcp/demo", user="bob", accept=BOTH)).status_code == 404
        bob = await edge.session("/mcp", user="bob")
        assert (await edge.legacy(bob, "tools/list", "/mcp/demo")).status_code == 404
