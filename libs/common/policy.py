"""Who may see and call what: one pure function for every surface.

Denied looks exactly like unknown: a refusal carries no reason to the caller.
"""

from __future__ import annotations

from msgspec import Struct

from libs.common.identity import Principal


class Decision(Struct, frozen=True):
    """What policy says of one request, and the rule behind it (for the audit, not for the caller)."""

    allowed: bool
    rule: str = ""


ALLOWED = Decision(True, "no rule applies")


def decide(principal: Principal, server: str, tool: str = "") -> Decision:
    """Whether `principal` may see and use `server`, or `tool` of it."""
    return ALLOWED


def personal() -> bool:
    """Whether answers may differ between callers: by a rule, or because not everybody is let in."""
    return False
