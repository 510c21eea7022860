"""What a service holds of its telemetry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libs.common.telemetry.tracing import Tracing

Farewell = Callable[[], None]
"""Sends what waits; takes its time, and so is called in a thread."""


class Handle:
    """Telemetry of one service; `tracing` is None where no spans are wanted."""

    def __init__(self, tracing: Tracing | None, leave: Callable[[], Farewell | None]) -> None:
        """`leave` gives what is left to do, if it was the last one that left."""
        self.tracing = tracing
        self._leave = leave

    async def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        farewell = self._leave()
        if farewell is not None:
            await asyncio.to_thread(farewell)


OFF = Handle(None, lambda: None)
