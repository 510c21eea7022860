from __future__ import annotations

import pytest

from libs.common.crowd import Crowd
from libs.common.errors import RateLimited
from tests.meters import Since


def full() -> RateLimited:
    return RateLimited("full")


def test_no_more_than_the_most_are_inside_and_each_key_has_its_own() -> None:
    crowd = Crowd("user/in-flight")
    with crowd.inside("a", 2, full), crowd.inside("a", 2, full):
        with pytest.raises(RateLimited), crowd.inside("a", 2, full):
            pytest.fail("a third was let in")
        with crowd.inside("b", 1, full):
            pass
    with crowd.inside("a", 1, full):
        pass


def test_whoever_fails_inside_has_left() -> None:
    crowd = Crowd("user/in-flight")
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), crowd.inside("a", 1, full):
            raise ValueError("x")
    assert not crowd._inside


def test_how_often_somebody_was_let_in_or_not_can_be_measured() -> None:
    since, crowd = Since(), Crowd("made/up")
    with crowd.inside("a", 1, full), pytest.raises(RateLimited), crowd.inside("a", 1, full):
        pytest.fail("a second was let in")
    assert since.told("nexus.limits.decisions") == {("made/up", "allowed"): 1, ("made/up", "refused"): 1}
