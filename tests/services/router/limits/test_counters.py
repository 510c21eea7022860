"""What limits promise, whatever the order of calls: over many arrivals, on a clock of our own."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

import pytest

from services.router.limits.counters import counter
from services.router.limits.limit import FINE, Limit, limited, portion
from tests.services.router.limits.conftest import SECOND

START = 1_790_000_000 * SECOND
CASES = [(5, 300), (1000, 3600), (10, 60), (1, 1), (10, 3600), (7, 0.01), (FINE + 1, 60), (50_000, 3600)]


def arrivals(limit: int, window: int, count: int, seed: int) -> Iterator[int]:
    """Rushes, trickles and idle times around the window's edges."""
    chance, now = random.Random(seed), START
    pace = window / limit
    while count > 0:
        length = min(count, chance.choice((1, limit // 2 + 1, limit * 2)))
        gap = chance.choice((0, 1, pace / 10, pace, pace * 1.5))
        for _ in range(length):
            now += round(gap * chance.random() * 2)
            yield now
        count -= length
        now += chance.choice((0, 1, window - 1, window, window // 2, chance.randrange(window)))


def admitted(limit: Limit, times: Iterator[int]) -> list[int]:
    log, let = counter(limit), []
    for now in times:
        if not log.wait(limit, now):
            log.add(limit, now)
            let.append(now)
    return let


def worst(times: list[int], window: int) -> int:
    """The most calls in any interval of one window, its end left out."""
    return max(at + 1 - bisect_right(times, now - window) for at, now in enumerate(times))


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("limit", "seconds"), CASES)
def test_l1_no_window_ever_holds_more_than_the_limit(limit: int, seconds: float, smooth: bool) -> None:
    window = round(seconds * SECOND)
    let = admitted(
        limited(limit, window, smooth=smooth), arrivals(limit, window, 40_000 + 4 * limit, seed=limit)
    )
    assert worst(let, window) <= limit
    assert len(let) > limit


@pytest.mark.parametrize(("limit", "seconds"), [(5, 300), (1000, 3600)])
def test_the_worst_window_of_a_hundred_thousand_arrivals_is_exactly_the_limit(
    limit: int, seconds: int
) -> None:
    window = seconds * SECOND
    assert worst(admitted(limited(limit, window), arrivals(limit, window, 100_000, 1)), window) == limit


@pytest.mark.parametrize(("limit", "seconds"), [case for case in CASES if case[0] <= FINE])
def test_l1_a_client_that_keeps_its_pace_is_never_refused(limit: int, seconds: float) -> None:
    gap = -(-round(seconds * SECOND) // limit)
    steady = range(START, START + gap * limit * 3, gap)
    assert admitted(limited(limit, round(seconds * SECOND)), iter(steady)) == list(steady)


def test_a_large_limit_gives_away_a_hundredth_at_most() -> None:
    limit, window = 100_000, 3600 * SECOND
    steady = range(START, START + 3 * window, window // limit)
    assert len(admitted(limited(limit, window), iter(steady))) >= 0.99 * len(steady)


def test_a_smooth_limit_lets_a_tenth_through_at_once_and_the_rest_evenly() -> None:
    limit = limited(100, 60 * SECOND, smooth=True)
    rush = admitted(limit, iter([START] * 50))
    assert len(rush) == 10
    after = admitted(limit, iter(range(START, START + 60 * SECOND, SECOND // 100)))
    gaps = {later - earlier for earlier, later in pairwise(after[10:])}
    assert len(after) == 100
    assert max(gaps) - min(gaps) <= SECOND // 100


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("limit", "seconds"), CASES)
def test_l6_the_time_to_wait_is_the_first_at_which_there_is_room(
    limit: int, seconds: float, smooth: bool
) -> None:
    what = limited(limit, round(seconds * SECOND), smooth=smooth)
    log, refused = counter(what), 0
    for now in arrivals(limit, what.window, 4 * limit, seed=3):
        wait = log.wait(what, now)
        if not wait:
            log.add(what, now)
        elif not refused % 50:
            assert log.wait(what, now + wait - 1) == 1
            break
    assert log.wait(what, now + wait) == 0


def test_a_limit_that_shrinks_counts_what_it_has_let_through() -> None:
    log, wide, narrow = counter(limited(4, SECOND)), limited(4, SECOND), limited(2, SECOND)
    for now in (0, 10, 20, 30):
        assert log.wait(wide, START + now) == 0
        log.add(wide, START + now)
    assert log.wait(narrow, START + 40) == SECOND + 20 - 40
    assert log.wait(narrow, START + SECOND + 20) == 0


@pytest.mark.parametrize("limit", [1, 3, 10, 1000])
@pytest.mark.parametrize("parts", [1, 2, 3, 4, 7])
def test_the_portions_of_all_are_the_limit_and_none_is_empty(limit: int, parts: int) -> None:
    whole = limited(limit, SECOND)
    shares = [portion(whole, parts, rank).limit for rank in range(parts)]
    assert sum(shares) == max(limit, parts)
    assert max(shares) - min(shares) <= 1
