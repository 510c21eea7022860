"""News of a modern server's lists: one `subscriptions/listen` of our own, held open."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import structlog
from msgspec import Raw

from libs.common import codec
from libs.common.errors import NexusError
from libs.common.messages.calls import Client
from services.connector.session import Notice, Opened, Session

log = structlog.get_logger("changes")

RENEW = 3600.0
"""Seconds after which a stream is asked for anew, whatever became of it."""
AGAIN = 5.0
"""Seconds between two attempts."""
_KINDS = {"tools": "toolsListChanged", "prompts": "promptsListChanged", "resources": "resourcesListChanged"}


def wanted(opened: Opened) -> dict[str, bool]:
    """The filter for what a server says it can tell; empty where there is nothing to listen to."""
    if opened.era != "modern":
        return {}
    offered: Any = codec.decode(opened.capabilities)
    if not isinstance(offered, dict):
        return {}
    return {kind: True for name, kind in _KINDS.items() if _tells(offered.get(name))}


async def follow(session: Session, opened: Opened, on_notice: Notice) -> None:
    """Pass on news until cancelled; a server that refuses or drops the stream is asked again later."""
    notifications = wanted(opened)
    while notifications:
        try:
            await session.call(
                "subscriptions/listen",
                {"notifications": codec.raw(notifications)},
                deadline=time.time() + RENEW,
                client=Client(),
                on_event=lambda message: _pass_on(message, on_notice),
                progress=False,
            )
        except NexusError as error:
            log.debug("listening ended", reason=error.message)
        await asyncio.sleep(AGAIN)


def _tells(capability: object) -> bool:
    return isinstance(capability, dict) and capability.get("listChanged") is True


def _pass_on(message: Raw, on_notice: Notice) -> None:
    try:
        method = codec.decode(codec.members(message)["method"])
    except (msgspec.DecodeError, KeyError):
        return
    on_notice(method, message)
