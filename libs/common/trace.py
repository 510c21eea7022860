"""Trace context of a request: what of it is valid, and how it travels from hop to hop.

What is not valid is dropped and never forwarded. Sources: W3C Trace Context, W3C Baggage, and MCP, which
carries both in `_meta` under these names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

PARENT, STATE, BAGGAGE = MEMBERS = ("traceparent", "tracestate", "baggage")
STATE_MAX = 512
"""Characters of `tracestate`; entries from its end give way, as they are the oldest."""
STATE_ENTRIES = 32
BAGGAGE_MAX = 8192
BAGGAGE_ENTRIES = 64

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]{0,512})?")
_ENTRY = re.compile(r"([a-z0-9][a-z0-9_\-*/@]{0,255})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256})")
_KEY = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_IS = r"[ \t]*=[ \t]*+"
"""Possessive: the blanks behind it could else belong to what follows as well, and every way be tried."""
_PAIR = re.compile(rf"{_KEY}{_IS}{_VALUE}([ \t]*;[ \t]*{_KEY}({_IS}{_VALUE})?)*")


class Trace(Struct, frozen=True, omit_defaults=True):
    """Where a request belongs; each part empty or valid as W3C has it."""

    parent: str = ""
    state: str = ""
    baggage: str = ""
    own: str = ""
    """The gateway's own context, where it has one: trace, the span before this hop, and `01` if spans are
    recorded; a span of zeros if there is none. In the form of `parent`."""

    @property
    def place(self) -> str:
        """The context that belongs to the request here: our own if it has a span, else the client's."""
        return self.own if self.own[36:52].strip("0") else self.parent

    def members(self) -> dict[str, str]:
        """The parts there are that go on to others, under their W3C names."""
        parts = zip(MEMBERS, (self.parent, self.state, self.baggage), strict=True)
        return {name: value for name, value in parts if value}


NONE = Trace()


def read(meta: Mapping[str, object], headers: Mapping[str, str]) -> Trace:
    """The context in the `_meta` of a request; where that holds no valid one, in its HTTP headers."""
    if PARENT not in meta and BAGGAGE not in meta and PARENT not in headers:
        return NONE
    for source in (meta, headers):
        parent = _parent(source.get(PARENT))
        if parent:
            return Trace(parent, _state(source.get(STATE)), _baggage(meta.get(BAGGAGE)))
    baggage = _baggage(meta.get(BAGGAGE))
    return Trace(baggage=baggage) if baggage else NONE


def _parent(text: object) -> str:
    """In the form of version 00, which every later version begins with."""
    found = _PARENT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return ""
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not span.strip("0"):
        return ""
    # Of a later version only the flag "sampled" is known to mean the same.
    kept = flags if version == "00" else f"{int(flags, 16) & 1:02x}"
    return f"00-{trace}-{span}-{kept}"


def _state(text: object) -> str:
    if not isinstance(text, str) or len(text) > BAGGAGE_MAX:
        return ""
    entries = [entry for each in text.split(",") if (entry := each.strip(" \t"))]
    found = [_ENTRY.fullmatch(entry) for entry in entries]
    keys = {each[1] for each in found if each is not None}
    if len(keys) < len(entries) or len(entries) > STATE_ENTRIES:
        return ""
    while len(kept := ",".join(entries)) > STATE_MAX:
        entries.pop()
    return kept


def _baggage(text: object) -> str:
    if not isinstance(text, str) or len(text) > BAGGAGE_MAX:
        return ""
    pairs = [each.strip(" \t") for each in text.split(",")]
    if len(pairs) > BAGGAGE_ENTRIES or not all(_PAIR.fullmatch(pair) for pair in pairs):
        return ""
    return ",".join(pairs)
