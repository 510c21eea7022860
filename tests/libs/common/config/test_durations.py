from __future__ import annotations

import math
from itertools import product

import pytest

from libs.common.config.durations import LONGEST, parse_duration

SPELLINGS = {
    365 * 86_400: ["y", "yr", "year", "years"],
    30 * 86_400: ["mon", "month", "months"],
    7 * 86_400: ["w", "week", "weeks"],
    86_400: ["d", "day", "days"],
    3_600: ["h", "hr", "hour", "hours"],
    60: ["m", "min", "minute", "minutes", "M", "MIN"],
    1: ["s", "sec", "second", "seconds", "", "S"],
    1e-3: ["ms", "msec", "millisecond", "milliseconds"],
    1e-6: ["µs", "μs", "us", "µsec", "usec", "microsecond", "microseconds"],
    1e-9: ["ns", "nsec", "nanosecond", "nanoseconds"],
}
REFUSED: list[object] = [
    *(
        "",
        " ",
        "s",
        "-1s",
        "5x",
        "1s+",
        "+1s",
        "1s*",
        "*2",
        "1s**2",
        "2s*2s",
        "1,5s",
        "1e3",
        ".5s",
        "5.s",
        "1s;2s",
    ),
    *("101y", "9" * 18, "9" * 400, -1, -0.1, math.inf, math.nan, LONGEST + 1, 10**400, "٣s"),
    *(True, None, [], {}, ["5s"]),
]
UNITS = [(unit, seconds) for seconds, units in SPELLINGS.items() for unit in units]


@pytest.mark.parametrize(("unit", "seconds"), UNITS)
def test_a_number_and_a_unit_are_that_many_seconds(unit: str, seconds: float) -> None:
    assert parse_duration(f"7{unit}") == pytest.approx(7 * seconds)
    assert parse_duration(f" 7 {unit} ") == pytest.approx(7 * seconds)


@pytest.mark.parametrize("joint", ["+", " + ", " ", ""])
def test_any_two_terms_add_up_however_they_are_joined(joint: str) -> None:
    for (left, first), (right, second) in product(UNITS, UNITS):
        if left == "" and not joint.strip():
            continue
        assert parse_duration(f"3{left}{joint}2{right}") == pytest.approx(3 * first + 2 * second)


@pytest.mark.parametrize(("unit", "seconds"), UNITS)
def test_a_term_may_be_multiplied(unit: str, seconds: float) -> None:
    if seconds < 86_400:
        assert parse_duration(f"1{unit}*10") == pytest.approx(10 * seconds)
        assert parse_duration(f"5 + 1{unit} * 2 * 3") == pytest.approx(5 + 6 * seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60", 60),
        ("3m+31", 211),
        ("3m 1s", 181),
        ("3m1s29ms", 181.029),
        ("0", 0),
        ("1.5s", 1.5),
        ("0.5h", 1800),
    ],
)
def test_examples_mean_what_they_say(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("number", [0, 5, 0.25, LONGEST])
def test_a_bare_number_is_seconds(number: float) -> None:
    result = parse_duration(number)
    assert result == number
    assert isinstance(result, float)


@pytest.mark.parametrize("value", REFUSED)
def test_all_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        parse_duration(value)
