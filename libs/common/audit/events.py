"""What the gateway tells an auditor: the vocabulary of events, and what a caller fills in. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

from libs.common.errors import Executed
from libs.common.identity import ANONYMOUS, Principal, tenant_token

Class = Literal["api_activity", "authentication", "detection_finding", "application_lifecycle"]
"""Classes of OCSF 1.8.0: 6003, 3002, 2004 and 6002."""

Code = Literal[
    "mcp.tool.call.requested",
    "mcp.tool.call.completed",
    "mcp.request",
    "auth.accepted",
    "auth.refused",
    "tool.definition.changed",
    "server.started",
    "server.failed",
    "service.started",
    "service.stopped",
    "audit.gap",
    "audit.checkpoint",
]
Decision = Literal["", "allowed", "denied"]
Transport = Literal["none", "ok", "failed", "aborted"]
"""How far a call came: never sent, answered, not answered, or its client left."""
ToolSaid = Literal["none", "ok", "error"]


class Kind(Struct, frozen=True):
    """Where a code stands in OCSF. Severities: 1 informational to 5 critical."""

    name: Class
    uid: int
    activity: int
    activity_name: str
    severity: int = 1

    @property
    def category(self) -> int:
        return self.uid // 1000

    @property
    def type_uid(self) -> int:
        return self.uid * 100 + self.activity


def _lifecycle(activity: int, name: str, severity: int = 1) -> Kind:
    return Kind("application_lifecycle", 6002, activity, name, severity)


_EXECUTE = Kind("api_activity", 6003, 99, "Execute")
KINDS: Mapping[Code, Kind] = {
    "mcp.tool.call.requested": _EXECUTE,
    "mcp.tool.call.completed": _EXECUTE,
    "mcp.request": Kind("api_activity", 6003, 99, "Request"),
    "auth.accepted": Kind("authentication", 3002, 1, "Logon"),
    "auth.refused": Kind("authentication", 3002, 1, "Logon", 3),
    "tool.definition.changed": Kind("detection_finding", 2004, 1, "Create", 4),
    "audit.gap": Kind("detection_finding", 2004, 1, "Create", 4),
    "server.started": _lifecycle(3, "Start"),
    "server.failed": _lifecycle(4, "Stop", 3),
    "service.started": _lifecycle(3, "Start"),
    "service.stopped": _lifecycle(4, "Stop"),
    "audit.checkpoint": _lifecycle(99, "Checkpoint"),
}


class Outcome(Struct, frozen=True):
    """What became of a request, layer by layer; `jsonrpc` is the code of an error, 0 without one."""

    transport: Transport = "none"
    jsonrpc: int = 0
    tool: ToolSaid = "none"
    executed: Executed = "no"

    @property
    def failed(self) -> str:
        """The first layer that failed, empty if none did."""
        if self.transport in ("failed", "aborted"):
            return self.transport if self.transport == "aborted" else "transport"
        if self.jsonrpc:
            return "jsonrpc"
        return "tool" if self.tool == "error" else ""


class Payload(Struct, frozen=True):
    """Arguments or a result without their content: size in bytes, a keyed digest, the names of members.

    `fields` are members an operator's rule allows, as text.
    """

    size: int
    digest: str
    keys: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened. Texts may come from anybody: they are cleaned and cut when it is written.

    `session` and `token` are fingerprints. Times are seconds since the epoch, durations milliseconds.
    """

    code: Code
    principal: Principal = ANONYMOUS
    tenant: str = ""
    app: str = ""
    """The name a client gives itself."""
    address: str = ""
    """Of the client; its principal's, if empty."""
    user_agent: str = ""
    path: str = ""
    session: str = ""
    token: str = ""
    trace: str = ""
    """A valid `traceparent`."""
    operation: str = ""
    """The JSON-RPC method."""
    server: str = ""
    tool: str = ""
    definition: str = ""
    """The digest of the tool's definition."""
    decision: Decision = ""
    rule: str = ""
    """Where in the configuration the decision was made."""
    limit: Mapping[str, str | int] | None = None
    """The limit that refused, as its error says."""
    status: int = 0
    """Of HTTP; 499 where the client left."""
    outcome: Outcome | None = None
    duration: int = 0
    args: Payload | None = None
    result: Payload | None = None
    call: str = ""
    """What `requested` and `completed` of one call share."""
    deadline: float = 0.0
    severity: int = 0
    """Of OCSF, 1 to 5; that of its code, if 0."""
    message: str = ""
    facts: Mapping[str, object] | None = None
    """What only events of this code have: JSON without floats."""

    @property
    def kind(self) -> Kind:
        return KINDS[self.code]

    @property
    def success(self) -> bool | None:
        """Whether what was asked for was done; None where that is not known yet."""
        if self.code in ("server.failed", "auth.refused") or self.decision == "denied":
            return False
        if self.outcome is not None:
            return not self.outcome.failed and self.status < 400
        return None if self.code == "mcp.tool.call.requested" else self.status < 400


Making = Callable[[], Event]
"""Puts an event together when it is written, which costs half as much where many are written together."""


def target_of(event: Event) -> str:
    """The last tokens of its subject: the class, and a token for the tenant if there is one."""
    name = KINDS[event.code].name
    return f"{name}.{tenant_token(event.tenant)}" if event.tenant else name
