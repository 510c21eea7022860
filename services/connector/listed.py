"""A listing as the fact that tells the rest of the gateway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Raw, to_builtins

from libs.common.codec import UNREADABLE, decode
from libs.common.facts import ToolsListed
from libs.common.messages.catalog import Listing


def tools_listed(listing: Listing, worker: str) -> ToolsListed:
    """The fact that says what `listing` holds."""
    return ToolsListed(
        server=listing.server,
        worker=worker,
        digest=listing.digest,
        version=listing.version,
        capabilities=_object(listing.capabilities) or {},
        info=_object(listing.info),
        instructions=listing.instructions,
        tools=_decoded(listing.tools),
        prompts=_decoded(listing.prompts),
        resources=_decoded(listing.resources),
        templates=_decoded(listing.templates),
        hints={member: to_builtins(hint) for member, hint in listing.hints.items()},
    )


def _object(value: Raw) -> dict[str, Any] | None:
    """None for what a server sent in the place of an object."""
    try:
        decoded = decode(value)
    except UNREADABLE:
        return None
    return decoded if isinstance(decoded, dict) else None


def _decoded(items: Iterable[Raw]) -> list[dict[str, Any]]:
    return [decode(item) for item in items]
