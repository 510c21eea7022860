"""Tells the rest of the fleet what happened to a server, beside the work that it happened in."""

from __future__ import annotations

import asyncio

import structlog

from libs.common.errors import BusUnavailable, NexusError
from libs.common.facts import Fact, Facts

log = structlog.get_logger("herald")

AGAIN = 1.0
"""Seconds between two attempts to store a fact while the bus is away."""


class Herald:
    """Stores facts one after the other; of each kind only the newest waits. `close` gives up the rest."""

    def __init__(self, facts: Facts, server: str) -> None:
        self._facts = facts
        self._server = server
        self._waiting: dict[type[Fact], Fact] = {}
        self._telling: asyncio.Task[None] | None = None

    def tell(self, *facts: Fact) -> None:
        """Store them soon, however long the bus is away; never waits."""
        for fact in facts:
            self._waiting.pop(type(fact), None)
            self._waiting[type(fact)] = fact
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()

    async def _tell(self) -> None:
        while self._waiting:
            fact = self._waiting.pop(next(iter(self._waiting)))
            try:
                await self._store(fact)
            except NexusError as error:
                # An expected refusal with its reason: a trace would not help.
                log.error("fact given up", server=self._server, reason=error.message)  # noqa: TRY400
            except Exception:
                log.exception("fact given up", server=self._server)

    async def _store(self, fact: Fact) -> None:
        while True:
            try:
                await self._facts.publish(fact)
            except BusUnavailable as error:
                log.debug("fact not stored yet", error=error.message)
                await asyncio.sleep(AGAIN)
            else:
                return
