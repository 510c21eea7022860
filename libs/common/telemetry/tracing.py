"""What a service makes spans with."""

from __future__ import annotations

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Tracer

from libs.common.config.telemetry import Tracing as Table
from libs.common.telemetry import spans
from libs.common.telemetry.current import spanned
from libs.common.telemetry.sampling import Sampler
from libs.common.telemetry.spans import Attributes, Span


class Ids(RandomIdGenerator):
    """Ids of traces and spans; a trace whose id is known already begins with that."""

    def __init__(self) -> None:
        self.trace = 0

    def generate_trace_id(self) -> int:
        return self.trace or super().generate_trace_id()


class Tracing:
    """Begins the spans of the requests that `sampler` wants to be recorded.

    `propagates`: whether servers get our context in place of the client's.
    """

    def __init__(self, tracer: Tracer, ids: Ids, table: Table) -> None:
        self._tracer = tracer
        self._ids = ids
        self.sampler = Sampler(table)
        self.propagates = table.propagation.trace_context or table.propagation.aws_xray

    def span(
        self,
        own: str,
        name: str,
        kind: str = "internal",
        attributes: Attributes | None = None,
        *,
        start: int | None = None,
        links: tuple[str, ...] = (),
    ) -> Span:
        """A span below that of `own`, or the first one of its trace; `start` in nanoseconds since the epoch.

        `links` are contexts, as in `traceparent`, that it has to do with as well.
        """
        below = spanned(own)
        self._ids.trace = 0 if below else int(own[3:35], 16)
        return spans.begin(
            self._tracer, own if below else "", name, kind, attributes, start=start, links=links
        )
