"""Whose question it is, on streams that name no call: a pipe, SSE, the GET of Streamable HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass

from services.connector.questions import Id

DOUBT = 60.0
"""Seconds in which a server may still ask for the sake of a call that nobody waits for any more."""
LATE = 1.0
"""Seconds in which one may come after the answer, where that takes another connection than questions."""
DOUBTS_MAX = 4096
"""Calls of one session that are doubted one by one; with more of them, the oldest are as good as all."""

UNCANCELLED = frozenset({"initialize", "server/discover"})
"""Never cancelled: the specification forbids it for `initialize`, and before that nothing may be said."""
_SILENT = frozenset(
    {
        *UNCANCELLED,
        "ping",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/subscribe",
        "resources/unsubscribe",
        "logging/setLevel",
    }
)
"""Requests of the gateway's own, or that run nothing a server would ask a client for."""


@dataclass(slots=True)
class _Doubt:
    owner: str
    until: float


class Working:
    """The calls of one session for whose sake its server may ask.

    A question is for the only one under way, unless it may be for an earlier one of somebody else. `owner` is
    the session of the calling client, empty if it has none: what its own earlier calls ask, it may answer.
    """

    __slots__ = ("_calls", "_doubts", "_nobody")

    def __init__(self) -> None:
        self._calls: dict[Id, str] = {}
        self._doubts: dict[Id, _Doubt] = {}
        self._nobody = 0.0
        """Until when no question is anybody's."""

    def begin(self, number: int, method: str, owner: str) -> None:
        """A call is under way from now on."""
        if method not in _SILENT:
            self._calls[number] = owner

    def end(self, number: int, doubt: float = 0.0) -> None:
        """It is not any more, but for `doubt` seconds a question may still be for its sake."""
        owner = self._calls.pop(number, None)
        if owner is None or not doubt:
            return
        self._doubts[number] = _Doubt(owner, time.monotonic() + doubt)
        if len(self._doubts) > DOUBTS_MAX:
            oldest = self._doubts.pop(next(iter(self._doubts)))
            self._nobody = max(self._nobody, oldest.until)

    def answered(self, number: Id) -> None:
        """The server is done with a call, so that what it asks from now on is not for its sake."""
        self._doubts.pop(number, None)

    def sole(self) -> int | None:
        """The number of the call that a question must be for; `None` if that is not certain."""
        now = time.monotonic()
        self._doubts = {number: doubt for number, doubt in self._doubts.items() if doubt.until > now}
        if len(self._calls) != 1 or self._nobody > now:
            return None
        ((number, owner),) = self._calls.items()
        foreign = any(not owner or doubt.owner != owner for doubt in self._doubts.values())
        return None if foreign or not isinstance(number, int) else number
