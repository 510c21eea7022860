"""What exists and who holds it: the values of the KV buckets `nexus-catalog` and `nexus-servers`."""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

from libs.common.errors import NULL

State = Literal["starting", "ready", "failed", "standby", "stopped"]


class Tool(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The fields of a tool definition the gateway reads; the rest stays in its raw form."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: Raw = NULL
    output_schema: Raw = NULL
    annotations: Raw = NULL


class Hint(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How long a server allows a list to be kept, and for whom (MCP 2026-07-28, Caching)."""

    ttl_ms: int = 0
    """Milliseconds."""
    cache_scope: str = "private"


class Listing(Struct, frozen=True, omit_defaults=True):
    """Everything one server listed, raw and whole: one value of `nexus-catalog`."""

    server: str
    digest: str
    """SHA-256 over the lists: two workers that saw the same lists agree on it."""
    tools: tuple[Raw, ...] = ()
    prompts: tuple[Raw, ...] = ()
    resources: tuple[Raw, ...] = ()
    templates: tuple[Raw, ...] = ()
    version: str = ""
    """The MCP revision negotiated with the server."""
    capabilities: Raw = Raw(b"{}")
    info: Raw = NULL
    """Its `serverInfo`."""
    instructions: str = ""
    hints: dict[str, Hint] = {}
    """By the member of the result that holds the list, for lists that came with one."""


class Held(Struct, frozen=True, omit_defaults=True):
    """One server as one worker sees it."""

    state: State
    since: float
    """Seconds since the epoch."""
    tools: int = 0
    error: str = ""
    """Why it is not ready: a sentence a caller may see."""
    detail: str = ""
    """What else operators should know, e.g. the last words of the child."""
    restarts: int = 0
    kind: str = ""
    back_at: float = 0.0
    """When a server that was ready before it failed is started again, seconds since the epoch; else 0."""


class Worker(Struct, frozen=True, omit_defaults=True):
    """A live connector: one value of `nexus-servers`, put again every second, gone when it expires."""

    worker: str
    servers: dict[str, Held] = {}
    draining: bool = False
