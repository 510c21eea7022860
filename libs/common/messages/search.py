"""The answer of the indexer to `SearchTools`."""

from __future__ import annotations

from msgspec import Raw, Struct

from libs.common.errors import NULL


class Why(Struct, frozen=True, omit_defaults=True):
    """The words of the query that a tool has; of the misspelt ones, what each was taken for."""

    matched: tuple[str, ...] = ()
    repaired: dict[str, str] = {}
    related: bool = False
    """Whether it has none of them, and does or means something like it."""


class Hit(Struct, frozen=True, omit_defaults=True):
    """One tool found. Field names are those of the `search` tool's results."""

    name: str
    description: str
    input_schema: Raw
    """Null where only a line is shown: its name, score and the first sentence of its description."""
    score: float
    server: str = ""
    title: str = ""
    annotations: Raw = NULL
    output_schema: Raw = NULL
    execution: Raw = NULL
    why: Why | None = None


class ToolsFound(Struct, frozen=True, omit_defaults=True):
    """Hits, best first; `nearest` and `servers` have names to offer when there are none."""

    hits: tuple[Hit, ...] = ()
    nearest: tuple[str, ...] = ()
    unknown: bool = False
    """Lists were named by digest that this indexer does not have: ask again, with the lists."""
    servers: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """Tools that match if the query's filters are left out."""
    stranger: bool = False
    """The server asked for is none that the caller may know of."""
