"""Which URI template a URI may come from (RFC 6570), in time that no template can blow up."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

PARTS_MAX = 32
"""Parts of a template; a longer one matches nothing."""
URI_MAX = 2048
"""Characters of a URI that is matched."""

_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
_CROSSING = frozenset("+#./;?&")
"""Operators whose expansion may hold a slash."""


class _Part(NamedTuple):
    literal: str
    """What must stand there; empty for an expression."""
    crosses: bool = False
    """Whether what an expression stands for may hold a slash."""
    empty: bool = False
    """Whether it may stand for nothing."""


def weight(template: str) -> int:
    """How much of a template is said literally: of two that match, the heavier one is meant."""
    return sum(len(part.literal) for part in _parts(template))


def matches(template: str, uri: str) -> bool:
    """Whether `uri` may be an expansion of `template`."""
    parts = _parts(template)
    if len(parts) > PARTS_MAX or len(uri) > URI_MAX or not uri.startswith(parts[0].literal if parts else ""):
        return False
    ends = {0}
    for part in parts:
        ends = _after(part, uri, ends)
        if not ends:
            return False
    return len(uri) in ends


def _after(part: _Part, uri: str, starts: set[int]) -> set[int]:
    """Where the part may end, for the places where it may begin."""
    if part.literal:
        return {start + len(part.literal) for start in starts if uri.startswith(part.literal, start)}
    ends = set(starts) if part.empty else set()
    reached = 0
    for start in sorted(starts):
        slash = -1 if part.crosses else uri.find("/", start)
        stop = len(uri) if slash < 0 else slash
        ends.update(range(max(start + 1, reached), stop + 1))
        reached = max(reached, stop + 1)
    return ends


@lru_cache(maxsize=4096)
def _parts(template: str) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    last = 0
    for found in _EXPRESSION.finditer(template):
        if found.start() > last:
            parts.append(_Part(template[last : found.start()]))
        operator = found.group(1)
        parts.append(_Part("", operator in _CROSSING, operator not in ("", "+")))
        last = found.end()
    if last < len(template):
        parts.append(_Part(template[last:]))
    return tuple(parts)
