from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from libs.common.codec import raw
from libs.common.messages.catalog import Hint, Listing
from services.connector.listing import collect
from services.connector.session import Opened
from services.connector.stdio import StdioSession
from tests.services.connector.parts import child

pytestmark = pytest.mark.anyio
NAMES = [
    "echo",
    "slow",
    "crash",
    "big",
    "flood",
    "progress",
    "env",
    "garbage",
    "ask",
    "pid",
    "burst",
    "cancelled",
    "log",
    "heard",
]


async def listed(*flags: str, opened: Opened | None = None) -> Listing:
    session = StdioSession(child(*flags), lambda method, message: None)
    found = await session.open()
    try:
        return await collect(session, opened or found, "child", 20)
    finally:
        await session.close()


async def test_all_pages_of_all_lists_are_read() -> None:
    listing = await listed()
    assert [json.loads(bytes(tool))["name"] for tool in listing.tools] == NAMES
    assert [json.loads(bytes(resource))["uri"] for resource in listing.resources] == ["file:///a"]
    assert (listing.prompts, listing.templates) == ((), ())
    assert (listing.server, listing.version) == ("child", "2025-06-18")


async def test_what_is_not_advertised_is_not_asked_for() -> None:
    listing = await listed(opened=Opened("legacy", "2025-06-18", raw({"resources": {}, "tools": None})))
    assert (len(listing.tools), len(listing.resources)) == (0, 1)


async def test_malformed_and_repeated_entries_are_dropped_and_counted() -> None:
    with capture_logs() as logs:
        listing = await listed("odd")
    tools = [json.loads(bytes(tool)) for tool in listing.tools]
    assert [tool["name"] for tool in tools] == NAMES
    assert "description" not in tools[0]
    assert [entry["entries"] for entry in logs if entry["event"] == "entries_dropped"] == [3]


async def test_a_cursor_that_comes_back_ends_the_list() -> None:
    with capture_logs() as logs:
        listing = await listed("loop")
    assert len(listing.tools) == 4
    assert "list_cut" in [entry["event"] for entry in logs]


async def test_two_who_saw_the_same_lists_agree_on_the_digest() -> None:
    first, second, other = await listed(), await listed(), await listed("loop")
    assert first.digest == second.digest != other.digest


LONG, SHORT = {"ttlMs": 9000, "cacheScope": "public"}, {"ttlMs": 500, "cacheScope": "public"}


@pytest.mark.parametrize(
    ("pages", "hints"),
    [
        ([LONG], {"tools": Hint(9000, "public")}),
        ([LONG, SHORT], {"tools": Hint(500, "public")}),
        ([LONG, {**SHORT, "cacheScope": "private"}], {"tools": Hint(500)}),
        ([LONG, {}], {}),
        ([{}, LONG], {}),
        ([{"ttlMs": -1, "cacheScope": "public"}], {}),
        ([{"ttlMs": "long", "cacheScope": "public"}], {}),
        ([{"ttlMs": 500}], {"tools": Hint(500)}),
    ],
)
async def test_a_list_may_be_kept_as_long_as_every_page_of_it(
    pages: list[dict[str, object]], hints: dict[str, Hint]
) -> None:
    assert (await listed(f"hints={json.dumps(pages)}")).hints == hints
