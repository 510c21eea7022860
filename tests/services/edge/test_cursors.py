"""Pages of the aggregate's lists."""

from __future__ import annotations

import time
from typing import Any

import pytest

from libs.common.codec import raw
from services.edge import cursors
from services.edge.shelf import KEY_MAX
from tests.services.edge.conftest import Edge, running
from tests.services.edge.shelves import prompt, server, tool

pytestmark = pytest.mark.anyio


def many(name: str, count: int, **more: Any) -> Any:
    return server(name, tools=tuple(tool(f"t{number:05}", **more) for number in range(count)))


async def pages(edge: Edge, method: str, member: str) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    cursor: dict[str, Any] = {}
    while True:
        result = (await edge.modern(method, **cursor)).json()["result"]
        found.append(result[member])
        if "nextCursor" not in result:
            return found
        cursor = {"cursor": result["nextCursor"]}


async def test_a_long_list_comes_in_pages_that_hold_everything_once() -> None:
    async with running(expose="all") as edge:
        edge.catalog.list(many("a", 700))
        edge.catalog.list(many("b", 600))
        found = await pages(edge, "tools/list", "tools")
    assert [len(page) for page in found] == [cursors.PAGE + 2, cursors.PAGE, 302]
    names = [each["name"] for page in found for each in page]
    assert len(set(names)) == len(names) == 1304
    assert names[2:] == sorted(names[2:])


async def test_large_entries_make_short_pages() -> None:
    async with running(expose="all") as edge:
        edge.catalog.list(many("a", 5, description="x" * (cursors.PAGE_SIZE // 2 - 1000)))
        found = await pages(edge, "tools/list", "tools")
    assert [len(page) for page in found] == [4, 2, 3]


async def test_a_catalog_that_changes_between_two_pages_skips_nothing() -> None:
    async with running(expose="all") as edge:
        edge.catalog.list(many("m", 600))
        first = (await edge.modern("tools/list")).json()["result"]
        edge.catalog.list(many("a", 50))
        kept = tuple(tool(f"t{number:05}") for number in range(490, 600))
        edge.catalog.list(server("m", tools=kept))
        second = (await edge.modern("tools/list", cursor=first["nextCursor"])).json()["result"]["tools"]
    shown = {each["name"] for each in (*first["tools"], *second)}
    assert {f"m__t{number:05}" for number in range(600)} <= shown
    assert len(second) == 102


@pytest.mark.parametrize("cursor", ["", "nonsense", 5, None, [], "x" * 9000])
async def test_a_cursor_that_is_not_ours_is_refused(edge: Edge, cursor: Any) -> None:
    for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
        answer = await edge.modern(method, cursor=cursor)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
        assert "list again without a cursor" in answer.json()["error"]["message"]


async def test_a_cursor_is_good_for_its_caller_and_its_method_alone() -> None:
    async with running(expose="all") as edge:
        edge.catalog.list(many("a", 600))
        eve, bob = await edge.session(user="eve"), await edge.session(user="bob")
        cursor = (await edge.legacy(eve, "tools/list")).json()["result"]["nextCursor"]
        assert "result" in (await edge.legacy(eve, "tools/list", cursor=cursor)).json()
        for headers, method in ((bob, "tools/list"), (eve, "prompts/list")):
            error = (await edge.legacy(headers, method, cursor=cursor)).json()["error"]
            assert error["code"] == -32602


async def test_another_replica_goes_on_with_a_cursor() -> None:
    async with running(expose="all") as one, running(expose="all") as two:
        for edge in (one, two):
            edge.catalog.list(many("a", 600))
        cursor = (await one.modern("tools/list")).json()["result"]["nextCursor"]
        rest = (await two.modern("tools/list", cursor=cursor)).json()["result"]["tools"]
    assert rest[0]["name"] == "a__t00500"


async def test_a_name_that_fits_in_no_cursor_is_left_out(edge: Edge) -> None:
    odd = (raw(5), raw({"title": "no name"}), raw({"name": ""}), raw({"name": "\x01" * KEY_MAX}))
    listing = server("files", prompts=tuple(f"p{number:03}" for number in range(501)))
    long = prompt("q" * (KEY_MAX - 2))
    edge.catalog.list(type(listing)("files", "1", prompts=(*odd, *listing.prompts, long)))
    first, second = await pages(edge, "prompts/list", "prompts")
    assert (len(first), len(second)) == (500, 2)


async def test_ten_thousand_tools_are_listed_in_no_time() -> None:
    async with running(expose="all") as edge:
        edge.catalog.list(many("a", 10_000))
        await edge.modern("tools/list")
        begun = time.process_time()
        found = await pages(edge, "tools/list", "tools")
        spent = time.process_time() - begun
    assert len(found) == 21
    assert spent < 2
