"""A cancellation is never lost, whatever the work inside makes of it."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from libs.common.cancel import cancellable

pytestmark = pytest.mark.anyio


async def test_a_cancellation_that_comes_with_the_answer_is_not_lost() -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(cancellable(asyncio.wait_for(answer, 5)))
    await anyio.wait_all_tasks_blocked()
    answer.set_result("here")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_work_is_cancelled_with_its_caller() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(cancellable(work()))
    await anyio.wait_all_tasks_blocked()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with anyio.fail_after(1):
        await ended.wait()


async def test_results_and_errors_come_through() -> None:
    async def divide(by: int) -> int:
        return 6 // by

    assert await cancellable(divide(3)) == 2
    with pytest.raises(ZeroDivisionError):
        await cancellable(divide(0))
