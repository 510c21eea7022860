"""The fact that says what a listing holds, whatever the server has put into it."""

from __future__ import annotations

import pytest
from msgspec import Raw

from libs.common.messages.catalog import Hint, Listing
from services.connector.listed import tools_listed


def test_a_listing_becomes_a_fact_with_all_of_it() -> None:
    listing = Listing(
        server="git",
        digest="ab",
        tools=(Raw(b'{"name":"log","x":1.50}'),),
        prompts=(Raw(b'{"name":"review"}'),),
        resources=(Raw(b'{"uri":"file:///a"}'),),
        templates=(Raw(b'{"uriTemplate":"file:///{p}"}'),),
        version="2025-06-18",
        capabilities=Raw(b'{"tools":{}}'),
        info=Raw(b'{"name":"g"}'),
        instructions="Be kind.",
        hints={"tools": Hint(5000)},
    )
    fact = tools_listed(listing, "w1")
    assert fact.model_dump() == {
        "server": "git",
        "worker": "w1",
        "digest": "ab",
        "version": "2025-06-18",
        "capabilities": {"tools": {}},
        "info": {"name": "g"},
        "instructions": "Be kind.",
        "tools": [{"name": "log", "x": 1.5}],
        "prompts": [{"name": "review"}],
        "resources": [{"uri": "file:///a"}],
        "templates": [{"uriTemplate": "file:///{p}"}],
        "hints": {"tools": {"ttlMs": 5000}},
    }


@pytest.mark.parametrize("odd", [b"null", b"[]", b'"text"', b"7", b"true", b'{"x":1e999}'])
def test_what_is_no_object_in_the_place_of_one_is_left_out(odd: bytes) -> None:
    fact = tools_listed(Listing("git", "ab", capabilities=Raw(odd), info=Raw(odd)), "w1")
    assert (fact.capabilities, fact.info) == ({}, None)
