"""Spans as a real collector gets them over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from libs.common import telemetry
from libs.common.errors import ServerUnavailable
from libs.common.telemetry import current
from libs.common.telemetry.handle import Handle
from libs.common.telemetry.tracing import Tracing
from libs.common.trace import NONE, Trace
from tests.collector import Collector, attributes
from tests.libs.common.telemetry.tables import table

pytestmark = pytest.mark.anyio

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def started(collector: Collector, **keys: Any) -> tuple[Handle, Tracing]:
    handle = telemetry.begin(table(collector.url, **keys), "edge-1")
    assert handle.tracing is not None
    return handle, handle.tracing


def error_of(span: Span) -> Any:
    return attributes(span.attributes).get("error.type")


async def test_a_span_is_below_its_parent_here_and_in_other_processes(collector: Collector) -> None:
    handle, tracing = started(collector)
    own = tracing.sampler.decide(Trace(PARENT), {}).own
    with (first := tracing.span(own, "first", "server", {"a": 1})).active(), first.child("second").active():
        onward = current.TRACE.get()
    with tracing.span(onward, "third", "client").active():
        pass
    await handle.close()
    spans = [await collector.span(name) for name in ("first", "second", "third")]
    assert {span.trace_id.hex() for span in spans} == {PARENT[3:35]}
    assert spans[0].parent_span_id.hex() == PARENT[36:52]
    assert [span.parent_span_id for span in spans[1:]] == [span.span_id for span in spans[:2]]
    assert spans[0].attributes[0].value.int_value == 1


async def test_a_trace_that_begins_here_has_the_id_that_was_decided_on(collector: Collector) -> None:
    handle, tracing = started(collector)
    owns = [tracing.sampler.decide(NONE, {}).own for _ in range(3)]
    for number, own in enumerate(owns):
        tracing.span(own, f"root-{number}").end()
    await handle.close()
    spans = [await collector.span(f"root-{number}") for number in range(3)]
    assert [span.trace_id.hex() for span in spans] == [own[3:35] for own in owns]
    assert [span.parent_span_id for span in spans] == [b""] * 3


async def test_how_a_span_ended_is_told_without_anybodys_words(collector: Collector) -> None:
    handle, tracing = started(collector)
    own = tracing.sampler.decide(NONE, {}).own
    errors = {
        "refused": ServerUnavailable("s3cret"),
        "broken": ValueError("s3cret"),
        "left": asyncio.CancelledError(),
    }
    for name, error in errors.items():
        with pytest.raises(type(error)), tracing.span(own, name).active():
            raise error
    tracing.span(own, "fine").end()
    await handle.close()
    found = {name: await collector.span(name) for name in (*errors, "fine")}
    assert {name: error_of(span) for name, span in found.items()} == {
        "refused": "-31002",
        "broken": "ValueError",
        "left": "cancelled",
        "fine": None,
    }
    assert attributes(found["refused"].attributes)["nexus.executed"] == "no"
    assert found["fine"].status.code == Status.STATUS_CODE_UNSET
    assert "s3cret" not in collector.text()


@pytest.mark.parametrize("bound", [0, 2])
async def test_a_span_holds_no_more_than_is_configured(collector: Collector, bound: int) -> None:
    kinds = (
        "events_per_span",
        "attributes_per_span",
        "links_per_span",
        "attributes_per_event",
        "attributes_per_link",
    )
    handle, tracing = started(collector, tracing={"collect": {f"max_{kind}": bound for kind in kinds}})
    span = tracing.span(tracing.sampler.decide(NONE, {}).own, "full", links=(PARENT, PARENT, PARENT))
    span.put({f"a{number}": number for number in range(5)})
    for number in range(5):
        span.event("e", {f"a{each}": number for each in range(5)})
    span.end()
    await handle.close()
    found = await collector.span("full")
    assert (len(found.events), len(found.attributes), len(found.links)) == (bound, bound, bound)
    assert (found.dropped_events_count, found.dropped_attributes_count, found.dropped_links_count) == (
        5 - bound,
        5 - bound,
        3 - bound,
    )
    assert all(len(event.attributes) == bound for event in found.events)


async def test_services_of_one_process_share_it_and_the_last_one_sends_what_waits(
    collector: Collector,
) -> None:
    slow = {"batch_export": {"scheduled_delay": 60}}
    first, tracing = started(collector, otlp=slow)
    second, same = started(collector, otlp=slow)
    assert same is tracing
    tracing.span(tracing.sampler.decide(NONE, {}).own, "waits").end()
    await first.close()
    assert tracing.span(tracing.sampler.decide(NONE, {}).own, "goes on").own
    assert collector.spans == []
    await second.close()
    await collector.span("waits")


@pytest.mark.parametrize("signal", ["tracing", "logs", "metrics"])
async def test_a_signal_that_is_switched_off_is_not_sent(collector: Collector, signal: str) -> None:
    keys: dict[str, Any] = {signal: {"exporters": {"otlp": {"enabled": False}}}}
    handle = telemetry.begin(table(collector.url, **keys), "edge-1")
    assert (handle.tracing is None) is (signal == "tracing")
    await handle.close()
