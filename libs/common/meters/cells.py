"""What is counted: numbers with labels, of which a family holds no more than its bound.

Everything happens on one event loop, so nothing is locked: a sum costs 0.06 µs, an observation 0.15 µs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Generic, Literal, TypeVar

from msgspec import Struct

SERIES_MAX = 1_000
"""Label sets of one family; what comes after shares one, all of whose labels are `OTHER`."""
OTHER = "other"
"""In the place of a name that nobody configured and no server listed."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of a duration."""

Kind = Literal["counter", "gauge", "histogram"]


class Series(Struct, frozen=True, array_like=True):
    """One label set at one moment. An empty label is one that is not there."""

    labels: tuple[str, ...]
    value: float
    """Of a histogram: the sum of all that was observed."""
    counts: tuple[int, ...] = ()
    """Of a histogram: observations in each bucket alone, the last one without an upper bound."""


class Sum:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1) -> None:
        self.value += amount

    def read(self, labels: tuple[str, ...]) -> Series:
        return Series(labels, self.value)


class Level(Sum):
    """A number as it is now; also of a total that something else keeps."""

    __slots__ = ()

    def set(self, value: float) -> None:
        self.value = float(value)


class Spread:
    """How many observations fell under each bound."""

    __slots__ = ("_bounds", "counts", "value")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.value = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.value += value

    def read(self, labels: tuple[str, ...]) -> Series:
        return Series(labels, self.value, tuple(self.counts))


C = TypeVar("C", Sum, Level, Spread)


class Family(Generic[C]):
    """All series of one name, which is that of OTLP: `mcp.tool.call.duration`."""

    def __init__(
        self,
        cell: Callable[[], C],
        kind: Kind,
        name: str,
        about: str,
        labels: tuple[str, ...] = (),
        unit: str = "",
    ) -> None:
        self.kind = kind
        self.name = name
        self.about = about
        self.labels = labels
        self.unit = unit
        self._cell: Callable[[], C] = cell
        self._cells: dict[tuple[str, ...], C] = {}

    def __len__(self) -> int:
        return len(self._cells)

    def cell(self, *values: str) -> C:
        """The number for these values of the labels, in their order; keep it where it is needed often."""
        found = self._cells.get(values)
        return self._new(values) if found is None else found

    def _new(self, values: tuple[str, ...]) -> C:
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {', '.join(self.labels) or '(none)'}")
        if len(self._cells) >= SERIES_MAX:
            values = (OTHER,) * len(values)
        return self._cells.setdefault(values, self._cell())

    def clear(self) -> None:
        """Forget every series: for what is told anew each time."""
        self._cells.clear()

    def read(self) -> Iterator[Series]:
        for values, cell in self._cells.items():
            yield cell.read(values)

    @property
    def bounds(self) -> tuple[float, ...]:
        """Of a histogram: the upper bounds of its buckets."""
        return SECONDS if self.kind == "histogram" else ()

    @property
    def exposed(self) -> str:
        """The name in Prometheus: underscores, the unit, and `_total` where it only grows."""
        name = self.name.replace(".", "_") + _SUFFIXES[self.unit]
        return f"{name}_total" if self.kind == "counter" else name


_SUFFIXES = {"": "", "s": "_seconds", "By": "_bytes", "1": "_ratio"}
