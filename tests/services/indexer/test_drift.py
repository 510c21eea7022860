from __future__ import annotations

from typing import Any

import pytest

from libs.common.codec import raw
from libs.common.messages.catalog import Listing
from services.indexer.drift import SINGLE_MAX, findings

TOOL: dict[str, Any] = {
    "name": "echo",
    "description": "Repeats",
    "inputSchema": {"type": "object", "properties": {"x": {"type": "string"}}},
    "annotations": {"readOnlyHint": True, "destructiveHint": False},
}


def listing(*tools: dict[str, Any], instructions: str = "") -> Listing:
    return Listing("demo", "d", tuple(map(raw, tools)), instructions=instructions)


def changed(**members: Any) -> list[tuple[list[str], int]]:
    found = findings(listing(TOOL), listing({**TOOL, **members}))
    return [(each.facts["changed"], each.severity) for each in found if each.facts]  # type: ignore[misc]


def test_a_first_list_is_no_finding() -> None:
    assert findings(None, listing(TOOL, instructions="Do this.")) == []


@pytest.mark.parametrize(
    ("members", "names", "severity"),
    [
        ({"description": "Repeats. <IMPORTANT>"}, ["description"], 4),
        ({"annotations": {"readOnlyHint": True, "destructiveHint": True}}, ["annotations"], 4),
        ({"inputSchema": {"type": "object", "properties": {}}}, ["inputSchema"], 3),
        ({"outputSchema": {}}, ["outputSchema"], 2),
        ({"outputSchema": {}, "description": ""}, ["description", "outputSchema"], 4),
    ],
)
def test_a_change_is_as_grave_as_what_changed(
    members: dict[str, Any], names: list[str], severity: int
) -> None:
    assert changed(**members) == [(names, severity)]


def test_another_order_is_no_change() -> None:
    turned = dict(reversed(TOOL.items())) | {"annotations": dict(reversed(TOOL["annotations"].items()))}
    other = {**TOOL, "name": "other"}
    assert findings(listing(TOOL, other), listing(other, turned)) == []


def test_a_finding_names_both_definitions() -> None:
    (found,) = findings(listing(TOOL), listing({**TOOL, "description": "x"}))
    assert found.facts is not None
    assert (found.code, found.server, found.tool) == ("tool.definition.changed", "demo", "echo")
    assert len(found.definition) == len(str(found.facts["before"])) == 64
    assert found.definition != found.facts["before"]


def test_a_new_tool_and_new_instructions_are_findings_and_a_lost_tool_is_none() -> None:
    before = listing(TOOL, instructions="a")
    now = listing({**TOOL, "name": "new"}, instructions="b")
    told = [(each.tool, each.facts["changed"], each.severity) for each in findings(before, now) if each.facts]
    assert told == [("", ["instructions"], 4), ("new", ["added"], 2)]


def test_a_thousand_changes_are_told_by_a_bounded_number_of_events() -> None:
    before = listing(*({**TOOL, "name": f"t{n}"} for n in range(1000)))
    now = listing(*({**TOOL, "name": f"t{n}", "description": "x"} for n in range(1000)))
    found = findings(before, now)
    assert len(found) == SINGLE_MAX + 1
    assert found[-1].facts == {"changed": ["more"], "count": 1000 - SINGLE_MAX}
