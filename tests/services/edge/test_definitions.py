from __future__ import annotations

from typing import Any

from msgspec import Raw

from libs.common.codec import raw
from libs.common.definition import definition_digest
from libs.common.identity import ANONYMOUS
from libs.common.messages.catalog import Listing
from libs.common.naming import exposed
from services.edge.definitions import Definition, Definitions
from tests.services.edge.stub import StubCatalog

LONG = "a" * 80
TOOL: dict[str, Any] = {"name": "echo", "inputSchema": {"type": "object", "properties": {}}}


def listed(*tools: Raw) -> StubCatalog:
    catalog = StubCatalog()
    catalog.list(Listing("demo", str(len(tools)), tools))
    return catalog


def test_a_tool_is_found_by_both_of_its_names() -> None:
    found = Definitions(listed(raw(TOOL), raw({"name": LONG})))
    assert found.exposed("demo__echo", ANONYMOUS) == found.own("demo", "echo", ANONYMOUS)
    assert found.own("demo", "echo", ANONYMOUS).digest == definition_digest(raw(TOOL))
    assert found.exposed(exposed("demo", LONG), ANONYMOUS).tool == LONG


def test_what_is_not_listed_has_no_digest() -> None:
    found = Definitions(listed(raw(TOOL), Raw(b"no json"), Raw(b"{}")))
    assert found.exposed("demo__none", ANONYMOUS) == Definition("demo", "none")
    assert found.exposed("nobody__none", ANONYMOUS) == Definition("nobody", "none")
    assert found.exposed("search", ANONYMOUS) == Definition("search", "")
    assert found.own("nobody", "none", ANONYMOUS) == Definition("nobody", "none")


def test_a_new_list_has_new_digests() -> None:
    catalog = listed(raw(TOOL))
    found = Definitions(catalog)
    before = found.own("demo", "echo", ANONYMOUS).digest
    catalog.list(Listing("demo", "2", (raw({**TOOL, "description": "another"}),)))
    assert found.own("demo", "echo", ANONYMOUS).digest not in ("", before)


def test_a_digest_is_over_all_members_in_any_order() -> None:
    turned = raw(dict(reversed(TOOL.items())))
    assert definition_digest(turned) == definition_digest(raw(TOOL))
    assert definition_digest(raw({**TOOL, "x-odd": 1})) != definition_digest(raw(TOOL))
