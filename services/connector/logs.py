"""Log lines of a server: from which level on it sends them, and whose the lines are that name no call."""

from __future__ import annotations

import time

import msgspec
import structlog
from msgspec import Raw, Struct
from msgspec.json import Decoder

from libs.common import codec
from libs.common.errors import NexusError
from libs.common.identity import Principal
from libs.common.messages.calls import Client
from services.connector.session import EventSink, Opened, Params, Session

log = structlog.get_logger("logs")

LOGGED = "notifications/message"
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
PATIENCE = 5.0
"""Seconds a server has to take a level; the call that wants it goes on without."""
_KEY = "io.modelcontextprotocol/logLevel"


class _Meta(Struct, rename={"level": _KEY}):
    level: str = ""


_meta: Decoder[_Meta] = codec.decoder(_Meta)


def wanted(params: Params) -> str:
    """From which level on the client of a call wants log lines; empty if it wants none."""
    meta = params.get("_meta")
    if meta is None or _KEY.encode() not in bytes(meta):
        return ""
    try:
        return level if (level := _meta.decode(meta).level) in LEVELS else ""
    except msgspec.DecodeError:
        return ""


class Logs:
    """Finds the call a line is for, and otherwise nobody.

    It is for the only call in flight, on a session that only one principal ever used: a line may come late,
    and then tells of an earlier call. Which levels reach a client is decided per request, by the edge; an old
    server has one level for all of them, which is the lowest that anybody has wanted.
    """

    __slots__ = ("_dropped", "_last", "_level", "_owner", "_shared", "_sinks")

    def __init__(self) -> None:
        self._sinks: dict[int, EventSink | None] = {}
        self._owner = ""
        self._shared = False
        self._last = 0
        self._level = len(LEVELS)
        self._dropped = 0

    def begin(self, principal: Principal, tell: EventSink | None) -> int:
        """A call is in flight from now on, its client told of logs by `tell`; its number, for `end`."""
        if principal.key != self._owner:
            self._shared = self._shared or bool(self._owner)
            self._owner = principal.key
        self._last = number = self._last + 1
        self._sinks[number] = tell
        return number

    def end(self, number: int) -> None:
        del self._sinks[number]

    def post(self, message: Raw) -> None:
        """Pass a line on to the call it is for, if that is certain."""
        (tell,) = self._sinks.values() if len(self._sinks) == 1 and not self._shared else (None,)
        if tell is not None:
            tell(message)
            return
        self._dropped += 1
        log.debug("log line is for no certain call", dropped=self._dropped, in_flight=len(self._sinks))

    async def ask(self, session: Session, opened: Opened, level: str) -> None:
        """Have a server with sessions send lines from `level` on, if it would not yet; a refusal is none."""
        rank = LEVELS.index(level) if level else len(LEVELS)
        if rank >= self._level or opened.era == "modern" or b'"logging"' not in bytes(opened.capabilities):
            return
        self._level = rank
        params = {"level": codec.raw(level)}
        deadline = time.time() + PATIENCE
        try:
            await session.call("logging/setLevel", params, deadline=deadline, client=Client(), progress=False)
        except NexusError as error:
            log.debug("the server does not take a log level", reason=error.message)
