"""Log records to a collector over HTTP, in protobuf."""

from __future__ import annotations

from urllib.parse import urlsplit

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)

from libs.common.config.collectors import OtlpSink
from services.auditor.sinks.export import OPERATOR_WAIT, Refused
from services.auditor.sinks.posting import Post
from services.auditor.sinks.sink import SinkDown
from services.auditor.sinks.tls import context

JUDGED = frozenset({400, 413, 422})
OPERATOR = frozenset({401, 403, 404, 405, 415})


class OverHttp:
    """OTLP/HTTP (OTLP 1.0). An endpoint without a path gets the usual one, `/v1/logs`."""

    def __init__(self, table: OtlpSink) -> None:
        bare = table.endpoint.rstrip("/")
        self._url = table.endpoint if urlsplit(bare).path else f"{bare}/v1/logs"
        headers = {name: value.get_secret_value() for name, value in table.headers.items()}
        headers["Content-Type"] = "application/x-protobuf"
        self._post = Post(headers, context(table.tls), table.timeout)

    async def export(self, request: bytes) -> ExportLogsPartialSuccess:
        """See `Transport`."""
        answer = await self._post.send(self._url, request)
        if answer.status in JUDGED:
            raise Refused(f"HTTP {answer.status}")
        if not 200 <= answer.status < 300:
            raise SinkDown(
                f"HTTP {answer.status}", OPERATOR_WAIT if answer.status in OPERATOR else answer.wait
            )
        try:
            said = ExportLogsServiceResponse.FromString(answer.body)
        except DecodeError:
            # Whatever says 200 to everything is no collector, and has kept nothing.
            raise SinkDown(f"HTTP {answer.status}, and not as a collector answers", OPERATOR_WAIT) from None
        partial: ExportLogsPartialSuccess = said.partial_success
        return partial

    async def close(self) -> None:
        """See `Transport`."""
        await self._post.close()
