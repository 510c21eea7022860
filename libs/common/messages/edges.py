"""The conversation of the edges among themselves: who is there, and what each must know at once."""

from __future__ import annotations

from msgspec import Struct


class EdgeHere(Struct, frozen=True, omit_defaults=True, tag="here", tag_field="t"):
    """A replica serves; the others answer with `Heard`, so that it knows them as well."""

    replica: str


class EdgeGone(Struct, frozen=True, omit_defaults=True, tag="gone", tag_field="t"):
    """A replica has stopped to serve; nobody waits for it any more."""

    replica: str


class SessionEnded(Struct, frozen=True, omit_defaults=True, tag="ended", tag_field="t"):
    """A legacy session is over, and its client waits until every replica has heard of it."""

    replica: str
    session: str
    until: float
    """Seconds since the epoch; the session's id has expired by then."""


News = EdgeHere | EdgeGone | SessionEnded
"""What one edge tells all."""


class Heard(Struct, frozen=True, omit_defaults=True):
    """The answer to any of it; `session` is the one that was ended."""

    replica: str
    session: str = ""
