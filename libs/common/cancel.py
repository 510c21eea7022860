"""Cancelling what a library runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def cancellable(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, during which our own cancellation always comes through.

    `asyncio.wait_for` of Python 3.11, which nats-py awaits its answers with, swallows a cancellation that
    arrives together with the answer: a loop around it would then never end (python/cpython#86296).
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
        return task.result()
    finally:
        if not task.done():
            task.cancel()
        task.add_done_callback(_seen)


def _seen(task: asyncio.Future[Any]) -> None:
    """Take note of how it ended: nobody else does once we are cancelled."""
    if not task.cancelled():
        task.exception()
