from __future__ import annotations

import anyio
import pytest

from libs.common import meters
from libs.common.meters import families, process

pytestmark = pytest.mark.anyio


async def test_a_process_tells_of_its_build_its_memory_and_its_files() -> None:
    async with process.measured():
        told = {each.name: each.series for each in meters.collect()}
    assert told["nexus.build.info"][0].value == 1
    assert told["process.resident_memory"][0].value > 2**20
    assert 0 < told["process.open_fds"][0].value < told["process.max_fds"][0].value
    assert told["process.cpu"][0].value > 0


async def test_a_loop_that_is_held_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "TICK", 0.001)
    lag = families.LAG.cell()
    before = sum(lag.counts)
    async with process.measured():
        with anyio.fail_after(5):
            while sum(lag.counts) == before:
                await anyio.sleep(0)
