"""Events of a call on their way to the client that asked for them."""

from __future__ import annotations

import math
from collections.abc import Callable

import structlog
from msgspec import Raw, Struct
from msgspec.json import Decoder

from libs.common.codec import UNREADABLE, decode, decoder, members, raw
from services.edge.envelope import LEVELS, TOKEN, Token
from services.edge.respond import notice_bytes
from services.edge.results import SUBSCRIPTION

log = structlog.get_logger("edge")

PROGRESS = "notifications/progress"
LOGGED = "notifications/message"
STANDING = frozenset(
    {
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/tasks",
        "notifications/elicitation/complete",
    }
)
"""What belongs to no call: a modern client hears of it on a stream of `subscriptions/listen`, or never."""


class _About(Struct, rename="camel"):
    uri: str = ""
    task_id: str = ""


class _Step(Struct):
    progress: int | float
    total: int | float | None = None
    message: str | None = None


class _Line(Struct):
    level: str


_about: Decoder[_About] = decoder(_About)
_step: Decoder[_Step] = decoder(_Step)
_line: Decoder[_Line] = decoder(_Line)


def about(method: str, params: Raw) -> str:
    """What news are about: of two about the same, a client needs the newer alone. Raises `DecodeError`."""
    found = _about.decode(params)
    return f"{method} {found.uri}{found.task_id}"


class Relay:
    """Passes on what the client may see of one call, or of one `subscriptions/listen`.

    Progress comes under the client's own `token`, and only if it has grown (MCP, "Progress"); log lines from
    `level` on, none without one. Requests of the server are not carried: they are answered elsewhere.
    `listening` is the JSON of the id that notifications of a `subscriptions/listen` are tagged with, and they
    go to `hint`; `modern` clients hear nothing else that belongs to no call.
    """

    __slots__ = ("_emit", "_hint", "_last", "_levels", "_listening", "_modern", "_token")

    def __init__(
        self,
        emit: Callable[[bytes], None],
        token: Token | None,
        *,
        level: str = "",
        listening: Raw | None = None,
        hint: Callable[[bytes, str], None] | None = None,
        modern: bool = False,
    ) -> None:
        self._emit = emit
        self._token = token
        self._levels = LEVELS[LEVELS.index(level) :] if level else ()
        self._listening = listening
        self._hint = hint
        self._modern = modern
        self._last = -math.inf

    def __call__(self, message: Raw) -> None:
        """Never raises: it is called from the loop that serves every call."""
        try:
            passed = self._translated(message)
        except (*UNREADABLE, KeyError, TypeError) as error:
            log.warning("event cannot be read and was dropped", reason=str(error)[:200])
            return
        if passed is not None:
            self._emit(passed)

    def _translated(self, message: Raw) -> bytes | None:
        parts = members(message)
        if "id" in parts or "method" not in parts:
            return None
        method, params = decode(parts["method"]), parts.get("params", Raw(b"{}"))
        if method == PROGRESS:
            return self._relabelled(params)
        if method == LOGGED:
            return bytes(message) if _line.decode(params).level in self._levels else None
        if SUBSCRIPTION.encode() in bytes(message):
            self._tag(method, params)
            return None
        return None if self._modern and method in STANDING else bytes(message)

    def _tag(self, method: str, params: Raw) -> None:
        if self._listening is None or self._hint is None:
            return
        inner = members(params)
        meta = {**members(inner["_meta"]), SUBSCRIPTION: self._listening}
        self._hint(notice_bytes(method, raw({**inner, "_meta": meta})), about(method, params))

    def _relabelled(self, params: Raw) -> bytes | None:
        if self._token is None or (step := _step.decode(params).progress) <= self._last:
            return None
        self._last = step
        return notice_bytes(PROGRESS, raw({**members(params), TOKEN: self._token}))
