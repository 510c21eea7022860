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
        UNKNOWN, f'no client answers "{question.method[:64]}" here: none that declared it is known to wait'
    )


class Audience:
    """The calls that one caller has under way on a session which nobody else uses."""

    __slots__ = ("_calls", "_last")

    def __init__(self) -> None:
        self._calls: dict[int, Asked] = {}
        self._last = 0

    def begin(self, asked: Asked) -> int:
        """A call is under way from now on, and hears questions by `asked`; its number, for `end`."""
        self._last = number = self._last + 1
        self._calls[number] = asked
        return number

    def end(self, number: int) -> None:
        del self._calls[number]

    def ask(self, question: Question) -> None:
        """Bring a question to the latest of them: whichever it is for, it is the same caller who answers."""
        if self._calls:
            self._calls[max(self._calls)](question)
        else:
            decline(question)
