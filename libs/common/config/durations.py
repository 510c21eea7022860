"""Durations as people write them: `30s`, `1m30s`, `5m + 30`, `1m * 10`, or a number of seconds."""

from __future__ import annotations

import re

EXPECTED = 'a duration such as "30s", "1m30s", "5m" or a number of seconds'

LONGEST = 100 * 365 * 86_400.0
"""Seconds; far below what clocks and timers overflow at."""

_UNITS = {
    "y year yr": 365 * 86_400.0,
    "mon month": 30 * 86_400.0,
    "w week": 7 * 86_400.0,
    "d day": 86_400.0,
    "h hour hr": 3_600.0,
    "m min minute": 60.0,
    "s sec second": 1.0,
    "ms msec millisecond": 1e-3,
    "µs us µsec usec µsecond usecond microsecond": 1e-6,
    "ns nsec nanosecond": 1e-9,
}
_SECONDS = {name: seconds for names, seconds in _UNITS.items() for name in names.split()}
_SECONDS |= {f"{name}s": seconds for name, seconds in _SECONDS.items() if len(name) > 2}

_AMOUNT = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([a-zµμ]*)\s*", re.ASCII | re.IGNORECASE)
_OPERATOR = re.compile(r"[+*]?")


def parse_duration(value: object) -> float:
    """Seconds of a duration in text or of a number; ValueError for anything else.

    A unit-less number is seconds, a year is 365 days, a month 30. `*` binds tighter than `+`, and what
    follows it has no unit. Terms need no operator between them: `1m30s` is a sum.
    """
    if isinstance(value, str):
        return _evaluate(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _bounded(value)
    raise ValueError(EXPECTED)


def _evaluate(text: str) -> float:
    terms: list[float] = []
    operator, at = "+", 0
    while match := _AMOUNT.match(text, at):
        amount, unit = float(match[1]), match[2]
        if operator == "*":
            terms[-1] *= _factor(amount, unit)
        else:
            terms.append(amount * _scale(unit))
        step = _OPERATOR.match(text, match.end())
        operator = step[0] if step else ""
        at = match.end() + len(operator)
    if not terms or at != len(text) or operator:
        raise ValueError(EXPECTED)
    return _bounded(sum(terms))


def _bounded(seconds: float) -> float:
    if not 0 <= seconds <= LONGEST:
        raise ValueError(EXPECTED)
    return float(seconds)


def _scale(unit: str) -> float:
    if not unit:
        return 1.0
    seconds = _SECONDS.get(unit.lower().replace("μ", "µ"))
    if seconds is None:
        raise ValueError(EXPECTED)
    return seconds


def _factor(amount: float, unit: str) -> float:
    if unit:
        raise ValueError(EXPECTED)
    return amount
