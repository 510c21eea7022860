"""What a path offers to clients, the same for both eras of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec import Raw

from libs.common.errors import NULL
from libs.common.identity import Principal
from libs.common.messages.calls import Client
from libs.common.trace import NONE, Trace
from services.edge.gateway import OnEvent
from services.edge.headers import Headers


@dataclass(frozen=True, slots=True)
class Description:
    """How a surface introduces itself, in `initialize` and in `server/discover`."""

    capabilities: Raw
    info: Raw
    """Its `serverInfo`."""
    instructions: str = ""


@dataclass(slots=True)
class Ask:
    """One request of a client, freed of what belongs to its own hop."""

    method: str
    params: dict[str, Any]
    principal: Principal
    client: Client
    on_event: OnEvent
    progress: bool = False
    trace: Trace = NONE
    id: Raw = field(default_factory=lambda: NULL)
    """The JSON of the request's id."""
    headers: Headers = field(default_factory=dict)
    """All that came with it; what a server gets of them is `Settings.carried`."""


class Surface(Protocol):
    """One MCP endpoint. Sessions are bound to `route`."""

    @property
    def route(self) -> str: ...

    @property
    def server(self) -> str:
        """The one server that is behind it, as the path calls it; empty for all."""
        ...

    @property
    def logs(self) -> bool:
        """Whether log notifications of servers reach clients here."""
        ...

    @property
    def stands(self) -> bool:
        """Whether there is a GET stream for what belongs to no call."""
        ...

    @property
    def extensions(self) -> Mapping[str, Raw]:
        """Extensions that are carried here, with their settings; for modern clients only."""
        ...

    async def prepare(self, principal: Principal) -> None:
        """Learn what is listed to this caller alone, before anything is asked of it; bounded in time."""
        ...

    def describe(self, principal: Principal) -> Description:
        """What the caller may know of it. Raises `NexusError` if there is nothing to introduce."""
        ...

    def info(self) -> Raw | None:
        """The `serverInfo` for the `_meta` of results, if it is known."""
        ...

    def mirrored(self, tool: object, principal: Principal) -> Any | None:
        """The input schema of a tool that wants arguments repeated in `Mcp-Param-*` headers.

        None for any other, and for one that the caller may not see.
        """
        ...

    async def answer(self, ask: Ask) -> Raw:
        """The `result` of a request. Raises `NexusError`."""
        ...

    async def notify(
        self, method: str, params: dict[str, Any], principal: Principal, headers: Headers
    ) -> None:
        """Take a client's notification; one that means nothing here is dropped."""
        ...
