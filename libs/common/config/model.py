"""The configuration of the gateway as frozen values: every key, its type and its default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Discriminator,
    Field,
    SecretStr,
    Tag,
)

from libs.common.config.access import Access, ToolAccess, rules_of
from libs.common.config.audit import Audit
from libs.common.config.auth import KINDS, Auth, Delegated
from libs.common.config.browsers import Cors, Csrf
from libs.common.config.headers import RULE_TAGS, HeaderRule, forwarded
from libs.common.config.identity import ApiKeys, ClientIdentification, ClientIp, OAuth
from libs.common.config.limits import RateLimits, ServerRates
from libs.common.config.sinks import SINK_TAGS
from libs.common.config.table import Table
from libs.common.config.telemetry import Telemetry
from libs.common.config.values import (
    Address,
    BusUrl,
    Command,
    Count,
    Duration,
    FilePath,
    Flag,
    HostName,
    HttpUrl,
    Instances,
    Listen,
    Network,
    Origin,
    Route,
    SealKey,
    Size,
    Timeout,
    Variable,
    expected,
    key_bytes,
)
from libs.common.policy import Policy

Sharing = Literal["shared", "per-principal", "per-session"]
Keeping = Sharing | Literal["per-token"]
"""Whose a session with a server is; each token has its own where the server gets tokens of callers."""
Era = Literal["auto", "modern", "legacy"]


class ServerTls(Table):
    """Certificate of our own listeners, PEM."""

    certificate: FilePath
    key: FilePath


class Health(Table):
    """Where liveness is answered; `listen` moves it to a listener of its own."""

    enabled: Flag = True
    path: Route = "/health"
    listen: Listen | None = None

    @property
    def alone(self) -> bool:
        """Whether there is a listener of its own."""
        return self.enabled and self.listen is not None


class Metrics(Table):
    """Prometheus text, where health is answered."""

    enabled: Flag | None = None
    """By default it is there where health has a listener of its own."""
    path: Route = "/metrics"


class Server(Table):
    """The edge's own listener. Sizes in bytes, times in seconds."""

    listen_address: Listen = Address("127.0.0.1", 8000)
    tls: ServerTls | None = None
    health: Health = Health()
    metrics: Metrics = Metrics()
    max_body_size: Size = 4 * 2**20
    allowed_hosts: tuple[HostName, ...] = ()
    allowed_origins: tuple[Origin, ...] = ()
    drain_timeout: Duration = 30.0
    cors: Cors | None = None
    csrf: Csrf = Csrf()
    max_connections: Count = 10_000
    max_connections_per_ip: Count = 2_000
    oauth: OAuth | None = None
    api_keys: ApiKeys = ApiKeys()
    client_identification: ClientIdentification = ClientIdentification()
    client_ip: ClientIp = ClientIp()
    trusted_proxies: tuple[Network, ...] = ()
    rate_limits: RateLimits | None = None
    """Without it the limits of servers hold, each router counting its share of them."""

    @property
    def measured(self) -> bool:
        """Whether metrics are answered."""
        return self.health.alone if self.metrics.enabled is None else self.metrics.enabled


class HttpTls(Table):
    """How a downstream's certificate is judged, and our own one for it. PEM files."""

    verify_certs: Flag = True
    accept_invalid_hostnames: Flag = False
    root_ca_cert_path: FilePath | None = Field(
        default=None, validation_alias=AliasChoices("root_ca_cert_path", "ca_bundle")
    )
    client_cert_path: FilePath | None = None
    client_key_path: FilePath | None = None


class StderrFile(Table):
    """A file that a child's standard error is appended to."""

    file: FilePath


Stream = Literal["null", "inherit", "pipe"]


def _stderr(value: Any) -> Any:
    if (
        isinstance(value, dict)
        and set(value) == {"file"}
        and value["file"]
        and isinstance(value["file"], str)
    ):
        return StderrFile(file=Path(value["file"]))
    if isinstance(value, StderrFile) or value in ("null", "inherit", "pipe"):
        return value
    said = '"null", "inherit", "pipe" or { file = "/path/to/log" }'
    raise expected(said, "null", "inherit", "pipe")


class Downstream(Access):
    """What a server of either kind may set. Times in seconds."""

    name: str
    tools: dict[str, ToolAccess] = Field(default_factory=dict)
    """Rules for single tools, by name or pattern."""
    era: Era = "auto"
    timeout: Timeout | None = None
    """Deadline of one call; None takes `mcp.call_timeout`."""
    start_timeout: Timeout = 30.0
    sharing: Sharing = "shared"
    """Whose a session is."""
    max_sessions: Count = 64
    """Sessions of callers that one connector keeps, where they are not shared."""
    rate_limits: ServerRates | None = None

    @property
    def keeping(self) -> Keeping:
        return self.sharing


