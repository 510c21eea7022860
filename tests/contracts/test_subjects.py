"""Subjects and buckets are addresses that permissions, compose files and other versions know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libs.common import subjects
from libs.common.facts import FACTS
from libs.common.kv import SPECS

STORED = Path(__file__).parent / "v1" / "subjects.json"


def listing() -> dict[str, str]:
    """Every subject and bucket by what it is for."""
    return {
        "request": subjects.REQUEST,
        "search": subjects.SEARCH,
        "cancel": subjects.CANCEL,
        "edges": subjects.EDGES,
        "routers": subjects.ROUTERS,
        "metrics": subjects.METRICS,
        "call": subjects.call("git"),
        "worker": subjects.worker("w1"),
        "edge": subjects.edge("c1"),
        "held": subjects.held("c1"),
        "stream": subjects.stream("s1"),
        "events": subjects.EVENTS,
        "event stream": subjects.EVENT_STREAM,
        "inbox": subjects.inbox("edge", "c1"),
        "forwarded": subjects.forwarded("_INBOX_router.r1", "_INBOX_edge.c1.2a"),
        "facts": subjects.FACTS,
        "fact stream": subjects.FACT_STREAM,
        "audit": subjects.AUDIT,
        "audit stream": subjects.AUDIT_STREAM,
        "dead": subjects.DEAD,
        "dead stream": subjects.DEAD_STREAM,
        "dead of a sink": subjects.dead("siem"),
        **{f"fact {kind.__name__}": kind.subject for kind in FACTS},
        "bucket catalog": subjects.CATALOG,
        "bucket servers": subjects.SERVERS,
        "bucket leases": subjects.LEASES,
        "bucket sessions": subjects.SESSIONS,
        "bucket credentials": subjects.CREDENTIALS,
        "bucket auditors": subjects.AUDITORS,
        "bucket ledger": subjects.LEDGER,
    }


def test_no_subject_and_no_bucket_has_moved() -> None:
    assert listing() == json.loads(STORED.read_text())


def test_every_constant_is_in_the_listing() -> None:
    constants = {
        value
        for name, value in vars(subjects).items()
        if name[0].isupper() and name.isupper() and isinstance(value, str)
    }
    assert constants <= set(listing().values())
    assert set(SPECS) <= set(listing().values())


@pytest.mark.parametrize("text", ["", "a b", "a.b", "*", ">", "a\n", "x" * 65, "-a", "ä"])
def test_text_that_could_be_more_than_one_token_is_no_subject(text: str) -> None:
    for build in (subjects.call, subjects.worker, subjects.stream, subjects.edge, subjects.held):
        with pytest.raises(ValueError, match="not a"):
            build(text)
    with pytest.raises(ValueError, match="not a minted id"):
        subjects.fact("tools", text)
    with pytest.raises(ValueError, match="not a minted id"):
        subjects.inbox(text, "c1")


def test_a_forwarded_question_is_still_answered_where_it_was_asked() -> None:
    forwarded = subjects.forwarded("_INBOX_router.r1", "_INBOX_edge.c1.2a")
    assert subjects.asker(forwarded) == "_INBOX_edge.c1.2a"
    assert subjects.asker("_INBOX_edge.c1.2a") == "_INBOX_edge.c1.2a"


def test_a_server_name_with_the_separator_is_no_subject() -> None:
    with pytest.raises(ValueError, match="not a server name"):
        subjects.call("git__log")
