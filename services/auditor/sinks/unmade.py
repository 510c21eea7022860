"""Stands in for a sink that cannot be made now: a certificate is missing, or cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from libs.common.errors import ConfigError
from services.auditor.sinks.sink import Delivery, Sink, SinkDown

RETRY = 30.0
"""Seconds until it is tried again, for whoever puts the file there."""


class Unmade:
    """Is down until `make` succeeds, and then is what was made. The other sinks go on meanwhile."""

    def __init__(self, make: Callable[[], Sink]) -> None:
        self._make = make
        self._sink: Sink | None = None

    async def deliver(self, batch: Sequence[Delivery]) -> Collection[int]:
        """What the sink takes, once there is one."""
        if self._sink is None:
            try:
                self._sink = self._make()
            except ConfigError as error:
                raise SinkDown(str(error), RETRY) from error
        return await self._sink.deliver(batch)

    async def close(self) -> None:
        """Close what was made."""
        if self._sink is not None:
            await self._sink.close()
