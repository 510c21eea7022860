"""Who is calling: the one shape every way of authenticating ends in."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verified caller. `subject` is unique within `issuer`."""

    subject: str = "anonymous"
    issuer: str = ""
    groups: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The identity that handles (sessions, cursors, tasks) are bound to."""
        return f"{self.issuer}|{self.subject}"


ANONYMOUS = Principal()
