"""Log lines of a server that name no call, as all do on a pipe."""

from __future__ import annotations

from msgspec import Raw

from libs.common.identity import Principal
from services.connector.session import EventSink

LOGGED = "notifications/message"
LEVEL = b"io.modelcontextprotocol/logLevel"
"""In the `_meta` of a call whose client wants logs."""


class Logs:
    """Finds the call such a line is for, and otherwise nobody.

    It is for the only call in flight, on a session that only one principal ever used: a line may come late,
    and then tells of an earlier call.
    """

    __slots__ = ("_last", "_owner", "_shared", "_sinks")

    def __init__(self) -> None:
        self._sinks: dict[int, EventSink | None] = {}
        self._owner = ""
        self._shared = False
        self._last = 0

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
        if len(self._sinks) == 1 and not self._shared:
            (tell,) = self._sinks.values()
            if tell is not None:
                tell(message)
