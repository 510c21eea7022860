"""The envelope of Splunk's HTTP Event Collector around the exact bytes of an audit event."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, UnsetType

from services.auditor.formats.view import View


class Envelope(msgspec.Struct):
    """Metadata of an event and the event; `time` in seconds. What is unset, the token's defaults decide."""

    event: Raw
    time: float | UnsetType = UNSET
    host: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    sourcetype: str | UnsetType = UNSET
    index: str | UnsetType = UNSET


class Labels(msgspec.Struct, frozen=True):
    """What is the same for every event of one sink."""

    host: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    sourcetype: str | UnsetType = UNSET
    index: str | UnsetType = UNSET


def envelope(labels: Labels, view: View, data: bytes) -> bytes:
    """One event as the collector takes it; its bytes stand in there unchanged: its hash still holds."""
    time = view.number("time")
    made = Envelope(
        event=Raw(data),
        time=UNSET if time is None else time / 1000,
        host=labels.host,
        source=labels.source,
        sourcetype=labels.sourcetype,
        index=labels.index,
    )
    return msgspec.json.encode(made)
