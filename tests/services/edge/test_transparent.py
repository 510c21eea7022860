from __future__ import annotations

import pytest
from msgspec import Raw

from libs.common.codec import decode, raw
from libs.common.messages.calls import CallServer, NotifyServer
from libs.common.messages.catalog import Listing
from libs.common.policy import Policy
from tests.services.edge.conftest import Edge, modern_headers, running

pytestmark = pytest.mark.anyio

PATH = "/mcp/demo"
CAPABILITIES = {
    "tools": {"listChanged": True, "x-kept": 1},
    "resources": {"subscribe": True},
    "logging": {},
}


async def test_discover_shows_the_server_behind_the_path(edge: Edge) -> None:
    result = (await edge.modern("server/discover", PATH)).json()["result"]
    assert result["capabilities"] == CAPABILITIES
    assert result["instructions"] == "Ask nicely."
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"] == {"name": "demo-server", "version": "9.9"}
    assert edge.gateway.seen == []


async def test_initialize_shows_the_server_behind_the_path(edge: Edge) -> None:
    result = (await edge.initialize(PATH)).json()["result"]
    assert result["serverInfo"] == {"name": "demo-server", "version": "9.9"}
    assert result["capabilities"] == CAPABILITIES


async def test_a_request_goes_through_with_its_own_names(edge: Edge) -> None:
    answer = await edge.modern("tools/call", PATH, name="echo", arguments={"a": 1}, extra=[None])
    assert answer.json()["result"]["content"][0]["text"] == "demo__echo {'a': 1}"
    (call,) = edge.gateway.seen
    assert isinstance(call, CallServer)
    assert (call.server, call.method) == ("demo", "tools/call")
    assert decode(call.params) == {"name": "echo", "arguments": {"a": 1}, "extra": [None]}


async def test_a_method_nobody_here_knows_goes_through(edge: Edge) -> None:
    answer = await edge.modern("com.example/strange", PATH, deep={"a": [1.5]})
    assert answer.json()["result"]["params"] == {"deep": {"a": [1.5]}}
    legacy = await edge.legacy(await edge.session(PATH), "com.example/strange", PATH, b=2)
    assert legacy.json()["result"] == {"method": "com.example/strange", "params": {"b": 2}}


@pytest.mark.parametrize(
    ("said", "personal", "scope"),
    [
        ("public", False, "public"),
        ("public", True, "private"),
        ("private", False, "private"),
        ("odd", False, "private"),
    ],
)
async def test_what_is_public_is_so_unless_answers_depend_on_who_asks(
    said: str, personal: bool, scope: str
) -> None:
    async with running(policy=Policy(closed=personal)) as edge:
        edge.gateway.results["resources/read"] = raw({"contents": [], "ttlMs": 7, "cacheScope": said})
        result = (await edge.modern("resources/read", PATH, uri="a:b")).json()["result"]
    assert (result["ttlMs"], result["cacheScope"]) == (7, scope)


async def test_a_list_goes_through_with_unknown_members_and_gets_hints(edge: Edge) -> None:
    result = (await edge.modern("tools/list", PATH)).json()["result"]
    assert [tool["name"] for tool in result["tools"]] == ["echo", "slow"]
    assert (result["x-unknown"], result["ttlMs"], result["cacheScope"]) == (1, 0, "private")


@pytest.mark.parametrize("method", ["logging/setLevel", "resources/subscribe", "resources/unsubscribe"])
async def test_a_method_that_would_change_the_shared_session_is_not_offered(edge: Edge, method: str) -> None:
    answer = await edge.modern(method, PATH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)
    assert edge.gateway.seen == []


async def test_a_notification_of_a_session_goes_through(edge: Edge) -> None:
    headers = await edge.session(PATH)
    passed = ["notifications/roots/list_changed", "notifications/com.example/odd"]
    for method in ("notifications/initialized", "notifications/progress", *passed):
        assert (await edge.notify(headers, method, PATH, a=1)).status_code == 202
    noted = [each for each in edge.gateway.seen if isinstance(each, NotifyServer)]
    assert [(each.method, decode(each.params)) for each in noted] == [(each, {"a": 1}) for each in passed]
    assert len(edge.gateway.seen) == 2


