"""Results and errors, as the era of the client has them."""

from __future__ import annotations

import pytest

from tests.bridges.clients import PREFIX
from tests.bridges.conftest import Bridge
from tests.bridges.matrix import Cell, proves
from tests.conformance.fixture.odd import LIST, ODD

pytestmark = pytest.mark.anyio

_LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}


@proves("tool result", "identity")
async def test_a_result_says_that_it_is_complete_only_to_modern_clients(bridge: Bridge, cell: Cell) -> None:
    result = (await (await bridge.client(cell)).call("test_simple_text")).result
    assert result["content"][0]["text"] == "This is a simple text response for testing."
    assert result.get("resultType") == ("complete" if cell.modern else None)
    if cell.modern:
        assert result["_meta"][f"{PREFIX}serverInfo"]["name"] == "fixture"


@proves("unknown", "tool result")
async def test_members_that_no_revision_knows_come_through(bridge: Bridge, cell: Cell) -> None:
    result = (await (await bridge.client(cell)).call("odd_result")).result
    meta = {key: value for key, value in result["_meta"].items() if not key.startswith(PREFIX)}
    assert {**{key: result[key] for key in ODD}, "_meta": meta} == ODD


@proves("tool result", cells="MM-* ML-* LL-*")
async def test_structured_content_comes_as_the_server_sends_it(bridge: Bridge, cell: Cell) -> None:
    result = (await (await bridge.client(cell)).call("odd_list")).result
    assert result["content"] == LIST["content"]
    assert result.get("structuredContent") == (LIST["structuredContent"] if cell.modern else None)


@proves("tool result", cells="LM-*")
async def test_a_legacy_client_gets_no_structured_content_but_objects(bridge: Bridge, cell: Cell) -> None:
    """Its revision has no other, and takes neither the result nor the list of tools with one."""
    client = await bridge.client(cell)
    result = (await client.call("odd_list")).result
    assert result["content"] == LIST["content"]
    assert "structuredContent" not in result
    tools = {tool["name"]: tool for tool in (await client.ask("tools/list")).result["tools"]}
    assert "outputSchema" not in tools["odd_list"]


@proves("unknown")
async def test_members_of_a_tool_that_no_revision_knows_are_listed(bridge: Bridge, cell: Cell) -> None:
    listed = (await (await bridge.client(cell)).ask("tools/list")).result["tools"]
    marked = [tool["name"] for tool in listed if tool.get("xVendor") == {"kept": True}]
    assert marked == ["odd_result", "odd_list"]
    if cell.pair == "MM":
        (odd,) = [tool for tool in listed if tool["name"] == "odd_list"]
        assert odd["outputSchema"]["type"] == "array"


@proves("list result", cells="M?-*")
async def test_a_modern_client_is_told_how_long_it_may_keep_what_it_read(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell)
    read = await client.ask("resources/read", {"uri": "test://static-text"})
    listed = [(await client.ask(method)).result for method in _LISTS]
    for result in (read.result, *listed):
        assert result["ttlMs"] == (1000 if cell.pair == "MM" else 0)
        assert result["cacheScope"] == "private"
        assert result["resultType"] == "complete"


@proves("list result", cells="L?-*")
async def test_a_legacy_client_lists_and_reads_as_ever(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell)
    for method, member in _LISTS.items():
        result = (await client.ask(method)).result
        assert result[member]
        assert "resultType" not in result
    read = (await client.ask("resources/read", {"uri": "test://static-text"})).result
    assert read["contents"][0]["text"].startswith("This is the content")


@proves("pagination")
async def test_the_cursor_of_the_server_leads_to_its_next_page(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell)
    first = (await client.ask("resources/templates/list")).result
    second = (await client.ask("resources/templates/list", {"cursor": first["nextCursor"]})).result
    names = [page["resourceTemplates"][0]["name"] for page in (first, second)]
    assert names == ["template", "second"]
    assert "nextCursor" not in second


@proves("pagination")
async def test_a_cursor_that_leads_nowhere_is_refused_by_the_server(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell)
    for cursor in ("", "made up"):
        outcome = await client.ask("resources/templates/list", {"cursor": cursor})
        assert outcome.error["code"] == -32602


@proves("completion")
async def test_words_are_completed_by_the_server(bridge: Bridge, cell: Cell) -> None:
    params = {
        "ref": {"type": "ref/prompt", "name": "test_prompt_with_arguments"},
        "argument": {"name": "arg1", "value": "par"},
    }
    result = (await (await bridge.client(cell)).ask("completion/complete", params)).result
    assert result["completion"]["values"] == ["paris", "park", "party"]


@proves("not found", cells="M?-* LL-*")
async def test_a_missing_resource_has_the_code_of_the_client_s_era(bridge: Bridge, cell: Cell) -> None:
    outcome = await (await bridge.client(cell)).ask("resources/read", {"uri": "test://missing"})
    assert outcome.error["code"] == (-32602 if cell.modern else -32002)
    assert outcome.error["data"]["uri"] == "test://missing"
    assert outcome.status == (400 if cell.modern else 200)


@proves("not found", cells="LM-*")
async def test_a_legacy_client_gets_the_code_of_a_modern_server(bridge: Bridge, cell: Cell) -> None:
    """-32602 was never wrong there, and it cannot be told from a real mistake in the params."""
    outcome = await (await bridge.client(cell)).ask("resources/read", {"uri": "test://missing"})
    assert outcome.error["code"] == -32602
