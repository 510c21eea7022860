"""Who is at the door and what for: what the audit knows of a request, from its arrival to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import Raw

from libs.common.errors import NULL, Failure
from libs.common.identity import ANONYMOUS, Principal
from services.edge.headers import Headers
from services.edge.message import Message

LEFT = 499
"""The HTTP status of a request whose client did not wait for its answer; nobody is sent it."""
CLIENT_LEFT = "the client left"
CLIENT_CANCELLED = "the client cancelled the request"
"""What cancels a call, as the message of the cancellation."""
CLOSED = "nexus.closed"
"""In the scope of a request: tells whether its connection is over."""

Statuses = Callable[[Failure | None], int]


class Book(Protocol):
    """Where visits are written down."""

    def fingerprint(self, secret: str) -> str: ...

    def leave(self, visitor: Visitor) -> None: ...


class Nowhere:
    """For who need not be written down."""

    def fingerprint(self, secret: str) -> str:
        return ""

    def leave(self, visitor: Visitor) -> None:
        pass


def unknown() -> bool:
    """Of a connection that nobody watches: as far as one knows it is still there."""
    return False


def plain(failure: Failure | None) -> int:
    """The status that a failure itself names."""
    return 200 if failure is None else failure.http


@dataclass(slots=True)
class Visitor:
    """One request, or one message of several in a request. Its parts are filled in as they become known."""

    book: Book = field(default_factory=Nowhere)
    verb: str = ""
    path: str = ""
    server: str = ""
    """The server that something is asked of."""
    closed: Callable[[], bool] = unknown
    """Whether its connection is over."""
    status: Statuses = plain
    """The HTTP status of the answer: with this failure, or without one."""
    address: str = ""
    agent: str = ""
    headers: Headers = field(default_factory=dict)
    principal: Principal = ANONYMOUS
    token: str = ""
    """The fingerprint of the credentials."""
    fresh: bool = False
    """Whether the credentials were verified for this request, and not known from one before."""
    session: str = ""
    """The fingerprint of the session."""
    info: Raw = field(default_factory=lambda: NULL)
    """The `clientInfo` of the session."""
    message: Message | None = None
    facts: dict[str, Any] | None = None
    call: str = ""
    """The call that is made; before that, the one that it goes on with."""
    sent: bool = False
    """Whether a call is under way, so that nobody can prove that it was not executed."""
    failure: Failure | None = None
    """What it was answered with, if that was an error."""
    refused: bool = False
    """Whether it was answered with a tool result that says that nothing was run."""
    gone: bool = False
    cancelled: bool = False
    streamed: bool = False
    told: bool = False
    """Whether its end is written down already."""
    started: float = field(default_factory=time.perf_counter)

    def part(self, message: Message | None, status: int) -> Visitor:
        """The same visitor with one message of several, each of which is answered by itself."""
        return Visitor(
            self.book,
            self.verb,
            self.path,
            self.server,
            self.closed,
            lambda failure: status,
            self.address,
            self.agent,
            self.headers,
            self.principal,
            self.token,
            session=self.session,
            info=self.info,
            message=message,
        )

    def leave(self) -> None:
        """This is the end, if it was not before."""
        if not self.told:
            self.book.leave(self)

    def open(self, session: str) -> None:
        """A session begins or goes on."""
        self.session = self.book.fingerprint(session)

    def milliseconds(self) -> int:
        """Since it came."""
        return round((time.perf_counter() - self.started) * 1000)


_VISITOR: ContextVar[Visitor | None] = ContextVar("visitor", default=None)


def visitor() -> Visitor | None:
    """Who is being served; None for what the gateway does of its own accord."""
    return _VISITOR.get()


def welcome(visitor: Visitor) -> None:
    """Serve this one from now on, in this task and those it starts."""
    _VISITOR.set(visitor)
