from __future__ import annotations

import pytest

from services.connector.envelope import FRAGMENT
from services.connector.framing import Lines, Overlong


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_lines_come_out_whole_however_they_arrive(step: int) -> None:
    stream = b"one\n\ntwo two\nthree\nrest"
    lines = Lines(100)
    cut = [line for at in range(0, len(stream), step) for line in lines.cut(stream[at : at + step])]
    assert cut == [b"one", b"", b"two two", b"three"]
    assert lines.cut(b"!\n") == [b"rest!"]


@pytest.mark.parametrize("step", [100, 999, 5000])
def test_a_line_over_the_limit_leaves_only_its_ends(step: int) -> None:
    stream = b"a" * FRAGMENT + b"-" * 3000 + b"z" * FRAGMENT + b"\nnext\n"
    lines = Lines(1000)
    cut = [line for at in range(0, len(stream), step) for line in lines.cut(stream[at : at + step])]
    assert cut == [Overlong(b"a" * FRAGMENT, b"z" * FRAGMENT), b"next"]


def test_a_line_of_just_the_limit_is_delivered() -> None:
    lines = Lines(10)
    assert lines.cut(b"0123456789\n0123456789a\n") == [
        b"0123456789",
        Overlong(b"0123456789a", b"0123456789a"),
    ]
