"""Questions of servers to legacy clients: asked on a call's own stream, answered by a POST of the client's.

That POST may reach any replica; the question's id names the one that waits.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from msgspec import Raw, Struct

from libs.common.codec import encode
from libs.common.errors import NULL, DeadlineExceeded, Overloaded

OPEN_MAX = 1000
"""Questions of one replica that may wait for people at once."""
PATIENCE = 300.0
"""Seconds a person has to answer."""


class Reply(Struct, frozen=True):
    """What a client answered: `error` is `null` if it did answer."""

    result: Raw = NULL
    error: Raw = NULL


class _Request(Struct):
    id: str
    method: str
    params: Raw
    jsonrpc: str = "2.0"


class Questions:
    """The open questions of this replica. Each belongs to one session, and only that may answer it."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._open: dict[tuple[str, str], asyncio.Future[Reply]] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def ask(self, session: str, method: str, params: Raw, emit: Callable[[bytes], None]) -> Reply:
        """Emit the request and wait for the answer. Raises `DeadlineExceeded` after 300 s."""
        if len(self._open) >= OPEN_MAX:
            raise Overloaded("too many questions wait for an answer; try again later")
        token = secrets.token_hex(8)
        key = (session, token)
        answered = self._open[key] = asyncio.get_running_loop().create_future()
        try:
            emit(encode(_Request(f"{self.replica}.{token}", method, params)))
            async with asyncio.timeout(PATIENCE):
                reply: Reply = await answered
                return reply
        except TimeoutError:
            raise DeadlineExceeded(f"the client did not answer {method} within {PATIENCE:g} s") from None
        finally:
            del self._open[key]

    def settle(self, session: str, token: str, reply: Reply) -> bool:
        """Whether a question of that session was waiting for this."""
        waiting = self._open.get((session, token))
        if waiting is None or waiting.done():
            return False
        waiting.set_result(reply)
        return True


def addressed(request_id: object) -> tuple[str, str] | None:
    """The replica and the token in the id of a question of ours; None for any other id."""
    if not isinstance(request_id, str) or not request_id.isascii():
        return None
    replica, dot, token = request_id.partition(".")
    ours = dot and replica.isalnum() and token.isalnum() and len(request_id) < 64
    return (replica, token) if ours else None
