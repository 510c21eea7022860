"""The answer of the indexer to `SearchTools`."""

from __future__ import annotations

from msgspec import Raw, Struct

from libs.common.errors import NULL


class Hit(Struct, frozen=True, omit_defaults=True):
    """One tool found. Field names are those of the `search` tool's results."""

    name: str
    description: str
    input_schema: Raw
    score: float
    server: str = ""
    title: str = ""
    annotations: Raw = NULL
    output_schema: Raw = NULL


class ToolsFound(Struct, frozen=True, omit_defaults=True):
    """Hits, best first; `nearest` has names to offer when there are none."""

    hits: tuple[Hit, ...] = ()
    nearest: tuple[str, ...] = ()
    unknown: bool = False
    """Lists were named by digest that this indexer does not have: ask again, with the lists."""
