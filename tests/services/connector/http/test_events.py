from __future__ import annotations

import random

import pytest

from services.connector.events import Event, EventParser


def events(stream: bytes, limit: int = 1000) -> list[Event]:
    return EventParser(limit).feed(stream)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_ending_of_the_standard_is_one(end: bytes) -> None:
    stream = end.join([b"event: a", b"data: 1", b"", b"data: 2", b"", b""])
    assert events(stream) == [Event("a", b"1"), Event("message", b"2")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_stream_cut_anywhere_gives_the_same_events(end: bytes) -> None:
    stream = b"\xef\xbb\xbf" + end.join(
        [
            b"id: 7",
            b"data: one",
            b"data: two",
            b"",
            b": beat",
            b"event: x",
            b"data:",
            b"",
            b"retry: 20",
            b"data:3",
            b"",
            b"",
        ]
    )
    whole = events(stream)
    assert whole == [Event("message", b"one\ntwo"), Event("x", b""), Event("message", b"3")]
    dice = random.Random(7)
    for _ in range(300):
        cuts = sorted(dice.sample(range(len(stream) + 1), dice.randint(1, 12)))
        parser, found = EventParser(1000), []
        for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            found += parser.feed(stream[start:stop])
        assert found == whole
        assert (parser.last_id, parser.retry) == ("7", 20)


def test_data_is_passed_on_byte_for_byte() -> None:
    data = '{"a":"\u2028\u0085 \\n","b": 1.0}'.encode() + b"\x0b\x0c\x1c"
    assert events(b"data: " + data + b"\n\n") == [Event("message", data)]


def test_only_one_space_after_the_colon_is_dropped() -> None:
    assert events(b"data:  x\n\n") == [Event("message", b" x")]


def test_comments_and_events_without_data_are_no_events() -> None:
    assert events(b": hi\n\nevent: ping\n\nid: 1\n\nunknown: x\ndata\n\n") == [Event("message", b"")]


def test_an_event_the_stream_ends_in_is_dropped() -> None:
    assert events(b"data: 1\n") == []


def test_an_id_with_a_null_and_a_retry_that_is_no_number_are_ignored() -> None:
    parser = EventParser()
    parser.feed(b"id: 1\nid: a\0b\nretry: soon\nretry: 5\nretry: -1\n\n")
    assert (parser.last_id, parser.retry) == ("1", 5)


def test_data_of_exactly_the_limit_passes() -> None:
    assert events(b"data: " + b"x" * 99 + b"\n\n", 100)[0].data == b"x" * 99


@pytest.mark.parametrize("step", [1, 7, 64, 5000])
def test_an_event_over_the_limit_keeps_only_its_ends(step: int) -> None:
    stream = b'data: {"id":1,' + b"x" * 3000 + b'"z":2}\n\ndata: next\n\n'
    parser, found = EventParser(1000), []
    for start in range(0, len(stream), step):
        found += parser.feed(stream[start : start + step])
    first, second = found
    assert first.data == b""
    assert first.over is not None
    assert first.over.tail.endswith(b'"z":2}')
    assert len(first.over.head) + len(first.over.tail) <= 1024
    assert second == Event("message", b"next")


def test_endless_empty_data_lines_are_bounded_too() -> None:
    parser = EventParser(1000)
    for _ in range(100):
        parser.feed(b"data:\n" * 100)
    assert len(parser._data) <= 1000


def test_a_line_that_never_ends_is_not_kept() -> None:
    parser = EventParser(1000)
    for _ in range(1000):
        assert parser.feed(b"x" * 1000) == []
    assert sum(map(len, parser._open)) <= 1000
