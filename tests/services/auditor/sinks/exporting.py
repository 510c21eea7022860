"""Collectors of log records over HTTP and gRPC, that answer as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
Verdict = tuple[int, str]
"""How many records are rejected, and what is said."""


@dataclass
class Collector:
    """Keeps what it takes. `trouble` is asked before each request, by its number from 1."""

    url: str = ""
    records: list[LogRecord] = field(default_factory=list)
    requests: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    trouble: Callable[[int], str | int | None] = lambda number: None
    """A status, `stall`, `reset`, `page` (an answer that is none), or nothing."""
    judge: Callable[[list[str]], Verdict] = lambda uids: (0, "")
    """Of a whole request: what it rejects it does not keep, and does not name."""

    @property
    def uids(self) -> list[str]:
        return [uid_of(each) for each in self.records]

    def take(self, body: bytes) -> bytes:
        """What is answered to a request that is heard."""
        request = ExportLogsServiceRequest.FromString(body)
        records = [
            each for logs in request.resource_logs for scope in logs.scope_logs for each in scope.log_records
        ]
        rejected, said = self.judge([uid_of(each) for each in records])
        self.records += records[rejected:]
        answer = ExportLogsServiceResponse()
        answer.partial_success.rejected_log_records = rejected
        answer.partial_success.error_message = said
        encoded: bytes = answer.SerializeToString()
        return encoded

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/logs`."""
        body = await request.read()
        self.requests += 1
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        match self.trouble(self.requests):
            case int() as status:
                headers = {"Retry-After": "7"} if status in (429, 503) else {}
                return web.Response(status=status, headers=headers)
            case "stall":
                await asyncio.Event().wait()
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "page":
                return web.Response(text="<html>welcome</html>", content_type="text/html")
        return web.Response(body=self.take(body), content_type="application/x-protobuf")

    async def called(self, body: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """The method of gRPC."""
        self.requests += 1
        self.headers = {str(name): str(value) for name, value in context.invocation_metadata() or ()}
        match self.trouble(self.requests):
            case int() as status:
                code = next(each for each in grpc.StatusCode if each.value[0] == status)
                await context.abort(code, "said so")
            case "stall":
                await asyncio.Event().wait()
        return self.take(body)


def uid_of(record: LogRecord) -> str:
    """What two deliveries of one event have in common."""
    found: str = next(each.value.string_value for each in record.attributes if each.key == "log.record.uid")
    return found


@asynccontextmanager
async def over_http() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/v1/logs", collector.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


@asynccontextmanager
async def over_grpc(credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[Collector]:
    collector = Collector()
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(collector.called)
    service, _, name = METHOD[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    collector.url = f"{'http' if credentials is None else 'https'}://127.0.0.1:{port}"
    try:
        yield collector
    finally:
        await server.stop(None)
