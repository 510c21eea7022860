"""Prometheus text, format 0.0.4: one HELP and TYPE for each family, whoever it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from libs.common.meters.cells import Family, Level, Series, Spread, Sum
from libs.common.meters.registry import FAMILIES

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

AnyFamily = Family[Sum] | Family[Level] | Family[Spread]
Part = tuple[Mapping[str, str], Sequence[Series]]
"""Labels of whoever said it, and what it said."""


def weight(name: str, parts: Iterable[Part]) -> int:
    """How many lines their bodies have at most."""
    lines = len(FAMILIES[name].bounds) + 3
    return sum(len(series) * (lines if FAMILIES[name].bounds else 1) for _, series in parts)


def headed(name: str, body: str) -> str:
    """The lines of a family with its head; empty if there are none."""
    if not body:
        return ""
    family = FAMILIES[name]
    about = f"# HELP {family.exposed} {_plain(family.about)}\n# TYPE {family.exposed} {family.kind}\n"
    return about + body


def body(name: str, part: Part) -> str:
    """What one process says of a family; nothing of one that is not ours, or that has other labels here."""
    family = FAMILIES.get(name)
    source, series = part
    return "" if family is None else "".join(_lines(family, _labels(source), series))


def _lines(family: AnyFamily, source: str, told: Iterable[Series]) -> Iterator[str]:
    names = [each.replace(".", "_") for each in family.labels]
    counts = len(family.bounds) + 1 if family.bounds else 0
    for series in told:
        if len(series.labels) != len(names) or len(series.counts) != counts:
            continue
        labels = _joined(source, _labels(dict(zip(names, series.labels, strict=True))))
        if counts:
            yield from _buckets(family, labels, series)
        else:
            yield f"{family.exposed}{_braced(labels)} {_number(series.value)}\n"


def _buckets(family: AnyFamily, labels: str, series: Series) -> Iterator[str]:
    name, before = family.exposed, f"{labels}," if labels else ""
    totals = list(accumulate(series.counts))
    for bound, total in zip((*map(_number, family.bounds), "+Inf"), totals, strict=True):
        yield f'{name}_bucket{{{before}le="{bound}"}} {total}\n'
    yield f"{name}_sum{_braced(labels)} {_number(series.value)}\n"
    yield f"{name}_count{_braced(labels)} {totals[-1]}\n"


def _labels(values: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_quoted(value)}"' for name, value in values.items() if value)


def _joined(*labels: str) -> str:
    return ",".join(each for each in labels if each)


def _braced(labels: str) -> str:
    return f"{{{labels}}}" if labels else ""


def _quoted(value: str) -> str:
    return _plain(value).replace('"', '\\"')


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)
