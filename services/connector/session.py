"""What every kind of downstream session promises, whatever it runs over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, Protocol

from msgspec import Raw, Struct

from libs.common.errors import NULL
from libs.common.messages.calls import EMPTY, Client
from services.connector.questions import Asked

Era = Literal["modern", "legacy"]
Params = dict[str, Raw]
"""The top-level members of `params`, their values untouched."""
NOTHING: Mapping[str, str] = MappingProxyType({})
Notice = Callable[[str, Raw], None]
"""Told of a notification that belongs to no call: its method and its whole raw message."""
EventSink = Callable[[Raw], None]
"""Told of a message that belongs to one call (progress), whole and raw. Must not block."""

LINE_MAX = 8 * 1024 * 1024
"""Bytes of one message from a downstream; a longer one fails its call, not the session."""


class Opened(Struct, frozen=True):
    """What the handshake told: from `server/discover` (modern) or `initialize` (legacy)."""

    era: Era
    version: str
    capabilities: Raw = EMPTY
    info: Raw = NULL
    instructions: str = ""


class Session(Protocol):
    """One downstream session. Opened once, closed once; never used again after `lost` is done.

    Errors: `NotSent` if the request's first byte provably did not leave, `DownstreamLost` if the session died
    while the call ran, `DeadlineExceeded` past `deadline`, `DownstreamError` for the server's own error,
    `ResultTooLarge` and `ResultInvalid` for an answer that cannot be passed on.
    """

    kind: str
    """`stdio`, `streamable-http` or `sse`."""
    lost: asyncio.Future[str]
    """Done, with a reason a reader can act on, when the session ended by itself."""

    async def open(self) -> Opened:
        """Start, shake hands. Raises `ServerUnavailable` with the reason; leaves nothing behind then."""
        ...

    async def call(
        self,
        method: str,
        params: Params,
        *,
        deadline: float,
        client: Client,
        on_event: EventSink | None = None,
        on_question: Asked | None = None,
        progress: bool = True,
        sent: Mapping[str, str] = NOTHING,
    ) -> Raw:
        """The raw `result` of one request. Cancelling the task tells the server to stop.

        `deadline` is absolute, seconds since the epoch. `client` is who asks, for servers that want to know.
        `on_event` hears what belongs to the call; with `progress` a token is minted, so that progress does.
        `on_question` hears what the server asks for its sake where that is beyond doubt, else it is refused.
        `sent` are headers of the client's request, for the rules of servers over HTTP.
        """
        ...

    async def notify(self, method: str, params: Params, sent: Mapping[str, str] = NOTHING) -> None:
        """Send one notification."""
        ...

    def learn(self, schemas: Mapping[str, Raw]) -> None:
        """Know the `inputSchema` of each tool: some transports repeat marked arguments in headers."""
        ...

    async def close(self) -> None:
        """End the session and everything it started; never raises, bounded in time."""
        ...
