"""A real receiver of OTLP over HTTP, that keeps all it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from tests.broker import free_port

T = TypeVar("T")


class Collector:
    """What has arrived, in its order."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.spans: list[Span] = []
        self.logs: list[LogRecord] = []
        self.metrics: list[Metric] = []
        self._news = asyncio.Event()

    def settings(self, *lines: str) -> str:
        """A table `telemetry` that sends everything here, soon."""
        own = ("enabled = true", 'protocol = "http"', f'endpoint = "{self.url}"', 'timeout = "5s"')
        batch = 'batch_export = { scheduled_delay = "50ms" }'
        return "\n".join(["[telemetry.exporters.otlp]", *own, batch, *lines, ""])

    async def until(self, enough: Callable[[], T], within: float = 10.0) -> T:
        """What `enough` gives, once that is true."""
        with anyio.fail_after(within):
            while not (found := enough()):
                self._news.clear()
                await self._news.wait()
        return found

    async def span(self, name: str, within: float = 10.0) -> Span:
        """The first span of this name."""
        found = await self.until(lambda: [each for each in self.spans if each.name == name], within)
        return found[0]

    def text(self) -> str:
        """All of it, to look for what must not be there."""
        return "\n".join(map(str, (*self.spans, *self.logs, *self.metrics)))

    async def keep(self, stream: AsyncIterator[T], kept: list[T]) -> None:
        async for each in stream:
            kept.append(each)
            self._news.set()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a port of its own."""
    port = free_port()
    settings = OtelTapHttpProtobufReceiverSettings(http_port=port)
    async with OtelTapHttpProtobufReceiver(settings) as receiver:
        collector = Collector(port)
        kept: Sequence[tuple[AsyncIterator[Any], list[Any]]] = (
            (receiver.stream_traces(), collector.spans),
            (receiver.stream_logs(), collector.logs),
            (receiver.stream_metrics(), collector.metrics),
        )
        tasks = [asyncio.create_task(collector.keep(stream, into)) for stream, into in kept]
        try:
            yield collector
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def attributes(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    """Attributes as a mapping."""
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)
