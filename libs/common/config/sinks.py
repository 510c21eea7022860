"""Where audit events are sent: a table for each sink, `audit.sinks.<name>`. Bytes and seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from libs.common.config.collectors import OtlpSink, SplunkSink, SyslogSink
from libs.common.config.receiver import SinkTable, SinkTls
from libs.common.config.report import Key, Mistake
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


KINDS = ("file", "stdout", "webhook", "splunk", "syslog", "otlp", "redis")
SINK_TAGS = tuple(f"<{kind}>" for kind in KINDS)
"""Tags of the kinds, as pydantic puts them into the place of a mistake."""


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{kind}>" if kind in KINDS else SINK_TAGS[0]


Sink = Annotated[
    Annotated[FileSink, Tag("<file>")]
    | Annotated[StdoutSink, Tag("<stdout>")]
    | Annotated[WebhookSink, Tag("<webhook>")]
    | Annotated[SplunkSink, Tag("<splunk>")]
    | Annotated[SyslogSink, Tag("<syslog>")]
    | Annotated[OtlpSink, Tag("<otlp>")]
    | Annotated[RedisSink, Tag("<redis>")],
    Discriminator(_kind),
]


def check_sinks(document: dict[str, Any]) -> Iterator[Mistake]:
    """Sinks of a kind that there is none of, and names that are none."""
    for name, sink in _sinks(document).items():
        key: Key = ("audit", "sinks", name)
        if not is_key_name(name):
            why = "is no name for a sink: 1 to 32 of a-z 0-9 _ -, a letter or digit first"
            yield Mistake(key, "", problem=why)
        if not _known(sink):
            yield Mistake((*key, "type"), " or ".join(f'"{each}"' for each in KINDS))
        tls = sink.get("tls") if isinstance(sink, dict) else None
        if isinstance(tls, dict) and ("client_cert_path" in tls) != ("client_key_path" in tls):
            missing = "client_key_path" if "client_cert_path" in tls else "client_cert_path"
            yield Mistake(
                (*key, "tls", missing), "", problem="is missing: a client certificate and its key go together"
            )


def sound_sinks(document: dict[str, Any]) -> dict[str, Any]:
    """The document without sinks of an unknown kind: of their other keys nothing can be said."""
    sinks = {name: sink for name, sink in _sinks(document).items() if _known(sink)}
    if len(sinks) == len(_sinks(document)):
        return document
    return {**document, "audit": {**document["audit"], "sinks": sinks}}


def _sinks(document: dict[str, Any]) -> dict[str, Any]:
    audit = document.get("audit")
    sinks = audit.get("sinks") if isinstance(audit, dict) else None
    return sinks if isinstance(sinks, dict) else {}


def _known(sink: Any) -> bool:
    return not isinstance(sink, dict) or sink.get("type", KINDS[0]) in KINDS
