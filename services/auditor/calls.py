"""Calls that were asked for and have not ended: the memory of the reconciler. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.auditor.seen import COMPLETED, REQUESTED, Seen

GRACE = 5.0
"""Seconds beyond its deadline in which a call may still be told to have ended."""
UNBOUNDED = 600.0
"""Seconds that a call without a deadline is given."""
OPEN_MAX = 50_000
EARLY_MAX = 10_000
"""Ends remembered that came before their beginning."""


@dataclass(slots=True)
class Open:
    """A call that has not ended. Times in seconds since the epoch."""

    call: str
    sequence: int
    """Of its `requested`, in the stream."""
    due: float
    told: bool = False
    """Whether its end has been written down, and only has to come by."""


class Calls:
    """Learns from events in the order of the stream, and may learn the same twice."""

    def __init__(self, most: int = OPEN_MAX) -> None:
        self.skipped = 0
        """The first call in the stream for which there was no room; 0 if there was for all."""
        self._most = most
        self._open: dict[str, Open] = {}
        self._early: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def learn(self, seen: Seen, sequence: int, stored: float) -> None:
        """Take note of one event, which the stream has stored at `stored`."""
        call = seen.metadata.correlation_uid
        if not call:
            return
        if seen.code == COMPLETED:
            if self._open.pop(call, None) is None:
                self._remember(call)
        elif seen.code == REQUESTED and call not in self._open:
            self._begin(call, seen, sequence, stored)

    def due(self, now: float) -> Iterator[Open]:
        """Those whose time is over at `now`, and that nobody was told of."""
        # A copy: whoever writes their end down may make us learn of it meanwhile.
        for each in list(self._open.values()):
            if not each.told and each.due <= now:
                yield each

    def needed(self, read: int) -> int:
        """The first place in the stream that has to be read again after a restart."""
        begun = min((each.sequence for each in self._open.values()), default=read + 1)
        return min(begun, self.skipped) if self.skipped else begun

    def roomy(self) -> bool:
        """Whether those that were skipped could be read again now."""
        return bool(self.skipped) and len(self._open) <= self._most // 2

    def _begin(self, call: str, seen: Seen, sequence: int, stored: float) -> None:
        if call in self._early:
            del self._early[call]
            return
        if len(self._open) >= self._most:
            self.skipped = self.skipped or sequence
            return
        deadline = seen.unmapped.nexus.deadline / 1000
        # Stored late, it was shipped late, and its end may be on the same way.
        due = max(deadline or seen.time / 1000 + UNBOUNDED, stored) + GRACE
        self._open[call] = Open(call, sequence, due)

    def _remember(self, call: str) -> None:
        self._early[call] = None
        if len(self._early) > EARLY_MAX:
            del self._early[next(iter(self._early))]
