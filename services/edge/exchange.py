"""One HTTP request to an MCP path, from its arrival to its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw

from libs.common.errors import NULL, Failure
from libs.common.identity import ANONYMOUS, Principal
from services.edge.body import Receive, check_accept, check_type, parse_body, read_body
from services.edge.headers import Headers
from services.edge.message import Message, known_id, read_message
from services.edge.respond import transport_status
from services.edge.settings import Settings
from services.edge.streams import Answer
from services.edge.surface import Surface
from services.edge.visitor import Visitor


@dataclass(slots=True)
class Exchange:
    """What is known so far; `id` and `status` shape the error, should one come."""

    verb: str
    receive: Receive
    answer: Answer
    surface: Surface
    headers: Headers
    principal: Principal = ANONYMOUS
    address: str = ""
    """The client's IP address, as far as proxies are believed."""
    query: bytes = b""
    """What follows the `?` of the URL."""
    id: Raw = field(default_factory=lambda: NULL)
    status: Callable[[Failure], int] = transport_status
    unread: bool = True
    """Whether body bytes may still be on the wire; the connection is then not used again."""
    visitor: Visitor = field(default_factory=Visitor)
    """What the audit knows of it."""

    def answered(self, failure: Failure | None) -> int:
        """The HTTP status that was sent, or that will be: with `failure`, or without one."""
        if self.answer.streaming:
            return 200
        return self.answer.status or (200 if failure is None else self.status(failure))

    async def message(self, settings: Settings) -> Message:
        """The one JSON-RPC message of a POST. Raises `ProtocolError`, `ClientGone`."""
        message = self.visitor.message = read_message(await self.posted(settings))
        return message

    async def posted(self, settings: Settings) -> Any:
        """What was posted: any JSON. Raises `ProtocolError`, `ClientGone`."""
        check_accept(self.headers.get("accept"))
        return await self.body(settings)

    async def body(self, settings: Settings) -> Any:
        """The same, whatever form of answer the client takes."""
        headers = self.headers
        check_type(headers.get("content-type"), headers.get("content-encoding"))
        body = await read_body(self.receive, headers, settings.max_body_size, settings.body_timeout)
        self.unread = False
        parsed: Any = parse_body(body)
        self.id = known_id(parsed)
        return parsed
