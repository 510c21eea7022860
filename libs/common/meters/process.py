"""What a process says of itself: CPU, memory, files, how late its event loop comes round."""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from libs.common.meters import families
from libs.common.meters.registry import STARTED, watching

TICK = 0.5
"""Seconds between two looks at the event loop."""
_PAGE = resource.getpagesize()
_SELF = Path("/proc/self")


@asynccontextmanager
async def measured() -> AsyncIterator[None]:
    """Tell of this process, as long as this is entered."""
    ticking = asyncio.create_task(_tick(), name="loop-lag")
    try:
        with watching(look):
            yield
    finally:
        ticking.cancel()
        await asyncio.wait({ticking})


def look() -> None:
    """Set what is known without waiting; memory and files only where there is `/proc` (Linux)."""
    families.BUILD.cell(version("nexus-gateway"), platform.python_version()).set(1)
    families.BEGAN.cell().set(STARTED)
    families.CPU.cell().set(time.process_time())
    families.FILES_MAX.cell().set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if _SELF.exists():
        families.MEMORY.cell().set(int((_SELF / "statm").read_text().split()[1]) * _PAGE)
        families.FILES.cell().set(len(os.listdir(_SELF / "fd")))  # noqa: PTH208 - names alone are counted


async def _tick() -> None:
    lag = families.LAG.cell()
    while True:
        due = time.monotonic() + TICK
        await asyncio.sleep(TICK)
        lag.observe(max(0.0, time.monotonic() - due))