class StdioServer(Downstream):
    """A child process that speaks MCP over its standard input and output."""

    cmd: Command
    env: dict[Variable, SecretStr] = Field(default_factory=dict)
    cwd: FilePath | None = None
    stderr: Annotated[Stream | StderrFile, BeforeValidator(_stderr)] = "null"
    instances: Instances = 1


class HttpServer(Downstream):
    """A server reached by Streamable HTTP or SSE; without `protocol` both are tried, in this order."""

    url: HttpUrl
    protocol: Literal["streamable-http", "sse"] | None = None
    message_url: HttpUrl | None = None
    auth: Auth | None = None
    tls: HttpTls = HttpTls()
    headers: tuple[HeaderRule, ...] = ()

    @property
    def keeping(self) -> Keeping:
        return "per-token" if isinstance(self.auth, Delegated) else self.sharing


def _kind(value: Any) -> str:
    stdio = "cmd" in value if isinstance(value, dict) else isinstance(value, StdioServer)
    return STDIO if stdio else HTTP


STDIO, HTTP = "<stdio>", "<http>"
"""Tags of the two kinds; pydantic puts them into the place of a mistake, where `findings` takes them out."""
TAGS = (STDIO, HTTP, *KINDS, *RULE_TAGS, *SINK_TAGS)

AnyServer = Annotated[
    Annotated[StdioServer, Tag(STDIO)] | Annotated[HttpServer, Tag(HTTP)],
    Discriminator(_kind),
]


class DownstreamCache(Table):
    """Sessions for tokens of callers: how many of a server one connector keeps, and for how long unused."""

    max_size: Count = 1000
    idle_timeout: Timeout = 600.0


class Mcp(Table):
    """The MCP endpoint and the servers behind it, sorted by name. Times in seconds."""

    enabled: Flag = True
    path: Route = "/mcp"
    enable_structured_content: Flag = True
    expose: Literal["search", "all"] = "search"
    pinned: tuple[str, ...] = ()
    call_timeout: Timeout = 60.0
    relist_interval: Duration = 300.0
    headers: tuple[HeaderRule, ...] = ()
    downstream_cache: DownstreamCache = DownstreamCache()
    servers: dict[str, AnyServer] = Field(default_factory=dict)


class Nats(Table):
    """The bus. The URL may carry a user and a password, and name several servers of a cluster."""

    url: BusUrl = SecretStr("nats://127.0.0.1:4222")
    replicas: Literal[1, 3, 5] = 1
    """Servers of the cluster that keep each bucket and stream."""


class Seal(Table):
    """Keys of the fleet: the first one seals, every one opens."""

    keys: tuple[SealKey, ...] = ()

    def decoded(self) -> tuple[bytes, ...]:
        """The keys, 32 bytes each, in their order."""
        return tuple(key_bytes(key) for key in self.keys)


class Config(Table):
    """One `nexus.toml`, checked as a whole."""

    server: Server = Server()
    mcp: Mcp = Mcp()
    nats: Nats = Nats()
    seal: Seal = Seal()
    audit: Audit = Audit()
    telemetry: Telemetry = Telemetry()

    def policy(self) -> Policy:
        """Who may what, as all servers together say."""
        closed = self.server.oauth is not None or self.server.api_keys.enabled
        delegated = self.delegated()
        rules = {
            name: rules_of(each, each.tools, delegated=name in delegated)
            for name, each in self.mcp.servers.items()
        }
        return Policy(rules, closed=closed)

    @property
    def limited(self) -> bool:
        """Whether limits are on: they are where any are given, unless switched off by name."""
        if self.server.rate_limits is not None:
            return self.server.rate_limits.enabled
        return any(server.rate_limits is not None for server in self.mcp.servers.values())

    def delegated(self) -> frozenset[str]:
        """The servers that get tokens of callers, as they are or exchanged."""
        return frozenset(name for name, each in self.mcp.servers.items() if each.keeping == "per-token")

    def forwarded(self) -> dict[str, frozenset[str]]:
        """The headers of clients that rules send on, lower-case, of servers that get any."""
        common = forwarded(self.mcp.headers)
        http = {name: each for name, each in self.mcp.servers.items() if isinstance(each, HttpServer)}
        names = {name: common | forwarded(each.headers) for name, each in http.items()}
        return {name: each for name, each in names.items() if each}
