"""Legacy sessions that no replica has to remember: the session id is the session, sealed."""

from __future__ import annotations

import secrets
import time
from typing import Any

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from libs.common.codec import decoder, encode, raw
from libs.common.errors import NULL, InvalidParams, SessionUnknown
from libs.common.identity import Principal
from libs.common.messages.calls import EMPTY, Client
from libs.common.seal import Keyring, SealBroken
from services.edge.gateway import Catalog

CAPABILITIES_MAX = 2048
"""Bytes of JSON; the session id has to fit into a header that every proxy lets pass."""
INFO_MAX = 128
_INFO = ("name", "version", "title")


class Session(Struct, frozen=True, omit_defaults=True):
    """What a client said in `initialize`."""

    id: str
    version: str
    expires: float
    capabilities: Raw = EMPTY
    info: Raw = NULL

    def remaining(self) -> float:
        """Seconds until it is over."""
        return max(self.expires - time.time(), 1.0)

    def client(self) -> Client:
        return Client(self.version, self.capabilities, self.info, self.id)


_session: Decoder[Session] = decoder(Session)


class Sessions:
    """Opens and resumes sessions, each bound to one principal and one path."""

    def __init__(self, keys: Keyring, catalog: Catalog, ttl: float) -> None:
        self._keys = keys
        self._catalog = catalog
        self._ttl = ttl

    def start(self, version: str, params: dict[str, Any], principal: Principal, route: str) -> str:
        """The `Mcp-Session-Id` of a new session; never one a client proposed."""
        capabilities, info = declared(params)
        expires = time.time() + self._ttl
        session = Session(secrets.token_hex(16), version, expires, capabilities, info)
        return self._keys.seal(encode(session), binding=_binding(principal, route), expires=expires)

    def resume(self, token: str, principal: Principal, route: str) -> Session:
        """Raises `SessionUnknown`, the same for a session that is forged, foreign, over or elsewhere."""
        try:
            payload = self._keys.open(token, binding=_binding(principal, route), now=time.time())
            session = _session.decode(payload)
        except (SealBroken, DecodeError):
            raise _unknown() from None
        if self._catalog.tombstoned(session.id):
            raise _unknown()
        return session

    async def end(self, session: Session) -> None:
        """From now on the session is unknown."""
        await self._catalog.bury(session.id, session.remaining())


def _unknown() -> SessionUnknown:
    return SessionUnknown("there is no such session: send initialize to start one")


def _binding(principal: Principal, route: str) -> tuple[str, ...]:
    return ("session", principal.key, route)


def declared(params: dict[str, Any]) -> tuple[Raw, Raw]:
    """What `initialize` says of the client: capabilities and info. Raises `InvalidParams`."""
    capabilities, info = params.get("capabilities", {}), params.get("clientInfo", {})
    if not isinstance(capabilities, dict) or not isinstance(info, dict):
        raise InvalidParams('"capabilities" and "clientInfo" must be objects')
    encoded = raw({name: value for name, value in capabilities.items() if name != "extensions"})
    if len(bytes(encoded)) > CAPABILITIES_MAX:
        raise InvalidParams(f'"capabilities" may have at most {CAPABILITIES_MAX} bytes')
    kept = {key: str(info[key])[:INFO_MAX] for key in _INFO if key in info}
    return encoded, raw(kept) if kept else NULL
