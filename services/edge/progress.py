"""Events of a call on their way to the client that asked for them."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from msgspec import DecodeError, Raw

from libs.common.codec import decode, members, raw
from services.edge.envelope import TOKEN, Token
from services.edge.respond import notice_bytes
from services.edge.results import SUBSCRIPTION

log = structlog.get_logger("edge")

PROGRESS = "notifications/progress"
LOGGED = "notifications/message"


class Relay:
    """Passes on what the client may see: its progress under its own token, logs only if it asked for them.

    Requests of the server are not carried: they are answered elsewhere. `listening` is the JSON of the id of
    a `subscriptions/listen` request, which notifications for it are tagged with.
    """

    __slots__ = ("_emit", "_listening", "_logs", "_token")

    def __init__(
        self,
        emit: Callable[[bytes], None],
        token: Token | None,
        *,
        logs: bool = False,
        listening: Raw | None = None,
    ) -> None:
        self._emit = emit
        self._token = token
        self._logs = logs
        self._listening = listening

    def __call__(self, message: Raw) -> None:
        """Never raises: it is called from the loop that serves every call."""
        try:
            passed = self._translated(message)
        except (DecodeError, KeyError) as error:
            log.warning("event is not JSON-RPC and was dropped", reason=str(error)[:200])
            return
        if passed is not None:
            self._emit(passed)

    def _translated(self, message: Raw) -> bytes | None:
        parts = members(message)
        if "id" in parts or "method" not in parts:
            return None
        method = decode(parts["method"])
        if method == PROGRESS:
            return None if self._token is None else self._relabelled(parts.get("params", Raw(b"{}")))
        if SUBSCRIPTION.encode() in bytes(message):
            return None if self._listening is None else self._tagged(method, parts["params"], self._listening)
        return bytes(message) if method != LOGGED or self._logs else None

    @staticmethod
    def _tagged(method: str, params: Raw, listening: Raw) -> bytes:
        inner = members(params)
        meta = {**members(inner["_meta"]), SUBSCRIPTION: listening}
        return notice_bytes(method, raw({**inner, "_meta": meta}))

    def _relabelled(self, params: Raw) -> bytes:
        return notice_bytes(PROGRESS, raw({**members(params), TOKEN: self._token}))
