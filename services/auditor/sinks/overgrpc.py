"""Log records to a collector over gRPC."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import grpc.aio
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)

from libs.common.config.collectors import OtlpSink
from libs.common.config.receiver import SinkTls
from libs.common.errors import ConfigError
from services.auditor.sinks.export import OPERATOR_WAIT, Refused
from services.auditor.sinks.sink import SinkDown

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
PORT = 4317
CLOSE_WITHIN = 1.0
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", 64 * 1024),
)
_OPERATOR = (
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
)


class OverGrpc:
    """OTLP/gRPC (OTLP 1.0); TLS where the endpoint begins with `https://`."""

    def __init__(self, table: OtlpSink) -> None:
        url = urlsplit(table.endpoint)
        host = f"[{url.hostname}]" if url.hostname and ":" in url.hostname else url.hostname
        self._target = f"{host}:{url.port or PORT}"
        self._timeout = table.timeout
        self._metadata = [(name.lower(), value.get_secret_value()) for name, value in table.headers.items()]
        self._credentials = _credentials(table.tls) if url.scheme == "https" else None
        self._channel: grpc.aio.Channel | None = None

    async def export(self, request: bytes) -> ExportLogsPartialSuccess:
        """See `Transport`."""
        call = self._opened().unary_unary(METHOD, response_deserializer=ExportLogsServiceResponse.FromString)
        try:
            answer = await call(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            said = f"{error.code().name}: {(error.details() or '')[:200]}"
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                raise Refused(said) from None
            raise SinkDown(said, OPERATOR_WAIT if error.code() in _OPERATOR else None) from None
        partial: ExportLogsPartialSuccess = answer.partial_success
        return partial

    async def close(self) -> None:
        """See `Transport`."""
        if self._channel is not None:
            await self._channel.close(CLOSE_WITHIN)
            self._channel = None

    def _opened(self) -> grpc.aio.Channel:
        if self._channel is None and self._credentials is not None:
            self._channel = grpc.aio.secure_channel(self._target, self._credentials, _OPTIONS)
        elif self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._target, _OPTIONS)
        return self._channel


def _credentials(tls: SinkTls) -> grpc.ChannelCredentials:
    """Raises `ConfigError` for a file that cannot be read, and for what gRPC cannot do."""
    if not tls.verify_certs:
        raise ConfigError("tls.verify_certs = false is not possible with gRPC: give tls.ca_cert_path instead")
    try:
        authorities = None if tls.ca_cert_path is None else tls.ca_cert_path.read_bytes() + _system()
        key = None if tls.client_key_path is None else tls.client_key_path.read_bytes()
        certificate = None if tls.client_cert_path is None else tls.client_cert_path.read_bytes()
    except OSError as error:
        raise ConfigError(f"tls of a sink: {error.filename} cannot be read: {error.strerror}") from error
    return grpc.ssl_channel_credentials(authorities, key, certificate)


def _system() -> bytes:
    """The authorities of the system, where OpenSSL has them in one file."""
    file = ssl.get_default_verify_paths().cafile
    return b"\n" + Path(file).read_bytes() if file else b""
