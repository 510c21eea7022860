"""The events that the documentation shows are events as they are written."""

from __future__ import annotations

import json

import pytest

from libs.common.audit.events import KINDS
from libs.common.audit.verify import verify
from tests.docs.pages import ROOT, text
from tests.libs.common.audit.test_ocsf import validator

LINES = (ROOT / "docs" / "audit-events.ndjson").read_bytes().splitlines()
PAGE = text("docs/audit.md")


def test_every_kind_of_event_has_its_example_and_its_row() -> None:
    assert {json.loads(line)["metadata"]["event_code"] for line in LINES} == set(KINDS)
    assert [code for code in KINDS if f"`{code}`" not in PAGE] == []


@pytest.mark.parametrize("line", LINES, ids=lambda line: json.loads(line)["metadata"]["event_code"])
def test_the_examples_are_valid_ocsf(line: bytes) -> None:
    event = json.loads(line)
    name = KINDS[event["metadata"]["event_code"]].name
    assert list(validator(name, tuple(event["metadata"]["profiles"])).iter_errors(event)) == []


def test_the_examples_are_a_chain_whose_gap_is_declared() -> None:
    assert [(each.wrong, each.broken) for each in verify(LINES)] == [("lost", False)]


@pytest.mark.parametrize("line", LINES, ids=lambda line: json.loads(line)["metadata"]["event_code"])
def test_every_member_of_an_example_is_described(line: bytes) -> None:
    event = json.loads(line)
    nexus = event["unmapped"]["nexus"]
    named = [*event, *(f"metadata.{key}" for key in event["metadata"]), *nexus]
    assert [name for name in named if f"`{name}" not in PAGE and f".{name}`" not in PAGE] == []
