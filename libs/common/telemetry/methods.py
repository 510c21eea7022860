"""Methods of MCP, as spans name them: what clients and servers make up is one method, `_OTHER`."""

from __future__ import annotations

from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder

from libs.common.codec import decoder

OTHER = "_OTHER"
METHODS = frozenset(
    [
        "initialize",
        "ping",
        "server/discover",
        "completion/complete",
        "logging/setLevel",
        "subscriptions/listen",
        "tools/list",
        "tools/call",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/get",
        "tasks/list",
        "tasks/result",
        "tasks/update",
        "tasks/cancel",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/message",
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/roots/list_changed",
        "notifications/tasks",
        "notifications/tasks/status",
        "notifications/elicitation/complete",
    ]
)


class _Step(Struct, frozen=True):
    progress: int | float | None = None
    total: int | float | None = None


class _Notice(Struct):
    method: str = ""
    params: _Step = _Step()


class _Result(Struct, rename="camel"):
    is_error: bool = False


_notice: Decoder[_Notice] = decoder(_Notice)
_result: Decoder[_Result] = decoder(_Result)


def named(method: str) -> str:
    """The method, if MCP has it."""
    return method if method in METHODS else OTHER


def failed(method: str, result: Raw) -> bool:
    """Whether a tool says in its result that it failed."""
    if method != "tools/call":
        return False
    try:
        return _result.decode(result).is_error
    except DecodeError:
        return False


def noticed(message: Raw) -> dict[str, str | int | float]:
    """What a span tells of a message on the way back: its method and how far the work is, no text."""
    try:
        notice = _notice.decode(message)
    except DecodeError:
        return {"mcp.method.name": OTHER}
    numbers = {"progress": notice.params.progress, "total": notice.params.total}
    known = {f"mcp.progress.{name}": value for name, value in numbers.items() if value is not None}
    return {"mcp.method.name": named(notice.method), **known}
