from __future__ import annotations

import pytest

from tests.libs.common.config.conftest import TIME, Read, Wrong


def test_tools_are_exposed_by_search_alone_unless_said_otherwise(read: Read) -> None:
    mcp = read(TIME).mcp
    assert (mcp.expose, mcp.pinned) == ("search", ())


def test_all_tools_or_some_can_be_exposed(read: Read) -> None:
    mcp = read(f'[mcp]\nexpose = "all"\npinned = ["time__now", "time__a__b"]\n{TIME}').mcp
    assert (mcp.expose, mcp.pinned) == ("all", ("time__now", "time__a__b"))


def test_another_way_of_exposing_is_refused(wrong: Wrong) -> None:
    (line,) = wrong(f'mcp.expose = "some"\n{TIME}')
    assert line == 'mcp.expose: found "some", expected "search" or "all"'


def test_a_pinned_tool_of_a_server_that_is_not_configured_is_a_mistake(wrong: Wrong) -> None:
    (line,) = wrong(f'mcp.pinned = ["time__now", "tine__now"]\n{TIME}')
    assert line == (
        "mcp.pinned[1]: is no tool of a configured server; "
        'write its name as `search` shows it: server__tool; did you mean "time__…"?'
    )


@pytest.mark.parametrize("name", ["now", "time", "time__", "time_now", ""])
def test_a_pinned_name_that_names_no_server_is_a_mistake(wrong: Wrong, name: str) -> None:
    (line,) = wrong(f'mcp.pinned = ["{name}"]\n{TIME}')
    assert line.startswith("mcp.pinned[0]: is no tool of a configured server")


def test_pinned_names_that_are_no_text_are_reported_once(wrong: Wrong) -> None:
    assert wrong(f"mcp.pinned = [1]\n{TIME}") == ["mcp.pinned[0]: found 1, expected text"]
    assert wrong(f'mcp.pinned = "x"\n{TIME}') == ['mcp.pinned: found "x", expected an array']
