"""What routers tell each other."""

from __future__ import annotations

from msgspec import Struct


class RouterAlive(Struct, frozen=True, omit_defaults=True):
    """A router lives, or takes no more requests from now on."""

    router: str
    leaving: bool = False
