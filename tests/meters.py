"""What was counted since a moment; the families of this process outlive a test."""

from __future__ import annotations

from libs.common.meters.cells import Series
from libs.common.meters.registry import FAMILIES


class Since:
    """From its making on."""

    def __init__(self) -> None:
        self._before = {(name, labels): value for name in FAMILIES for labels, value in _values(name)}

    def told(self, name: str) -> dict[tuple[str, ...], float]:
        """What was added to a counter, or how often a histogram was told something, by label set."""
        added = {labels: value - self._before.get((name, labels), 0) for labels, value in _values(name)}
        return {labels: value for labels, value in added.items() if value}

    def series(self) -> int:
        """How many label sets there are that were not there before."""
        return sum((name, labels) not in self._before for name in FAMILIES for labels, _ in _values(name))


def _values(name: str) -> list[tuple[tuple[str, ...], float]]:
    return [(each.labels, _value(each)) for each in FAMILIES[name].read()]


def _value(series: Series) -> float:
    return sum(series.counts) if series.counts else series.value
