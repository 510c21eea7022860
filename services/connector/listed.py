"""A listing as the fact that tells the rest of the gateway."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Raw

from libs.common.codec import decode
from libs.common.facts import ToolsListed
from libs.common.messages.catalog import Listing


def tools_listed(listing: Listing, worker: str) -> ToolsListed:
    """The fact that says what `listing` holds."""
    return ToolsListed(
        server=listing.server,
        worker=worker,
        digest=listing.digest,
        version=listing.version,
        capabilities=decode(listing.capabilities),
        info=decode(listing.info),
        instructions=listing.instructions,
        tools=_decoded(listing.tools),
        prompts=_decoded(listing.prompts),
        resources=_decoded(listing.resources),
        templates=_decoded(listing.templates),
    )


def _decoded(items: Iterable[Raw]) -> list[dict[str, Any]]:
    return [decode(item) for item in items]
