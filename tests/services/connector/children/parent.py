"""A gateway in small, to be killed: it opens a session, says so, and waits for its end."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from services.connector.stdio import StdioSession
from tests.services.connector.parts import child


async def hold(marker: str) -> None:
    session = StdioSession(child(f"stubborn={marker}"), lambda method, message: None)
    await session.open()
    print("open", flush=True)
    await session.lost


runner = uvloop.run if sys.argv[1] == "uvloop" else asyncio.run
runner(hold(sys.argv[2]))