async def test_a_request_without_an_id_reaches_no_server(edge: Edge) -> None:
    headers = await edge.session(PATH)
    assert (await edge.notify(headers, "tools/call", PATH, name="delete_all")).status_code == 202
    assert edge.gateway.seen == []


@pytest.mark.parametrize("name", [["delete_all"], {"name": "delete_all"}, None, 7])
async def test_a_tool_is_called_by_a_name_and_nothing_else(edge: Edge, name: object) -> None:
    answer = await edge.legacy(await edge.session(PATH), "tools/call", PATH, name=name, arguments={})
    assert answer.json()["error"]["code"] == -32602
    assert edge.gateway.seen == []


@pytest.mark.parametrize("method", ["notifications/roots/list_changed", "notifications/com.example/odd"])
async def test_a_notification_without_a_session_is_taken_and_goes_nowhere(edge: Edge, method: str) -> None:
    body = {"jsonrpc": "2.0", "method": method}
    answer = await edge.http.post(PATH, json=body, headers=modern_headers(method))
    assert (answer.status_code, answer.content) == (202, b"")
    assert edge.gateway.seen == []


@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen"])
async def test_a_method_of_2026_07_28_is_unknown_in_a_session(edge: Edge, method: str) -> None:
    answer = await edge.legacy(await edge.session(PATH), method, PATH, notifications={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32601)
    assert edge.gateway.seen == []


@pytest.mark.parametrize("method", ["ping", "initialize"])
async def test_a_method_of_sessions_is_unknown_without_one(edge: Edge, method: str) -> None:
    answer = await edge.modern(method, PATH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)
    assert edge.gateway.seen == []


@pytest.mark.parametrize("server", ["nobody", "a.b", "a__b", "*", "%3E", "x" * 100, "%00"])
async def test_an_unknown_server_is_404_in_both_eras(edge: Edge, server: str) -> None:
    path = f"/mcp/{server}"
    for answer in (
        await edge.modern("server/discover", path),
        await edge.modern("tools/list", path),
        await edge.initialize(path),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, -31001)
    assert edge.gateway.seen == []


async def test_a_server_that_is_not_ready_says_why(edge: Edge) -> None:
    for answer in (await edge.modern("server/discover", "/mcp/late"), await edge.initialize("/mcp/late")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, -31002)
        assert "it exited with 3" in answer.json()["error"]["message"]


async def test_a_server_that_says_nothing_of_itself_is_shown_by_its_configured_name(edge: Edge) -> None:
    edge.catalog.listings["late"] = Listing("late", "1", capabilities=Raw(b'{"tools": 7, "prompts": {}}'))
    result = (await edge.initialize("/mcp/late")).json()["result"]
    assert result["serverInfo"] == {"name": "late", "version": ""}
    assert result["capabilities"] == {"tools": {}, "prompts": {}}
    assert "instructions" not in result
    listed = (await edge.modern("prompts/list", "/mcp/late")).json()["result"]
    assert "_meta" not in listed


async def test_capabilities_that_are_no_object_promise_nothing(edge: Edge) -> None:
    edge.catalog.listings["late"] = Listing("late", "1", capabilities=Raw(b"null"))
    assert (await edge.modern("server/discover", "/mcp/late")).json()["result"]["capabilities"] == {}


@pytest.mark.parametrize(
    "result",
    [
        b"[]",
        b'["task"]',
        b'{"\xff":1}',
        b'{"\xff":"task"}',
        b'{"resultType":"input_required","inputRequests":{"\xff":{}}}',
    ],
)
@pytest.mark.parametrize("method", ["tools/list", "resources/read", "com.example/strange"])
async def test_what_is_no_result_is_told_as_that(edge: Edge, method: str, result: bytes) -> None:
    edge.gateway.results[method] = Raw(result)
    modern = await edge.modern(method, PATH, uri="x:y", name="x")
    legacy = await edge.legacy(await edge.session(PATH), method, PATH, uri="x:y")
    for answer in (modern, legacy):
        assert answer.status_code != 500, answer.text
        assert b"-32603" not in answer.content
