from __future__ import annotations

import pytest

from services.router.limits.memory import Memory
from tests.services.router.limits.conftest import SECOND, level


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_l3_a_refused_call_is_counted_nowhere(clock: Clock) -> None:
    memory = Memory(clock)
    levels = [level(1000, 60, scope="global"), level(10, 60, scope="tool")]
    readings = [memory.count(levels) for _ in range(1000)]
    assert sum(not any(each.wait for each in said) for said in readings) == 10
    assert [each.remaining for each in readings[-1]] == [990, 0]


def test_l4_all_levels_hold_together(clock: Clock) -> None:
    memory = Memory(clock)
    server = level(50, 60, scope="server")
    passed = sum(
        not any(each.wait for each in memory.count([server, level(10, 60, key=f"t{tool}", scope="tool")]))
        for tool in range(10)
        for _ in range(10)
    )
    assert passed == 50


def test_two_new_counters_of_one_scope_are_both_kept(clock: Clock) -> None:
    memory = Memory(clock)
    levels = [level(1, 60, key="a"), level(1, 60, key="b")]
    assert [each.wait for each in memory.count(levels)] == [0, 0]
    assert [each.wait for each in memory.count(levels)] == [60 * SECOND, 60 * SECOND]


def test_memory_is_bounded_and_the_longest_unused_is_forgotten_first(clock: Clock) -> None:
    memory = Memory(clock, capacity=100)
    keep = level(1, 60, key="kept")
    for number in range(10_000):
        clock.now += 1
        memory.count([level(1, 60, key=f"k{number}")])
        refused = memory.count([keep])[0].wait > 0
        assert refused == bool(number)
    assert len(memory) == 100


def test_many_addresses_do_not_push_out_a_user(clock: Clock) -> None:
    memory = Memory(clock, capacity=10)
    user = level(1, 60, scope="user")
    memory.count([user])
    for number in range(1000):
        memory.count([level(1, 60, key=f"a{number}", scope="ip")])
    assert memory.count([user])[0].wait


def test_what_is_over_is_swept_as_new_counters_come(clock: Clock) -> None:
    memory = Memory(clock)
    for number in range(1000):
        memory.count([level(1, 1, key=f"a{number}")])
    clock.now += SECOND
    for number in range(500):
        memory.count([level(1, 1, key=f"b{number}")])
    assert len(memory) == 500


def test_the_readings_tell_what_is_left_and_when_all_is_free_again(clock: Clock) -> None:
    memory = Memory(clock)
    memory.count([level(3, 10)])
    clock.now = 4 * SECOND
    (said,) = memory.count([level(3, 10)])
    assert (said.wait, said.remaining, said.reset) == (0, 1, 10 * SECOND)
