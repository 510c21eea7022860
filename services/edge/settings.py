"""What the edge can be told: plain values, so that its parts know no configuration file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from libs.common.policy import Policy
from services.edge.address import NOBODY, Proxies
from services.edge.browsers import Cors
from services.edge.carried import carried
from services.edge.headers import Headers

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """The edge's share of the configuration; times are seconds, sizes bytes."""

    version: str
    """This gateway's own, told to clients."""
    mcp_path: str = "/mcp"
    structured_content: bool = True
    expose: Literal["search", "all"] = "search"
    """Whether the aggregate lists every tool, or only its own two and the pinned ones."""
    pinned: tuple[str, ...] = ()
    """Exposed names of tools that it lists in any case."""
    call_timeout: float = 60.0
    """From a request's arrival to its absolute deadline."""
    timeouts: Mapping[str, float] = field(default_factory=dict)
    """The same for single servers, where it differs."""
    max_body_size: int = 4 * MIB
    body_timeout: float = 30.0
    """For a request's whole body, however it is cut up."""
    allowed_hosts: frozenset[str] = frozenset()
    """Lower-case names clients may use in `Host`, beside `localhost` and IP addresses."""
    allowed_origins: frozenset[str] = frozenset()
    """Lower-case `scheme://host[:port]` of web pages that may call."""
    policy: Policy = field(default_factory=Policy)
    """Who may see and use what."""
    cors: Cors | None = None
    """Which pages of other origins may read answers; None leaves it to the same origin."""
    csrf: str | None = None
    """The header that every request needs, if any."""
    proxies: Proxies = NOBODY
    """Who may tell the address of a client."""
    session_ttl: float = 24 * 3600.0
    """Life of a legacy session; the client then initializes again."""
    listen_ttl: float = 3600.0
    """Life of a stream of notifications; its client then listens again."""
    keepalive: float = 15.0
    """Between two signs of life on a silent event stream."""
    write_timeout: float = 30.0
    """For a client to take the rest of its answer."""
    limited: bool = False
    """Whether limits look at where a request came from."""
    identified: bool = False
    """Whether it is configured which client calls."""
    groups: frozenset[str] = frozenset()
    """Groups that exist, as far as that is configured."""
    forwarded: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Headers of clients that servers get, lower-case, by server."""
    health_path: str | None = "/health"
    ready_path: str | None = "/ready"
    metrics_path: str | None = None

    def deadline(self, server: str = "") -> float:
        """The absolute deadline of a request that arrives now, seconds since the epoch."""
        return time.time() + self.timeouts.get(server, self.call_timeout)

    def carried(self, server: str, headers: Headers) -> Headers:
        """The part of a request's headers that goes on to `server`. Raises `InvalidRequest`."""
        names = self.forwarded.get(server)
        return {} if names is None else carried(names, headers)
