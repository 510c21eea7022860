"""Calls that a connector holds while the client is asked: which one does is sealed into `requestState`.

So the answer finds its way back, by any replica; and only from who was asked, on the path where it was asked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from msgspec import Raw, Struct
from msgspec.json import Decoder

from libs.common.codec import UNREADABLE, decode, decoder, encode, members, raw
from libs.common.errors import NULL, InvalidParams
from libs.common.identity import Principal
from libs.common.messages.calls import EMPTY, WORKER
from libs.common.seal import Keyring, SealBroken
from libs.common.subjects import minted
from services.edge.visitor import visitor

PREFIX = "nxs1."
LIFE = 600.0
"""Seconds in which an answer may come; the connector gives the call up before."""
STATE = "requestState"


class Place(Struct, frozen=True):
    """Where a call is held, and by what name it is known there."""

    worker: str
    state: Raw
    call: str = ""
    """The name under which the audit has its last round."""


_place: Decoder[Place] = decoder(Place)


class Parked:
    """`requestState` as clients see it, where a connector holds the call; that of servers passes as it is."""

    def __init__(self, keys: Keyring) -> None:
        self._keys = keys

    def issue(self, result: Raw, principal: Principal, route: str) -> Raw:
        """A result; if it asks for the sake of a call that is held, without the name of who holds it."""
        if WORKER.encode() not in bytes(result):
            return result
        try:
            parts = members(result)
            meta = members(parts.get("_meta", EMPTY))
            worker = minted(decode(meta.pop(WORKER)))
            asks = decode(parts["resultType"]) == "input_required"
        except (*UNREADABLE, KeyError, TypeError, ValueError):
            return result
        if not asks:
            return result
        who = visitor()
        payload = encode(Place(worker, parts.get(STATE, NULL), "" if who is None else who.call))
        expires = time.time() + LIFE
        sealed = self._keys.seal(payload, binding=_binding(principal, route), expires=expires)
        kept = {key: value for key, value in parts.items() if key != "_meta"}
        return raw({**kept, STATE: PREFIX + sealed, **({"_meta": meta} if meta else {})})

    def redeem(
        self, params: Mapping[str, Any], principal: Principal, route: str
    ) -> tuple[str, Mapping[str, Any]]:
        """Who holds the call that this goes on with, if one is held, and the params for it.

        Raises `InvalidParams`, the same for a forged, a foreign and an old state.
        """
        place = self.place(params.get(STATE), principal, route)
        if place is None:
            return "", params
        if (who := visitor()) is not None:
            who.call = place.call
        return place.worker, {**params, STATE: place.state}

    def place(self, state: object, principal: Principal, route: str) -> Place | None:
        """Where the call is that asked with this state; None if nobody holds one. Raises like `redeem`."""
        text = decode(state) if isinstance(state, Raw) else state
        if not isinstance(text, str) or not text.startswith(PREFIX):
            return None
        sealed = text.removeprefix(PREFIX)
        try:
            opened = self._keys.open(sealed, binding=_binding(principal, route), now=time.time())
        except SealBroken:
            raise InvalidParams(f"{STATE} is not valid here") from None
        return _place.decode(opened)


def is_held(state: object) -> bool:
    """Whether a `requestState`, raw, is one of a held call."""
    return isinstance(state, Raw) and bytes(state).startswith(f'"{PREFIX}'.encode())


def _binding(principal: Principal, route: str) -> tuple[str, ...]:
    return ("parked", principal.key, route)
