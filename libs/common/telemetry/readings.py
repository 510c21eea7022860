"""The meters of this process, read on its event loop at fixed times, as OTLP has them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from libs.common.meters import STARTED, Reading, collect
from libs.common.meters.cells import Series

_SINCE = int(STARTED * 1e9)
_CUMULATIVE = AggregationTemporality.CUMULATIVE


class Snapshot(NamedTuple):
    """What all meters said at one moment, in nanoseconds since the epoch."""

    at: int
    readings: list[Reading]


class Readings:
    """Reads every `interval` seconds, until it is stopped; begun on the loop that the meters belong to."""

    def __init__(self, add: Callable[[Snapshot], None], interval: float) -> None:
        self._add = add
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(interval, self._tick)

    def stop(self) -> None:
        """Read once more, and no more."""
        self._timer.cancel()
        self._read()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._interval, self._tick)
        self._read()

    def _read(self) -> None:
        self._add(Snapshot(time.time_ns(), collect()))


def shaped(resource: Resource, scope: str) -> Callable[[Sequence[Snapshot]], MetricsData]:
    """What makes the newest of some snapshots one request; older ones say nothing that it does not."""
    owner = InstrumentationScope(scope)

    def shape(batch: Sequence[Snapshot]) -> MetricsData:
        at, readings = batch[-1]
        metrics = [
            Metric(each.name, each.about, _UNITS.get(each.unit, each.unit), _data(each, at))
            for each in readings
        ]
        return MetricsData([ResourceMetrics(resource, [ScopeMetrics(owner, metrics, "")], "")])

    return shape


_UNITS = {"": "1"}


def _data(reading: Reading, at: int) -> Sum | Gauge | Histogram:
    match reading.kind:
        case "counter":
            return Sum(list(_numbers(reading, at)), _CUMULATIVE, is_monotonic=True)
        case "gauge":
            return Gauge(list(_numbers(reading, at)))
        case "histogram":
            return Histogram([_spread(reading, series, at) for series in reading.series], _CUMULATIVE)


def _numbers(reading: Reading, at: int) -> Iterator[NumberDataPoint]:
    for series in reading.series:
        yield NumberDataPoint(_attributes(reading, series), _SINCE, at, series.value)


def _spread(reading: Reading, series: Series, at: int) -> HistogramDataPoint:
    return HistogramDataPoint(
        _attributes(reading, series),
        _SINCE,
        at,
        count=sum(series.counts),
        sum=series.value,
        bucket_counts=series.counts,
        explicit_bounds=reading.bounds,
        min=None,  # type: ignore[arg-type]  # the message may leave it out, and we do not know it
        max=None,  # type: ignore[arg-type]  # the same
    )


def _attributes(reading: Reading, series: Series) -> dict[str, str]:
    labels = zip(reading.labels, series.labels, strict=True)
    return {name: value for name, value in labels if value}
