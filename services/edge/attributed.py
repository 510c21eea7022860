"""Log lines on the aggregate say which server they are of."""

from __future__ import annotations

from msgspec import Raw

from libs.common.codec import UNREADABLE, decode, members, raw
from services.edge.gateway import OnEvent
from services.edge.progress import LOGGED
from services.edge.respond import notice_bytes

_MARK = LOGGED.encode()


def attributed(on_event: OnEvent, server: str) -> OnEvent:
    """`on_event` for what `server` tells: the `logger` of its lines begins with its name."""

    def tell(message: Raw) -> None:
        on_event(_named(message, server) if _MARK in bytes(message) else message)

    return tell


def _named(message: Raw, server: str) -> Raw:
    """What cannot be read is passed as it is, to be refused where everything is."""
    try:
        parts = members(message)
        if decode(parts["method"]) != LOGGED:
            return message
        params = members(parts["params"])
        own = decode(params["logger"]) if "logger" in params else None
    except (*UNREADABLE, KeyError):
        return message
    logger = f"{server}/{own}" if own else server
    return Raw(notice_bytes(LOGGED, raw({**params, "logger": logger})))
