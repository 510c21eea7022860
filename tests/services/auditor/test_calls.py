"""Which calls have not ended, whatever the order in which that is learnt."""

from __future__ import annotations

from services.auditor.calls import GRACE, Calls
from services.auditor.seen import COMPLETED, REQUESTED, Metadata, Nexus, Seen, Unmapped


def seen(code: str, call: str, deadline: float = 100.0) -> Seen:
    return Seen(50_000, Metadata(code, call), Unmapped(Nexus(deadline=int(deadline * 1000))))


def due(calls: Calls, now: float) -> list[str]:
    return [each.call for each in calls.due(now)]


def test_a_call_that_ended_is_never_due() -> None:
    calls = Calls()
    calls.learn(seen(REQUESTED, "a"), 1, 50)
    calls.learn(seen(COMPLETED, "a"), 2, 51)
    assert due(calls, 1e9) == []
    assert calls.needed(2) == 3


def test_a_call_is_due_after_its_deadline_and_a_grace() -> None:
    calls = Calls()
    calls.learn(seen(REQUESTED, "a"), 7, 50)
    assert due(calls, 100 + GRACE - 0.1) == []
    assert due(calls, 100 + GRACE) == ["a"]
    assert calls.needed(9) == 7


def test_a_request_that_was_shipped_late_waits_as_long_for_its_end() -> None:
    calls = Calls()
    calls.learn(seen(REQUESTED, "a"), 1, 500)
    assert due(calls, 500 + GRACE - 0.1) == []
    assert due(calls, 500 + GRACE) == ["a"]


def test_a_call_whose_end_was_written_down_is_not_told_twice_but_still_awaited() -> None:
    calls = Calls()
    calls.learn(seen(REQUESTED, "a"), 1, 50)
    (one,) = calls.due(1e9)
    one.told = True
    assert due(calls, 1e9) == []
    assert calls.needed(1) == 1
    calls.learn(seen(COMPLETED, "a"), 2, 51)
    assert calls.needed(2) == 3


def test_an_end_that_overtook_its_beginning_ends_it() -> None:
    calls = Calls()
    calls.learn(seen(COMPLETED, "a"), 1, 50)
    calls.learn(seen(REQUESTED, "a"), 2, 50)
    assert due(calls, 1e9) == []


def test_what_is_read_again_changes_nothing() -> None:
    calls = Calls()
    for _ in range(2):
        calls.learn(seen(REQUESTED, "a"), 1, 50)
        calls.learn(seen(REQUESTED, "b"), 2, 50)
        calls.learn(seen(COMPLETED, "a"), 3, 51)
    assert due(calls, 1e9) == ["b"]


def test_calls_beyond_the_bound_are_read_again_when_there_is_room() -> None:
    calls = Calls(most=2)
    for number in range(1, 5):
        calls.learn(seen(REQUESTED, f"c{number}"), number, 50)
    assert len(calls) == 2
    assert calls.skipped == 3
    assert not calls.roomy()
    calls.learn(seen(COMPLETED, "c1"), 5, 51)
    assert calls.roomy()
    assert calls.needed(5) == 2
    calls.learn(seen(COMPLETED, "c2"), 6, 51)
    assert calls.needed(6) == 3


def test_events_without_a_call_are_of_no_interest() -> None:
    calls = Calls()
    calls.learn(Seen(), 1, 50)
    assert calls.needed(1) == 2
