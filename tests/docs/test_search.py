"""The guide to search: what it says of arguments, bytes and descriptions is so."""

from __future__ import annotations

import json
from typing import Any

from services.edge.found import Named
from services.edge.tools import SearchArguments, own_tools
from services.indexer.index import Document, hybrid, parameters
from tests.docs.pages import blocks, rows, spans, text
from tests.services.indexer.index.catalogue import EVERY

PAGE = text("docs/search.md")
EXAMPLES = [json.loads(code) for page, code in blocks("json") if page == "docs/search.md"]
QUESTION = "where is the parcel of this customer"


def _score(tool: dict[str, Any]) -> float:
    """What the tool scores for the question of the guide, among tools of other servers."""
    described = parameters(tool["inputSchema"])
    index = hybrid()
    for each in EVERY:
        index.replace(each.server, [each])
    index.replace("shop", [Document("shop__x", "shop", tool["name"], "", tool["description"], described)])
    return {match.name: match.score for match in index.search(QUESTION, limit=10)}.get("shop__x", 0.0)


def test_every_argument_has_its_row() -> None:
    described = {spans(cells[0])[0] for cells in rows(PAGE) if spans(cells[0])}
    assert set(SearchArguments.__struct_fields__) <= described


def test_every_field_of_the_shortest_hit_is_in_the_row_of_names() -> None:
    (row,) = [cells for cells in rows(PAGE) if cells[0] == "`names`"]
    assert set(spans(row[1])) == {*Named.__struct_fields__} - {"description"}
    assert "description" in row[1]


def test_the_bytes_of_the_two_tools_are_as_told() -> None:
    plain = sum(len(bytes(tool)) for tool in own_tools(structured=False))
    promised = sum(len(bytes(tool)) for tool in own_tools(structured=True)) - plain
    assert f"{plain:,} bytes, and {promised:,} more" in " ".join(PAGE.split())


def test_the_better_description_is_the_one_that_is_found() -> None:
    before, after = [tool for tool in EXAMPLES if "inputSchema" in tool]
    assert f"nexus search {QUESTION}" in PAGE
    assert _score(before) < 0.2 < 0.5 < _score(after)
