"""One span under way: what it is told, and the context that the next hop gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, Tracer

from libs.common.errors import NexusError
from libs.common.telemetry import current

Value = str | int | float | bool
Attributes = Mapping[str, Value]
KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Span:
    """A span of OpenTelemetry. `own` is its context, as `Trace.own` carries it."""

    __slots__ = ("_span", "_tracer", "own")

    def __init__(self, span: trace.Span, tracer: Tracer) -> None:
        context = span.get_span_context()
        self._span = span
        self._tracer = tracer
        self.own = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    def put(self, attributes: Attributes) -> None:
        """Attributes, those known already among them."""
        self._span.set_attributes(attributes)

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Something that happened now."""
        self._span.add_event(name, attributes)

    def child(
        self,
        name: str,
        kind: str = "internal",
        attributes: Attributes | None = None,
        start: int | None = None,
    ) -> Span:
        """A span below this one; `start` in nanoseconds since the epoch."""
        return begin(self._tracer, self.own, name, kind, attributes, start=start)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, kind: str) -> None:
        """It failed: `kind` is the class of error. No text of anybody's goes out: it may hold anything."""
        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)

    def refuse(self, error: NexusError) -> None:
        """It failed with a JSON-RPC error (semantic conventions for MCP)."""
        failure = error.failure()
        self.put({"rpc.response.status_code": str(failure.code), "nexus.executed": failure.executed})
        self.fail(str(failure.code))

    def end(self) -> None:
        self._span.end()

    @contextmanager
    def active(self) -> Iterator[None]:
        """What is inside is recorded here, and so are the errors that leave it; the span ends with it."""
        trace_token, span_token = current.TRACE.set(self.own), current.SPAN.set(self)
        try:
            yield
        except NexusError as error:
            self.refuse(error)
            raise
        except Exception as error:
            self.fail(type(error).__name__)
            raise
        except BaseException:
            self.fail("cancelled")
            raise
        finally:
            current.SPAN.reset(span_token)
            current.TRACE.reset(trace_token)
            self.end()


def begin(
    tracer: Tracer,
    own: str,
    name: str,
    kind: str = "internal",
    attributes: Attributes | None = None,
    *,
    start: int | None = None,
    links: tuple[str, ...] = (),
) -> Span:
    """A span below the one that `own` names, in another process or this one; below none if it is empty."""
    parent = trace.NonRecordingSpan(_context(own)) if own else trace.INVALID_SPAN
    seen = [Link(_context(each)) for each in links]
    around = trace.set_span_in_context(parent, Context())
    span = tracer.start_span(name, around, KINDS[kind], attributes, seen, start, record_exception=False)
    return Span(span, tracer)


def _context(own: str) -> SpanContext:
    return SpanContext(int(own[3:35], 16), int(own[36:52], 16), is_remote=True, trace_flags=_SAMPLED)
