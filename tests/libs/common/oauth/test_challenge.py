"""Challenges of servers, and what is made of badly formed ones."""

from __future__ import annotations

import pytest

from libs.common.oauth.challenge import Challenge, parse


def test_a_challenge_is_read_with_what_matters_of_it() -> None:
    header = (
        'Bearer realm="x", error="insufficient_scope", scope="a b:c", resource_metadata="https://x.example/y"'
    )
    said = parse(403, header)
    assert said == Challenge(403, "insufficient_scope", "a b:c", "https://x.example/y")
    assert said.wants_more


def test_a_challenge_survives_being_noted_and_said_again() -> None:
    said = parse(401, 'bearer scope=one,resource_metadata="https://x.example/a?b=c"')
    assert parse(401, said.header) == said
    assert not said.wants_more


@pytest.mark.parametrize(
    "header",
    ["", "Basic realm=x", "Bearer", 'Bearer error="a b"', 'Bearer scope="a\tb"', "Bearer x=" + "y" * 9000],
)
def test_what_is_no_such_challenge_says_nothing(header: str) -> None:
    assert parse(401, header) == Challenge(401)
