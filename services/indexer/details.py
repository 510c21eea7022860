"""How much of a tool a search shows: a model pays for every word of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from libs.common.codec import encode
from libs.common.errors import NULL
from libs.common.messages.search import Hit, Why
from services.indexer.catalog import Entry
from services.indexer.index import Match

NAMES = "names"
SUMMARY = "summary"
FULL = "full"

LINE_MAX = 100
"""Characters of a description where only names were asked for."""
UNDESCRIBED = "No description available"

_END = re.compile(r"(?<=[.!?])\s|[。！？\n]")


HIT_MAX = 64 * 1024
"""Bytes of a definition that is shown among others; a larger one is a line."""
ANSWER_MAX = 512 * 1024
"""Bytes of all definitions of an answer; those that come later are lines."""


def bounded(found: Iterable[tuple[Entry, Match]], detail: str) -> Iterator[Hit]:
    """Hits that a model and the bus can take, whatever the servers have written into their definitions."""
    left = ANSWER_MAX
    for entry, match in found:
        hit = detailed(entry, match, detail)
        size = len(encode(hit))
        if size > min(HIT_MAX, left):
            hit = detailed(entry, match, NAMES)
        else:
            left -= size
        yield hit


def detailed(entry: Entry, match: Match, detail: str) -> Hit:
    """One tool with as much as `detail` wants of it; a summary unless that is `names` or `full`."""
    if detail == NAMES:
        return Hit(match.name, _line(entry.description), NULL, match.score)
    whole = detail == FULL
    return Hit(
        name=match.name,
        description=entry.description or UNDESCRIBED,
        input_schema=entry.input_schema,
        score=match.score,
        server=entry.server,
        title=entry.title,
        annotations=entry.annotations,
        output_schema=entry.output_schema if whole else NULL,
        execution=entry.execution if whole else NULL,
        why=Why(match.matched, dict(match.repaired), related=not match.matched),
    )


def _line(description: str) -> str:
    """Its first sentence, or the beginning of that."""
    first = " ".join(_END.split(description.strip(), maxsplit=1)[0].split())
    return first if len(first) <= LINE_MAX else f"{first[: LINE_MAX - 1]}…"
