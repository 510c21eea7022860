"""Exporters of OTLP, by the configuration: gRPC or HTTP, with headers and TLS."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from libs.common.config.telemetry import GrpcTls, Otlp, Signal

PATHS: Mapping[Signal, str] = {"tracing": "/v1/traces", "metrics": "/v1/metrics", "logs": "/v1/logs"}
"""Of OTLP over HTTP (OTLP 1.0, Default HTTP paths)."""
_SIGNAL_PATH = re.compile(r"/v1/(?:traces|metrics|logs)/?\Z")


def exporter(signal: Signal, otlp: Otlp) -> Any:
    """The exporter of one signal. Raises `OSError` for files, `ValueError` and others for what they hold."""
    headers = {
        name.lower(): value.get_secret_value() for name, value in getattr(otlp, otlp.protocol).headers.items()
    }
    if otlp.protocol == "http":
        return _http(signal)(endpoint=http_url(signal, otlp.url), headers=headers, timeout=otlp.timeout)
    # gRPC would say on stderr that it does not follow into the child processes of a connector.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    return _grpc(signal)(
        endpoint=otlp.url, headers=tuple(headers.items()), timeout=otlp.timeout, **_security(otlp)
    )


def http_url(signal: Signal, url: str) -> str:
    """Where a signal is posted: its path behind the endpoint, unless that names one already."""
    return f"{_SIGNAL_PATH.sub('', url).rstrip('/')}{PATHS[signal]}"


def place(otlp: Otlp) -> str:
    """Host and port, fit for a log."""
    url = urlsplit(otlp.url)
    return url.hostname if url.port is None else f"{url.hostname}:{url.port}"  # type: ignore[return-value]  # checked


def _security(otlp: Otlp) -> dict[str, Any]:
    tls = otlp.grpc.tls
    if tls is None:
        return {}
    name = None if tls.domain_name is None else (("grpc.ssl_target_name_override", tls.domain_name),)
    return {"insecure": False, "credentials": _credentials(tls), "channel_options": name}


def _credentials(tls: GrpcTls) -> Any:
    import grpc

    return grpc.ssl_channel_credentials(_read(tls.ca), _read(tls.key), _read(tls.cert))


def _read(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()


def _http(signal: Signal) -> Any:
    match signal:
        case "tracing":
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            return OTLPSpanExporter
        case "metrics":
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

            return OTLPMetricExporter
        case "logs":
            from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

            return OTLPLogExporter


def _grpc(signal: Signal) -> Any:
    match signal:
        case "tracing":
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

            return OTLPSpanExporter
        case "metrics":
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

            return OTLPMetricExporter
        case "logs":
            from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

            return OTLPLogExporter
