"""Watches over a held call while its client is asked: told of the client's end, and tells of the worker's.

A modern client needs none of this: it comes back by itself, or the call's time runs out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from msgspec import Raw, UnsetType
from msgspec.structs import replace

from libs.common.codec import decode
from libs.common.errors import BusUnavailable, NexusError, ServerUnavailable, WorkerLost
from libs.common.identity import Principal
from libs.common.messages.calls import HoldCall
from services.edge.gateway import Gateway
from services.edge.parked import Parked

EVERY = 1.0
"""Seconds between two looks."""
WITHIN = 2.0
"""Seconds for the answer to one."""
MISSES_MAX = 2
"""Looks in a row that did not find the call after which it counts as lost: a router may die with one."""

Answers = dict[str, Raw]
"""What a client said to each question, by name."""


class Vigil:
    """Asks clients with sessions for the sake of calls that connectors hold."""

    def __init__(self, gateway: Gateway, parked: Parked) -> None:
        self._gateway = gateway
        self._parked = parked
        self._leaving: set[asyncio.Task[None]] = set()

    async def keep(
        self, state: Raw | UnsetType, principal: Principal, route: str, answers: Coroutine[Any, Any, Answers]
    ) -> Answers:
        """`answers`, as long as the call lives; none if it ended before they came.

        Raises `WorkerLost` if whoever holds the call is gone. If `answers` ends in any other way, the call is
        ended as well.
        """
        place = self._parked.place(state, principal, route) if isinstance(state, Raw) else None
        if place is None:
            return await answers
        call = HoldCall(place.worker, 0.0, place.state, principal)
        asking, watching = asyncio.ensure_future(answers), asyncio.ensure_future(self._watch(call))
        try:
            await asyncio.wait({asking, watching}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else watching.result()
        except BaseException:
            self._leave(call)
            raise
        finally:
            asking.cancel()
            watching.cancel()
            await asyncio.gather(asking, watching, return_exceptions=True)

    async def _watch(self, call: HoldCall) -> Answers:
        misses = 0
        while True:
            await asyncio.sleep(EVERY)
            try:
                said = decode(await self._send(call))
            except (BusUnavailable, ServerUnavailable):
                # No bus, or no router: nothing is known of the worker.
                continue
            except NexusError as error:
                misses += 1
                if misses >= MISSES_MAX:
                    raise WorkerLost("the worker that held this call is gone") from error
                continue
            misses = 0
            if said.get("over"):
                return {}

    async def _send(self, call: HoldCall) -> Raw:
        return await self._gateway.request(replace(call, deadline=time.time() + WITHIN))

    def _leave(self, call: HoldCall) -> None:
        """Say that nobody waits any more, beside what ends: its own end must not wait for that."""
        task = asyncio.create_task(self._tell(replace(call, end=True)))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _tell(self, call: HoldCall) -> None:
        with suppress(NexusError):
            await self._send(call)
