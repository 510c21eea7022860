"""What is a valid trace context, and where it is looked for."""

from __future__ import annotations

import time
from typing import Any

import pytest

from libs.common import trace
from libs.common.trace import Trace, read

IDS = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
PARENT = f"00-{IDS}-01"


def parent(text: object) -> str:
    return read({"traceparent": text}, {}).parent


def state(text: object) -> str:
    return read({"traceparent": PARENT, "tracestate": text}, {}).state


def baggage(text: object) -> str:
    return read({"baggage": text}, {}).baggage


def test_a_valid_parent_is_kept_as_it_is() -> None:
    assert parent(PARENT) == PARENT


@pytest.mark.parametrize(
    "text",
    [
        "",
        None,
        5,
        f"ff-{IDS}-01",
        f"00-{IDS}-01-more",
        f"00-{IDS}-01-",
        f"00-{IDS}-1",
        f"0-{IDS}-01",
        f"00-{IDS.upper()}-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        f"{PARENT}\n",
        f" {PARENT}",
        f"{PARENT}, {PARENT}",
        f"01-{IDS}-01.more",
    ],
)
def test_an_invalid_parent_is_dropped(text: object) -> None:
    assert parent(text) == ""


@pytest.mark.parametrize("rest", ["", "-", "-what-will-be"])
def test_a_later_version_is_taken_for_what_is_known_of_it(rest: str) -> None:
    assert parent(f"cc-{IDS}-ff{rest}") == f"00-{IDS}-01"
    assert parent(f"cc-{IDS}-fe{rest}") == f"00-{IDS}-00"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("a=1 , , b=2\t", "a=1,b=2"),
        ("0tenant@system=x y", "0tenant@system=x y"),
        ("", ""),
    ],
)
def test_a_valid_state_is_kept(text: str, kept: str) -> None:
    assert state(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a=",
        "A=1",
        "a=1,a=2",
        "a=b=c",
        "a=\u00e9",
        "a=1\n",
        f"{'k' * 257}=1",
        "a=" + "v" * 257,
        ["a=1"],
        None,
    ],
)
def test_an_invalid_state_is_dropped_and_the_parent_kept(text: object) -> None:
    assert state(text) == ""


def test_a_state_of_too_many_entries_is_dropped() -> None:
    entries = [f"k{number}=1" for number in range(trace.STATE_ENTRIES + 1)]
    assert state(",".join(entries)) == ""
    assert state(",".join(entries[1:])) == ",".join(entries[1:])


def test_a_long_state_loses_its_oldest_entries() -> None:
    entries = [f"k{number}={'v' * 200}" for number in range(3)]
    assert state(",".join(entries)) == ",".join(entries[:2])


def test_a_state_without_a_parent_means_nothing() -> None:
    assert read({"tracestate": "a=1"}, {}) is trace.NONE
    assert read({"traceparent": "broken", "tracestate": "a=1"}, {}) is trace.NONE


@pytest.mark.parametrize("text", ["userId=alice", "a=1;p;q=2 , b = %20x", "a="])
def test_valid_baggage_is_kept_without_a_parent_too(text: str) -> None:
    assert baggage(text).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    "text", ["", "a", "a=1,", "a b=1", 'a="1"', "a=1\n", "a=\u00e9", "=1", "a=" + "x" * trace.BAGGAGE_MAX, 1]
)
def test_invalid_baggage_is_dropped(text: object) -> None:
    assert read({"baggage": text}, {}) is trace.NONE


def test_too_many_pieces_of_baggage_are_dropped() -> None:
    assert baggage(",".join(["a=1"] * (trace.BAGGAGE_ENTRIES + 1))) == ""


def test_headers_count_where_the_message_says_nothing_valid() -> None:
    headers = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "b=2"}
    assert read({}, headers) == Trace(PARENT, "a=1")
    assert read({"traceparent": "broken", "tracestate": "c=3"}, headers) == Trace(PARENT, "a=1")
    other = PARENT.replace("-01", "-00")
    assert read({"traceparent": other}, headers) == Trace(other)


def test_only_the_parts_there_are_travel() -> None:
    assert Trace(PARENT).members() == {"traceparent": PARENT}
    assert Trace(PARENT, "a=1", "b=2").members() == {
        "traceparent": PARENT,
        "tracestate": "a=1",
        "baggage": "b=2",
    }


@pytest.mark.parametrize(
    "hostile", [",".join(["a" * 255 + "=1"] * 32), "a=" + ";x" * 4000, "a=1;" * 2000 + "!("]
)
def test_hostile_text_is_judged_in_no_time(hostile: Any) -> None:
    began = time.monotonic()
    read({"traceparent": PARENT, "tracestate": hostile, "baggage": hostile}, {})
    assert time.monotonic() - began < 0.1


@pytest.mark.parametrize("blank", [" ", "\t", "  "])
def test_no_baggage_takes_long_to_judge(blank: str) -> None:
    """One try at each of the ways to share out these blanks would take longer than anybody lives."""
    pair = "a=" + f"{blank};k={blank}" * 40
    begun = time.perf_counter()
    assert read({"baggage": pair + "\x00"}, {}).baggage == ""
    assert read({"baggage": pair.strip()}, {}).baggage == pair.strip()
    assert time.perf_counter() - begun < 1
