"""Sinks that speak the protocol of a product: Splunk, syslog, OpenTelemetry. Bytes and seconds."""

from __future__ import annotations

import re
import uuid
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from libs.common.config.receiver import SinkTable, SinkTls
from libs.common.config.values import (
    Bearer,
    Flag,
    HeaderName,
    HeaderValue,
    HttpUrl,
    Size,
    Text,
    Timeout,
    expected,
    is_deferred,
    split_url,
)

Facility = Literal[
    "kern", "user", "daemon", "auth", "syslog", "authpriv", "audit", "alert",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]  # fmt: skip

ACK_MAX = 45.0
"""Seconds; a batch is offered anew if nothing is known of it after a minute."""
PORTS = {"tls": 6514, "tcp": 601}
"""RFC 5425 §4.1; 601 is registered for syslog over TCP."""

_ELEMENT = re.compile(r"[!#-<>?A-\\^-~]{1,20}@[0-9.]{1,11}\Z")
_NAME = re.compile(r"[!-~]+\Z")


def _channel(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise expected("a GUID, such as `uuidgen` prints it") from None


def _acknowledged(seconds: float) -> float:
    if seconds > ACK_MAX:
        raise expected(f"a duration of at most {ACK_MAX:g} s")
    return seconds


def _target(text: str, info: ValidationInfo) -> str:
    if is_deferred(text, info):
        return text
    url = split_url(text)
    if url is None or url.scheme not in PORTS or url.path.strip("/") or url.query or url.username:
        raise expected(
            'the address of a receiver, such as "tls://siem.example.com:6514" or "tcp://10.0.0.5:601"'
        )
    return text


def _element(text: str) -> str:
    if not _ELEMENT.match(text):
        raise expected('a name and the number of an enterprise, such as "nexus@32473"')
    return text


def _printable(text: str) -> str:
    if not _NAME.match(text):
        raise expected("printable ASCII without spaces")
    return text


AckTimeout = Annotated[Timeout, AfterValidator(_acknowledged)]
Printable = Annotated[str, AfterValidator(_printable)]


class SplunkSink(SinkTable):
    """Splunk's HTTP Event Collector; with acknowledgement an event counts once the indexers have it."""

    type: Literal["splunk"]
    url: HttpUrl
    """With a path, requests go there and below it; without one, to `/services/collector`."""
    token: Bearer
    index: Text | None = None
    source: Text = "nexus"
    sourcetype: Text = "nexus:audit"
    host: Text | None = None
    acknowledge: Flag = True
    ack_timeout: AckTimeout = ACK_MAX
    channel: Annotated[str, AfterValidator(_channel)] | None = None
    timeout: Timeout = 10.0
    tls: SinkTls = SinkTls()


class SyslogSink(SinkTable):
    """RFC 5424 over TCP or TLS, framed by octet counting."""

    type: Literal["syslog"]
    url: Annotated[str, AfterValidator(_target)]
    format: Literal["json", "cef"] = "json"
    facility: Facility = "audit"
    app_name: Annotated[Printable, Field(max_length=48)] = "nexus"
    hostname: Annotated[Printable, Field(max_length=255)] | None = None
    structured_data_id: Annotated[str, AfterValidator(_element)] = "nexus@32473"
    max_message_size: Size = 64 * 2**10
    replay_size: Size = 4 * 2**20
    """What is written again where a connection was lost; a receiver's kernel holds about as much."""
    timeout: Timeout = 10.0
    tls: SinkTls = SinkTls()

    @property
    def target(self) -> tuple[str, int]:
        """Host and port."""
        url = urlsplit(self.url)
        return url.hostname or "", url.port or PORTS[url.scheme]

    @property
    def secure(self) -> bool:
        return self.url.startswith("tls://")


class OtlpSink(SinkTable):
    """Log records of OpenTelemetry, to a collector."""

    type: Literal["otlp"]
    endpoint: HttpUrl
    protocol: Literal["grpc", "http"] = "grpc"
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    service_name: Text = "nexus"
    timeout: Timeout = 10.0
    tls: SinkTls = SinkTls()
