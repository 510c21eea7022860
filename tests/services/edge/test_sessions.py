from __future__ import annotations

from typing import Any

import httpx
import pytest

from libs.common.seal import Keyring
from tests.services.edge.conftest import KEY, LEGACY, Edge, running

pytestmark = pytest.mark.anyio

UNKNOWN = "there is no such session: send initialize to start one"


def check_unknown(answer: httpx.Response) -> None:
    """The same status and words for every reason."""
    assert answer.status_code == 404
    assert answer.json()["error"] == {"code": -32600, "message": UNKNOWN, "data": {"executed": "no"}}


async def test_a_session_serves_its_own_principal_on_its_own_path(edge: Edge) -> None:
    answer = await edge.legacy(await edge.session(user="alice"), "tools/list")
    assert answer.status_code == 200


async def test_a_second_principal_gets_404_for_a_foreign_session(edge: Edge) -> None:
    headers = await edge.session(user="alice")
    check_unknown(await edge.legacy({**headers, "x-test-user": "mallory"}, "tools/list"))
    foreign = await edge.http.delete("/mcp", headers={**headers, "x-test-user": "mallory"})
    assert foreign.status_code == 404
    assert (await edge.legacy(headers, "ping")).status_code == 200


async def test_a_session_is_unknown_on_another_path(edge: Edge) -> None:
    check_unknown(await edge.legacy(await edge.session("/mcp"), "ping", "/mcp/demo"))
    check_unknown(await edge.legacy(await edge.session("/mcp/demo"), "ping", "/mcp"))


@pytest.mark.parametrize("token", ["x", "A" * 200, "0" * 10_000, "../../etc", "1234567890abcdef" * 2])
async def test_an_invented_session_is_unknown(edge: Edge, token: str) -> None:
    check_unknown(await edge.legacy({**LEGACY, "mcp-session-id": token}, "ping"))


async def test_a_changed_session_is_unknown(edge: Edge) -> None:
    headers = await edge.session()
    token = headers["mcp-session-id"]
    middle = len(token) // 2
    changed = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    check_unknown(await edge.legacy({**headers, "mcp-session-id": changed}, "ping"))


@pytest.mark.parametrize("verb", ["POST", "DELETE"])
async def test_a_missing_session_is_400_even_if_there_is_exactly_one(edge: Edge, verb: str) -> None:
    await edge.session()
    body: Any = {"jsonrpc": "2.0", "id": 1, "method": "ping"} if verb == "POST" else None
    answer = await edge.http.request(verb, "/mcp", json=body, headers=LEGACY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)


async def test_a_session_id_proposed_by_a_client_is_not_taken(edge: Edge) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    answer = await edge.http.post("/mcp", json=body, headers={**LEGACY, "mcp-session-id": "chosen"})
    assert answer.status_code == 200
    assert answer.headers["mcp-session-id"] != "chosen"


async def test_a_deleted_session_is_over(edge: Edge) -> None:
    headers = await edge.session()
    assert (await edge.http.delete("/mcp", headers=headers)).status_code == 204
    check_unknown(await edge.legacy(headers, "ping"))
    assert (await edge.http.delete("/mcp", headers=headers)).status_code == 404
    ((_, ttl),) = edge.catalog.tombs.items()
    assert 86_000 < ttl <= 86_400


async def test_an_expired_session_is_unknown() -> None:
    async with running(session_ttl=0.0) as edge:
        check_unknown(await edge.legacy(await edge.session(), "ping"))


async def test_every_replica_with_the_same_keys_serves_a_session(edge: Edge) -> None:
    headers = await edge.session()
    async with running() as other:
        assert (await other.legacy(headers, "ping")).status_code == 200


async def test_a_session_outlives_the_rotation_of_keys(edge: Edge) -> None:
    headers = await edge.session()
    new = bytes(reversed(KEY))
    async with running(Keyring([new, KEY])) as rotated:
        assert (await rotated.legacy(headers, "ping")).status_code == 200
        fresh = await rotated.session()
    async with running(Keyring([new])) as later:
        assert (await later.legacy(fresh, "ping")).status_code == 200
        check_unknown(await later.legacy(headers, "ping"))
