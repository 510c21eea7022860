"""Whose question it is, by what has been under way."""

from __future__ import annotations

from services.connector import working
from services.connector.working import DOUBT, Working


def after(calls: Working, *, doubted: int) -> Working:
    for number in range(doubted):
        calls.begin(number, "tools/call", "another")
        calls.end(number, DOUBT)
    calls.begin(doubted, "tools/call", "mine")
    return calls


def test_a_question_is_for_the_only_call_under_way() -> None:
    calls = after(Working(), doubted=0)
    assert calls.sole() == 0
    calls.begin(1, "tools/call", "mine")
    assert calls.sole() is None
    calls.end(0)
    assert calls.sole() == 1


def test_a_listing_asks_nothing() -> None:
    calls = Working()
    calls.begin(1, "tools/list", "mine")
    assert calls.sole() is None
    calls.end(1, DOUBT)
    calls.begin(2, "prompts/get", "another")
    assert calls.sole() == 2


def test_a_call_nobody_waits_for_casts_doubt_until_it_is_answered() -> None:
    calls = after(Working(), doubted=2)
    assert calls.sole() is None
    calls.answered(0)
    assert calls.sole() is None
    calls.answered(1)
    assert calls.sole() == 2


def test_doubts_that_are_too_many_to_remember_are_not_forgotten() -> None:
    most = working.DOUBTS_MAX
    calls = after(Working(), doubted=most + 1)
    for number in range(1, most + 1):
        calls.answered(number)
    assert calls.sole() is None
