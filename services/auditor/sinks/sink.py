"""What every sink promises, and what it may say instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from libs.common.audit.pull import Delivery as Delivery


class SinkDown(Exception):
    """Nothing of the batch was taken, and all of it comes again; after `retry_after` seconds, if given."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class Rejected(Exception):
    """Some events would never be taken: their indices, and what was said of each. `accepted` were."""

    def __init__(self, poison: Mapping[int, str], accepted: Collection[int] = ()) -> None:
        super().__init__(f"{len(poison)} events were rejected")
        self.poison = poison
        self.accepted = accepted


class Sink(Protocol):
    """A receiver of events outside of the gateway. At least once: it may see an event again, by its `uid`."""

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        """The indices that are safe at the receiver; the others come again.

        At most 500 events and 1 MiB, in the order of the stream except for those that come again; one batch
        at a time, unless `kinds.lanes` says more. Must end by itself, within `DELIVER_WITHIN` seconds of the
        consumer. Raises
        `SinkDown` or `Rejected`; anything else is taken for `SinkDown`.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and files; bounded in time."""
        ...
