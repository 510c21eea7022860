"""What the edge needs from the rest of the gateway, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from msgspec import Raw, Struct

from libs.common.identity import ANONYMOUS, Principal
from libs.common.messages.calls import ClientReply, Request
from libs.common.messages.catalog import Listing, State
from libs.common.messages.streams import MessagePosted
from services.edge.headers import Headers
from services.edge.streams import Header

OnEvent = Callable[[Raw], None]
"""Told of one JSON-RPC message that belongs to a call, whole and raw. Never blocks."""
Bus = Literal["connected", "reconnecting", "closed"]


class Gateway(Protocol):
    """The way to the other services."""

    async def request(self, message: Request, *, on_event: OnEvent | None = None) -> Raw:
        """The JSON-RPC `result` of one request. Cancelling the task cancels the call downstream.

        Ends by the message's deadline at the latest. Raises `NexusError`.
        """
        ...

    async def cancel_elsewhere(self, session: str, request_id: Raw, reason: str) -> None:
        """Tell every other replica that a legacy client cancelled its request."""
        ...

    async def reply_elsewhere(self, replica: str, reply: ClientReply) -> None:
        """Bring a legacy client's answer to the replica that asked."""
        ...

    async def post_elsewhere(self, replica: str, posted: MessagePosted) -> bytes | None:
        """Bring a message to the replica that holds its stream; what that says, None if nothing.

        Raises `BusUnavailable`.
        """
        ...


class Note(Struct, frozen=True, omit_defaults=True):
    """What a session's own token cannot say, because it came later."""

    level: str = ""
    """The log level that was set."""
    uris: tuple[str, ...] = ()
    """Resources that are followed."""


class ServerStatus(Struct, frozen=True):
    """One configured server, as all its workers together see it."""

    name: str
    state: State
    tools: int = 0
    since: float = 0.0
    """Seconds since the epoch."""
    error: str = ""
    """Why it is not ready: a sentence any caller may see."""
    detail: str = ""
    """What else operators should know."""
    workers: tuple[str, ...] = ()


class Catalog(Protocol):
    """What this replica knows without asking anybody."""

    def bus(self) -> Bus: ...

    def servers(self) -> Sequence[ServerStatus]:
        """Every configured server, sorted by name."""
        ...

    def names(self) -> Sequence[str]:
        """The names of all configured servers, sorted."""
        ...

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` whenever a server may list something else; returns what stops that."""
        ...

    def listing(self, server: str, principal: Principal = ANONYMOUS) -> Listing | None:
        """What a server last listed, to everybody or to this caller; None before its first start."""
        ...

    async def prepare(self, servers: Sequence[str], principal: Principal) -> None:
        """Return once it is known what these servers list to the caller, or after a few seconds."""
        ...

    def personal(self, principal: Principal) -> Sequence[Listing]:
        """What servers list to this caller and not to everybody."""
        ...

    def own(self, name: str, principal: Principal) -> str:
        """What its server calls a tool that is listed to this caller and not to everybody; else empty."""
        ...

    async def current(self) -> None:
        """Return once what other replicas were told counts here too; at once, almost always."""
        ...

    def noted(self, session: str) -> Note:
        """What a legacy client has asked for since its session began."""
        ...

    async def note(self, session: str, note: Note, ttl: float) -> None:
        """Remember it for `ttl` seconds; known here on return, elsewhere soon after."""
        ...

    def tombstoned(self, session: str) -> bool:
        """Whether a session was ended, on this replica or another."""
        ...

    async def bury(self, session: str, ttl: float) -> None:
        """End a session for `ttl` seconds; on return every replica knows. Raises `BusUnavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Visit:
    """A request before anybody knows who sends it."""

    headers: Headers
    route: str
    """The path that is asked for."""
    address: str = ""
    """The client's IP address."""
    trusted: bool = False
    """Whether it comes from a configured proxy."""


class Identify(Protocol):
    """Tells who sends a request. Raises `AuthRefused` for credentials that are no good."""

    async def __call__(self, visit: Visit) -> Principal: ...

    def challenge(self, route: str, scopes: tuple[str, ...], error: str) -> list[Header]:
        """What a client that is refused should be told, as headers."""
        ...


class Anonymous:
    """Everybody is nobody: for a gateway without authentication."""

    async def __call__(self, visit: Visit) -> Principal:
        return ANONYMOUS

    def challenge(self, route: str, scopes: tuple[str, ...], error: str) -> list[Header]:
        return []
