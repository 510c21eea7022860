from __future__ import annotations

import anyio
import pytest

from services.edge import flood
from services.edge.flood import SINGLE, Flood

pytestmark = pytest.mark.anyio


@pytest.fixture
def told() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def counting(told: list[tuple[str, int]]) -> Flood[str]:
    return Flood(lambda thing, count: told.append((thing, count)))


async def test_a_few_are_told_one_by_one(counting: Flood[str], told: list[tuple[str, int]]) -> None:
    for number in range(SINGLE):
        counting.take("a", str(number))
    counting.close()
    assert told == [(str(number), 1) for number in range(SINGLE)]


async def test_of_many_the_last_is_told_with_their_number(
    counting: Flood[str], told: list[tuple[str, int]]
) -> None:
    for number in range(1000):
        counting.take("a", str(number))
    counting.take("b", "other")
    counting.close()
    assert len(told) == SINGLE + 2
    assert told[-2:] == [("other", 1), ("999", 1000 - SINGLE)]
    assert sum(count for _, count in told) == 1001


async def test_what_is_held_back_is_told_within_a_second_without_another(
    counting: Flood[str], told: list[tuple[str, int]]
) -> None:
    for number in range(SINGLE + 2):
        counting.take("a", str(number))
    with anyio.fail_after(3):
        while len(told) == SINGLE:
            await anyio.sleep(0.01)
    assert told[-1] == (str(SINGLE + 1), 2)


async def test_addresses_without_end_take_no_memory_without_end(
    told: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flood, "SOURCES_MAX", 10)
    counting: Flood[str] = Flood(lambda thing, count: told.append((thing, count)))
    for number in range(1000):
        counting.take(number, "x")
    counting.close()
    assert len(told) <= 10 + SINGLE + 1
    assert sum(count for _, count in told) == 1000
