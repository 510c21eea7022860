"""Where traces, metrics and logs are sent, and how many traces. Times in seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from libs.common.config.table import Table
from libs.common.config.values import (
    Count,
    FilePath,
    Flag,
    HeaderName,
    HeaderValue,
    HostName,
    HttpUrl,
    Text,
    Timeout,
    expected,
)

Signal = Literal["tracing", "metrics", "logs"]
PORTS = {"grpc": 4317, "http": 4318}
"""Where collectors listen (OTLP 1.0)."""
_RESERVED = "grpc-"
_FIELDS = {"name", "value"}


def _listed(value: Any) -> Any:
    """Headers as a table, also where they are given as an array of names and values."""
    if not isinstance(value, list):
        return value
    table: dict[str, Any] = {}
    for each in value:
        if not isinstance(each, dict) or set(each) != _FIELDS or not isinstance(each["name"], str):
            raise expected('a table of headers, or an array of { name = "…", value = "…" }')
        if each["name"] in table:
            raise expected("each header once")
        table[each["name"]] = each["value"]
    return table


def _unreserved(value: Any) -> Any:
    table = _listed(value)
    for name in table if isinstance(table, dict) else ():
        if str(name).lower().startswith(_RESERVED):
            raise expected(f'other headers: names that begin with "{_RESERVED}" belong to gRPC')
    return table


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise expected("a share from 0.0 to 1.0")
    return float(value)


Headers = Annotated[dict[HeaderName, HeaderValue], BeforeValidator(_listed)]
GrpcHeaders = Annotated[dict[HeaderName, HeaderValue], BeforeValidator(_unreserved)]
Share = Annotated[float, BeforeValidator(_share)]
Bound = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]


class GrpcTls(Table):
    """How the collector's certificate is judged, and our own one for it. PEM files."""

    domain_name: HostName | None = None
    key: FilePath | None = None
    cert: FilePath | None = None
    ca: FilePath | None = None


class Grpc(Table):
    """What only OTLP over gRPC has."""

    headers: GrpcHeaders = Field(default_factory=dict)
    tls: GrpcTls | None = None


class Http(Table):
    """What only OTLP over HTTP has."""

    headers: Headers = Field(default_factory=dict)


class BatchExport(Table):
    """How much waits to be sent, and for how long; what finds no room is dropped and counted."""

    scheduled_delay: Timeout = 5.0
    max_queue_size: Count = 2048
    max_export_batch_size: Count = 512
    max_concurrent_exports: Count = 1


class Otlp(Table):
    """One collector."""

    enabled: Flag = False
    endpoint: HttpUrl | None = None
    protocol: Literal["grpc", "http"] = "grpc"
    timeout: Timeout = 60.0
    batch_export: BatchExport = BatchExport()
    grpc: Grpc = Grpc()
    http: Http = Http()

    @property
    def url(self) -> str:
        """The endpoint, or the usual port of this machine."""
        return self.endpoint or f"http://localhost:{PORTS[self.protocol]}"

    def under(self, general: Otlp) -> Otlp:
        """This, with what it leaves out taken from `general`.

        Headers and TLS are for one collector: a block with an endpoint of its own takes neither over.
        """
        own = {name: getattr(self, name) for name in self.model_fields_set}
        if "batch_export" in own:
            batch = self.batch_export
            given = {name: getattr(batch, name) for name in batch.model_fields_set}
            own["batch_export"] = general.batch_export.model_copy(update=given)
        if "endpoint" in own:
            own = {"grpc": self.grpc, "http": self.http, **own}
        return general.model_copy(update=own)


class Exporters(Table):
    """The ways out."""

    otlp: Otlp = Otlp()


class Exported(Table):
    """A signal that may go another way than the others."""

    exporters: Exporters | None = None


class Collect(Table):
    """How much one span may hold; of what is more, the number is told."""

    max_events_per_span: Bound = 128
    max_attributes_per_span: Bound = 128
    max_links_per_span: Bound = 128
    max_attributes_per_event: Bound = 128
    max_attributes_per_link: Bound = 128


class Propagation(Table):
    """Which contexts of clients our traces go on with."""

    trace_context: Flag = True
    aws_xray: Flag = False


class Tracing(Exported):
    """How many requests are traced, and what a trace holds."""

    sampling: Share = 0.15
    parent_based_sampler: Flag = False
    collect: Collect = Collect()
    propagation: Propagation = Propagation()


class Telemetry(Table):
    """What operators see in tools of their own; nothing unless an exporter is enabled."""

    service_name: Text | None = None
    resource_attributes: dict[str, Text] = Field(default_factory=dict)
    exporters: Exporters = Exporters()
    tracing: Tracing = Tracing()
    metrics: Exported = Exported()
    logs: Exported = Exported()

    def otlp(self, signal: Signal) -> Otlp | None:
        """Where a signal goes, None if nowhere. Its own block comes first, then the one of all signals."""
        table: Exported = getattr(self, signal)
        general = self.exporters.otlp
        found = general if table.exporters is None else table.exporters.otlp.under(general)
        return found if found.enabled else None
