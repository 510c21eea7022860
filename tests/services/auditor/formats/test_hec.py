from __future__ import annotations

import json

import pytest
from msgspec import UNSET

from services.auditor.formats.hec import Labels, envelope
from services.auditor.formats.view import View
from tests.services.auditor.formats.corpus import encoded, texts

TEXTS = texts()


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_the_event_is_in_its_envelope_byte_for_byte(text: str) -> None:
    data = encoded(text)
    made = envelope(Labels(source="nexus"), View(data), data)
    assert data in made
    assert json.loads(made)["event"] == json.loads(data)


def test_the_envelope_has_seconds_and_what_was_configured() -> None:
    labels = Labels(host="h", source="s", sourcetype="t", index=UNSET)
    read = json.loads(envelope(labels, View(encoded()), b"{}"))
    assert read == {"event": {}, "time": 1_771_000_000.123, "host": "h", "source": "s", "sourcetype": "t"}


def test_an_event_without_a_time_leaves_the_time_to_the_receiver() -> None:
    assert json.loads(envelope(Labels(), View(b"{}"), b"{}")) == {"event": {}}
