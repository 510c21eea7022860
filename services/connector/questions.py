"""What a legacy server asks of its client while it works: elicitation, sampling, roots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Raw

from libs.common import codec

UNKNOWN, INVALID, INTERNAL = -32601, -32602, -32603
"""Codes of JSON-RPC: what a client says that cannot answer such a question, not in this form, or not now."""

Id = int | str | float | None
"""The id of a JSON-RPC request."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request of the server to its client; to be answered once, by `answer` or `refuse`."""

    id: Id
    method: str
    message: Raw
    """The whole request, raw."""
    reply: Callable[[bytes], None]

    def answer(self, result: Raw) -> None:
        """Send the result; dropped if the session has ended."""
        self.reply(codec.encode({"jsonrpc": "2.0", "id": self.id, "result": result}))

    def refuse(self, code: int, message: str) -> None:
        """Send an error; dropped if the session has ended."""
        self.fail(codec.raw({"code": code, "message": message}))

    def fail(self, error: Raw) -> None:
        """Send an error as the client worded it."""
        self.reply(codec.encode({"jsonrpc": "2.0", "id": self.id, "error": error}))


Asked = Callable[[Question], None]
"""Told of a question. Must not block; sees to it that it is answered or refused."""


def decline(question: Question) -> None:
    """Refuse a question that belongs to no client who could answer it."""
    question.refuse(
        UNKNOWN, f'no client answers "{question.method}" here: none that declared it is known to wait'
    )
