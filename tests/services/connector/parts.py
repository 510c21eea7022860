"""Real stdio sessions with the tiny server of `children/server.py`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
from msgspec import Raw

from libs.common import codec
from libs.common.config import StdioServer
from libs.common.messages.calls import Client
from services.connector.session import EventSink
from services.connector.stdio import StdioSession

CHILDREN = Path(__file__).parent / "children"


def child(*flags: str, **settings: Any) -> StdioServer:
    """The configuration of a child that runs with these flags."""
    cmd = (sys.executable, str(CHILDREN / "server.py"), *flags)
    return StdioServer(**{"name": "child", "cmd": cmd, "era": "legacy", "start_timeout": 20.0, **settings})


@asynccontextmanager
async def running(server: StdioServer) -> AsyncIterator[StdioSession]:
    """An open session, closed at the end."""
    session = StdioSession(server, lambda method, message: None)
    await session.open()
    try:
        yield session
    finally:
        await session.close()


async def use(
    session: StdioSession, tool: str, seconds: float = 20, on_event: EventSink | None = None, **arguments: Any
) -> str:
    """The text a tool of the child answers with."""
    params = {"name": codec.raw(tool), "arguments": codec.raw(arguments)}
    result = await session.call(
        "tools/call", params, deadline=time.time() + seconds, client=Client(), on_event=on_event
    )
    return str(json.loads(bytes(result))["content"][0]["text"])


async def gone(*pids: int) -> None:
    """Wait until none of these processes runs."""
    with anyio.fail_after(10):
        while any(_runs(pid) for pid in pids):
            await anyio.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def raw(value: Any) -> Raw:
    """`value` as JSON."""
    return codec.raw(value)
