"""What the auditor itself reads of an event: a few members, the rest unread."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from libs.common.codec import UNREADABLE

REQUESTED = "mcp.tool.call.requested"
COMPLETED = "mcp.tool.call.completed"
GAP = "audit.gap"


class Place(Struct, frozen=True, gc=False):
    """Where an event stands in the chain of its process's life."""

    uid: str = ""
    seq: int = 0
    prev: str = ""
    hash: str = ""


class Facts(Struct, frozen=True, gc=False):
    """What a process says of events of its own that it could not write down."""

    first: int = 0
    last: int = 0


class Nexus(Struct, frozen=True, gc=False):
    chain: Place = Place()
    deadline: int = 0
    """Milliseconds since the epoch; 0 where the event has none."""
    facts: msgspec.Raw = msgspec.Raw(b"{}")


class Unmapped(Struct, frozen=True, gc=False):
    nexus: Nexus = Nexus()


class Metadata(Struct, frozen=True, gc=False):
    event_code: str = ""
    correlation_uid: str = ""


class Seen(Struct, frozen=True, gc=False):
    """One event."""

    time: int = 0
    metadata: Metadata = Metadata()
    unmapped: Unmapped = Unmapped()

    @property
    def code(self) -> str:
        return self.metadata.event_code

    @property
    def place(self) -> Place:
        return self.unmapped.nexus.chain

    def lost(self) -> tuple[int, int]:
        """First and last number that a process says are missing; zeros if it says nothing."""
        try:
            facts = _facts.decode(self.unmapped.nexus.facts)
        except UNREADABLE:
            return 0, 0
        return facts.first, facts.last


_decoder = msgspec.json.Decoder(Seen)
_facts = msgspec.json.Decoder(Facts)


def see(data: bytes) -> Seen | None:
    """The event, or None if these bytes are none."""
    try:
        return _decoder.decode(data)
    except UNREADABLE:
        return None
