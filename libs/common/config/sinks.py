"""Where audit events are sent: a table for each sink, `audit.sinks.<name>`. Bytes and seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from libs.common.config.report import Key, Mistake
from libs.common.config.table import Table
from libs.common.config.values import (
    Count,
    FilePath,
    Flag,
    HeaderName,
    HeaderValue,
    HttpUrl,
    Size,
    StorageUrl,
    Text,
    Timeout,
    is_key_name,
)

Class = Literal["api_activity", "authentication", "detection_finding", "application_lifecycle"]


class SinkTls(Table):
    """How a receiver's certificate is judged, and our own one for it. PEM files."""

    verify_certs: Flag = True
    ca_cert_path: FilePath | None = None
    """Trusted beside the system's authorities."""
    client_cert_path: FilePath | None = None
    client_key_path: FilePath | None = None


class SinkTable(Table):
    """What every sink may set."""

    classes: tuple[Class, ...] = ()
    """Only events of these; empty: of all."""
    max_tries: Count = 5
    """Rejections of one event until it is given up, and kept among the dead letters."""


class FileSink(SinkTable):
    """A file with one event a line, synced to disk before an event counts as delivered."""

    type: Literal["file"]
    path: FilePath
    max_size: Size = 100 * 2**20
    rotate_every: Timeout | None = None
    keep: Count = 10
    """Files that were rotated away."""


class StdoutSink(SinkTable):
    """Standard output of the auditor, one event a line."""

    type: Literal["stdout"]
    format: Literal["ocsf", "record"] = "ocsf"


class WebhookSink(SinkTable):
    """Batches by POST; any 2xx means that the whole batch was taken."""

    type: Literal["webhook"]
    url: HttpUrl
    format: Literal["ndjson", "json"] = "ndjson"
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    gzip: Flag = False
    timeout: Timeout = 10.0
    tls: SinkTls = SinkTls()


class RedisSink(SinkTable):
    """Pub/Sub: who listens at that moment hears of finished requests, and nobody else ever does."""

    type: Literal["redis"]
    url: StorageUrl
    channel: Text = "nexus:audit:mcp"
    timeout: Timeout = 2.0


KINDS = ("file", "stdout", "webhook", "redis")
SINK_TAGS = tuple(f"<{kind}>" for kind in KINDS)
"""Tags of the kinds, as pydantic puts them into the place of a mistake."""


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{kind}>" if kind in KINDS else SINK_TAGS[0]


Sink = Annotated[
    Annotated[FileSink, Tag("<file>")]
    | Annotated[StdoutSink, Tag("<stdout>")]
    | Annotated[WebhookSink, Tag("<webhook>")]
    | Annotated[RedisSink, Tag("<redis>")],
    Discriminator(_kind),
]


def check_sinks(document: dict[str, Any]) -> Iterator[Mistake]:
    """Sinks of a kind that there is none of, and names that are none."""
    audit = document.get("audit")
    sinks = audit.get("sinks") if isinstance(audit, dict) else None
    for name, sink in (sinks if isinstance(sinks, dict) else {}).items():
        key: Key = ("audit", "sinks", name)
        if not is_key_name(name):
            why = "is no name for a sink: 1 to 32 of a-z 0-9 _ -, a letter or digit first"
            yield Mistake(key, "", problem=why)
        kind = sink.get("type", KINDS[0]) if isinstance(sink, dict) else KINDS[0]
        if kind not in KINDS:
            yield Mistake((*key, "type"), " or ".join(f'"{each}"' for each in KINDS))
        tls = sink.get("tls") if isinstance(sink, dict) else None
        if isinstance(tls, dict) and ("client_cert_path" in tls) != ("client_key_path" in tls):
            missing = "client_key_path" if "client_cert_path" in tls else "client_cert_path"
            yield Mistake(
                (*key, "tls", missing), "", problem="is missing: a client certificate and its key go together"
            )
