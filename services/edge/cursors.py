"""Pages of a merged list, and the cursors between them.

A cursor holds the last entry that was shown, not its number: whatever a server lists anew, the next page goes
on behind it and skips nothing that was there all the time.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from libs.common.codec import decoder, encode
from libs.common.errors import InvalidParams
from libs.common.identity import Principal
from libs.common.seal import Keyring, SealBroken
from services.edge.shelf import View
from services.edge.surface import Ask

PAGE = 500
"""Entries of a page."""
PAGE_SIZE = 2 * 1024 * 1024
"""Bytes of its entries together, unless it has only one."""
LIFE = 24 * 3600.0
"""Seconds a cursor is good for."""


class _Position(Struct, array_like=True):
    server: str
    own: str


_position: Decoder[_Position] = decoder(_Position)


class Cursors:
    """Cursors of one path, each bound to the method and the caller it was made for."""

    def __init__(self, keys: Keyring, route: str) -> None:
        self._keys = keys
        self._route = route

    def page(self, ask: Ask, view: View, member: str) -> dict[str, Any]:
        """The page that `ask` wants. Raises `InvalidParams` for a cursor that is not one of ours."""
        start = self._start(ask.method, ask.params, ask.principal, view)
        end = _end(view, start)
        page: dict[str, Any] = {member: [entry.item for entry in view.entries[start:end]]}
        if end < len(view.entries):
            page["nextCursor"] = self._keys.seal(
                encode(_Position(*view.keys[end - 1])),
                binding=self._binding(ask.method, ask.principal),
                expires=time.time() + LIFE,
            )
        return page

    def _start(self, method: str, params: Mapping[str, Any], principal: Principal, view: View) -> int:
        if "cursor" not in params:
            return 0
        try:
            opened = self._keys.open(
                str(params["cursor"]), binding=self._binding(method, principal), now=time.time()
            )
            position = _position.decode(opened)
        except (SealBroken, DecodeError):
            raise InvalidParams(
                f"this cursor is not valid for {method} here: list again without a cursor"
            ) from None
        return bisect_right(view.keys, (position.server, position.own))

    def _binding(self, method: str, principal: Principal) -> tuple[str, ...]:
        return ("cursor", principal.key, self._route, method)


def _end(view: View, start: int) -> int:
    size = 0
    for number in range(start, min(start + PAGE, len(view.entries))):
        size += len(bytes(view.entries[number].item))
        if size > PAGE_SIZE and number > start:
            return number
    return min(start + PAGE, len(view.entries))
