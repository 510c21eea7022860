from __future__ import annotations

import pytest

from libs.common.crowd import Crowd
from libs.common.errors import RateLimited


def full() -> RateLimited:
    return RateLimited("full")


def test_no_more_than_the_most_are_inside_and_each_key_has_its_own() -> None:
    crowd = Crowd()
    with crowd.inside("a", 2, full), crowd.inside("a", 2, full):
        with pytest.raises(RateLimited), crowd.inside("a", 2, full):
            pytest.fail("a third was let in")
        with crowd.inside("b", 1, full):
            pass
    with crowd.inside("a", 1, full):
        pass


def test_whoever_fails_inside_has_left() -> None:
    crowd = Crowd()
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), crowd.inside("a", 1, full):
            raise ValueError("x")
    assert not crowd._inside
