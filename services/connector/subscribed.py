"""What listeners follow, asked of a server with sessions: each resource is subscribed to once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection

import structlog

from libs.common import codec
from libs.common.errors import NexusError
from libs.common.messages.calls import Client
from services.connector.bulletin import Bulletin
from services.connector.session import Session

log = structlog.get_logger("subscribed")

PATIENCE = 5.0
"""Seconds a server has to answer one request."""
TOGETHER = 16
"""Requests of ours in flight at once, beside the calls."""


async def subscribe(session: Session, bulletin: Bulletin, lists: Collection[str]) -> None:
    """Keep the session's subscriptions as the listeners want them, until cancelled.

    `lists` may have changed before it began, for those that listened to another session.
    """
    told: frozenset[str] = frozenset()
    begun = False
    while True:
        bulletin.altered.clear()
        interest = bulletin.interest
        refused = await _ask(session, "resources/subscribe", interest.uris - told)
        await _ask(session, "resources/unsubscribe", told - interest.uris)
        told = interest.uris - refused
        # Tasks of these revisions are another protocol: nobody is told of them.
        bulletin.cover(interest, refused | interest.tasks)
        if not begun:
            bulletin.hint(lists)
            begun = True
        await bulletin.altered.wait()


async def _ask(session: Session, method: str, uris: frozenset[str]) -> frozenset[str]:
    """The URIs for which it was refused; no reason to end anything."""
    room = asyncio.Semaphore(TOGETHER)

    async def ask(uri: str) -> bool:
        async with room:
            return await _asked(session, method, uri)

    taken = await asyncio.gather(*(ask(uri) for uri in uris))
    return frozenset(uri for uri, taken_ in zip(uris, taken, strict=True) if not taken_)


async def _asked(session: Session, method: str, uri: str) -> bool:
    params = {"uri": codec.raw(uri)}
    deadline = time.time() + PATIENCE
    try:
        await session.call(method, params, deadline=deadline, client=Client(), progress=False)
    except NexusError as error:
        log.debug("refused", method=method, reason=error.message)
        return False
    return True
