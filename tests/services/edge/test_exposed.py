"""Tools that the aggregate lists beside its own two."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.messages.calls import ExecuteTool
from libs.common.policy import Policy, Rule, Rules
from tests.services.edge.conftest import Edge, running
from tests.services.edge.shelves import server, tool

pytestmark = pytest.mark.anyio

LONG = "x" * 80
FILES = server("files", tools=(tool("write"), tool("read", title="Read", **{"x-odd": 1}), tool(LONG)))
HEADED = tool(
    "near",
    inputSchema={"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
)


async def names(edge: Edge) -> list[str]:
    return [each["name"] for each in (await edge.modern("tools/list")).json()["result"]["tools"]]


async def refusal(edge: Edge, name: str) -> dict[str, Any]:
    answer = await edge.modern("tools/call", name=name, arguments={})
    assert answer.status_code == 400
    error: dict[str, Any] = answer.json()["error"]
    return error


async def test_all_tools_are_listed_by_server_and_name_behind_the_two() -> None:
    async with running(expose="all") as edge:
        edge.catalog.list(FILES)
        listed = await names(edge)
    assert listed[:6] == ["search", "execute", "demo__echo", "demo__slow", "files__read", "files__write"]
    assert listed[6].startswith("files__xxx")
    assert len(listed[6]) == 64


async def test_an_exposed_tool_keeps_the_rest_of_its_definition() -> None:
    async with running(expose="all") as edge:
        edge.catalog.list(FILES)
        tools = (await edge.modern("tools/list")).json()["result"]["tools"]
    (read,) = [each for each in tools if each["name"] == "files__read"]
    assert read == {
        "name": "files__read",
        "description": "read it",
        "inputSchema": {"type": "object"},
        "title": "Read",
        "x-odd": 1,
    }


async def test_a_pinned_tool_is_listed_beside_the_two() -> None:
    async with running(pinned=("files__read", "files__gone", "demo__slow")) as edge:
        assert await names(edge) == ["search", "execute", "demo__slow"]
        edge.catalog.list(FILES)
        assert await names(edge) == ["search", "execute", "demo__slow", "files__read"]


@pytest.mark.parametrize("settings", [{"expose": "all"}, {"pinned": ("demo__echo",)}])
async def test_an_exposed_tool_is_called_by_its_name(settings: dict[str, Any]) -> None:
    async with running(**settings) as edge:
        answer = await edge.modern("tools/call", name="demo__echo", arguments={"a": 1}, more=2)
        (sent,) = edge.gateway.seen
    assert answer.json()["result"]["content"][0]["text"] == "demo__echo {'a': 1}"
    assert isinstance(sent, ExecuteTool)
    assert (sent.name, bytes(sent.params)) == ("demo__echo", b'{"arguments":{"a":1},"more":2}')


async def test_a_tool_that_is_not_listed_is_no_tool_of_the_aggregate() -> None:
    async with running(pinned=("demo__slow",)) as edge:
        assert (await refusal(edge, "demo__echo"))["code"] == -32602
    async with running(expose="all") as edge:
        for name in ("demo__nothing", "nobody__x", "demo", "", "__"):
            assert "unknown tool" in (await refusal(edge, name))["message"]
        assert edge.gateway.seen == []


async def test_a_tool_of_a_server_that_has_not_listed_yet_is_asked_of_it() -> None:
    async with running(expose="all") as edge:
        await edge.modern("tools/call", name="late__any", arguments={})
        (sent,) = edge.gateway.seen
        assert isinstance(sent, ExecuteTool)
    async with running(pinned=("late__one",)) as edge:
        await refusal(edge, "late__any")
        await edge.modern("tools/call", name="late__one", arguments={})
        assert len(edge.gateway.seen) == 1


async def test_names_that_two_tools_share_are_neither(edge: Edge) -> None:
    async with running(expose="all") as edge:
        edge.catalog.list(server("files", tools=(tool("a b"), tool("read"), tool("a b"))))
        shown = [name for name in await names(edge) if name.startswith("files__")]
    assert shown[0].startswith("files__a_b_")
    assert shown[1:] == ["files__read"]


async def test_headers_of_an_exposed_tool_are_checked() -> None:
    async with running(expose="all") as edge:
        edge.catalog.list(server("files", tools=(HEADED,)))
        answer = await edge.modern("tools/call", name="files__near", arguments={"region": "eu"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)
        assert edge.gateway.seen == []
    async with running() as edge:
        edge.catalog.list(server("files", tools=(HEADED,)))
        assert (await refusal(edge, "files__near"))["code"] == -32602


async def test_what_a_caller_may_not_see_looks_like_what_is_not_there() -> None:
    eves = Policy({"demo": Rules(Rule(frozenset({"eves"})), {"slow": Rule(frozenset())})})
    async with running(expose="all", policy=eves) as edge:
        assert await names(edge) == ["search", "execute"]
        eve = await edge.session(user="eve")
        listed = (await edge.legacy(eve, "tools/list")).json()["result"]["tools"]
        assert [each["name"] for each in listed] == ["search", "execute", "demo__echo"]
        denied = (await edge.legacy(eve, "tools/call", name="demo__slow", arguments={})).json()["error"]
        absent = (await edge.legacy(eve, "tools/call", name="demo__gone", arguments={})).json()["error"]
        assert denied["message"].replace("slow", "gone") == absent["message"]
        assert edge.gateway.seen == []


async def test_the_tools_may_change_only_if_some_are_exposed() -> None:
    for expose, offered in (("search", {}), ("all", {"listChanged": True})):
        async with running(expose=expose) as edge:
            described = (await edge.modern("server/discover")).json()["result"]
            assert described["capabilities"]["tools"] == offered
