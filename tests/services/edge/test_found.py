"""What a model is told of a search, and what of one that found nothing."""

from __future__ import annotations

from typing import Any

from libs.common.codec import decode
from libs.common.errors import NULL
from libs.common.messages.search import Hit, ToolsFound
from services.edge import found as shown
from services.edge.tools import SearchArguments
from tests.services.edge.stub import HITS


def answer(
    server: str = "",
    *,
    read_only: bool = False,
    structured: bool = True,
    **found: Any,
) -> Any:
    """The result for what an indexer has found."""
    wanted = SearchArguments(query="x", server=server, read_only=read_only)
    return decode(shown.result(ToolsFound(**found), wanted, structured=structured))


def said(result: Any) -> str:
    (item,) = result["content"]
    return str(item["text"])


def test_each_hit_has_a_text_that_is_the_same_as_data() -> None:
    result = answer(hits=HITS)
    texts = [decode(item["text"]) for item in result["content"]]
    assert texts == result["structuredContent"]["results"]
    assert [each["name"] for each in texts] == [hit.name for hit in HITS]
    assert set(result) == {"content", "structuredContent"}


def test_a_hit_without_a_schema_is_a_line() -> None:
    short = Hit("git__log", "Show commits", NULL, 0.5)
    result = answer(hits=(short, HITS[1]))
    line, whole = result["structuredContent"]["results"]
    assert line == {"name": "git__log", "score": 0.5, "description": "Show commits"}
    assert "input_schema" in whole
    assert decode(result["content"][0]["text"]) == line


def test_without_structured_content_there_are_texts_alone() -> None:
    assert set(answer(structured=False, hits=HITS)) == {"content"}
    assert set(answer(structured=False, servers=("git",))) == {"content"}


def test_an_unknown_server_is_an_error_with_the_servers_there_are() -> None:
    result = answer("gti", stranger=True, servers=("git", "time"))
    assert (result["isError"], result["_meta"]) == (True, {"nexus/executed": "no"})
    assert result["structuredContent"] == {"results": [], "did_you_mean": {"servers": ["git", "time"]}}
    there = "Servers to search are: git, time."
    assert said(result) == f'There is no server "gti". {there} Leave "server" out to search all of them.'


def test_filters_that_leave_nothing_are_named_with_what_they_keep_out() -> None:
    result = answer("git", read_only=True, elsewhere=("hub__log", "hub__show"))
    assert "isError" not in result
    assert result["structuredContent"]["did_you_mean"] == {"tools": ["hub__log", "hub__show"]}
    filters = '"server": "git" and "read_only": true'
    assert said(result) == f"No tool matches with {filters}. Without, these do: hub__log, hub__show."


def test_near_names_and_servers_are_offered_as_words_and_as_data() -> None:
    result = answer(nearest=("git__log",), servers=("git",))
    assert result["structuredContent"]["did_you_mean"] == {"tools": ["git__log"], "servers": ["git"]}
    assert said(result) == (
        "No tool matches. The nearest names are: git__log. Servers to search are: git. "
        "Try other or fewer words."
    )


def test_nothing_found_and_nothing_near_still_says_what_to_do() -> None:
    result = answer()
    assert result["structuredContent"] == {"results": []}
    assert said(result) == "No tool matches. Try other or fewer words."
