"""Spools of dead writers: what others, or a disk, have done to them keeps nobody from their work."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import anyio
import pytest

from libs.common.audit import trail as trails
from libs.common.audit.folders import orphans
from libs.common.audit.trail import Trail
from libs.common.audit.verify import verify
from libs.common.bus import Bus
from tests.libs.common.audit.conftest import KEY, Open, Stream, request

pytestmark = pytest.mark.anyio


async def die(opened: Open, events: int) -> Path:
    """A writer that leaves events behind; its folder."""
    async with opened() as trail:
        for number in range(events):
            trail.record(request(number))
        await asyncio.sleep(0)
        assert trail._spool is not None
        return trail._spool.folder


async def test_a_writer_killed_before_its_first_write_keeps_no_successor_from_starting(
    opened: Open, bus: Bus
) -> None:
    folder = await die(opened, 2)
    whole = next(folder.glob("*.log"))
    (folder / f"{whole.stat().st_size:016d}.log").touch()
    owner = Stream(bus)
    await owner.make()
    async with opened() as trail:
        assert trail.before.seq == 2
        lines = await owner.lines(2)
    assert list(verify(lines)) == []


@pytest.mark.parametrize("rest", [b"\n", b"x\n", b"\0\0\n", b"a b\n", b"a b {\n"])
async def test_a_damaged_last_line_keeps_no_successor_from_starting(opened: Open, rest: bytes) -> None:
    segment = next((await die(opened, 1)).glob("*.log"))
    segment.write_bytes(segment.read_bytes() + rest)
    async with opened() as trail:
        assert trail.before.seq == 1


async def test_a_strange_file_in_a_folder_keeps_no_successor_from_starting(opened: Open) -> None:
    folder = await die(opened, 1)
    (folder / "notes.log").write_text("what is this?")
    async with opened() as trail:
        assert trail.before.seq == 1


async def test_a_spool_that_cannot_be_read_keeps_nobody_from_shipping(opened: Open, stream: Stream) -> None:
    async with opened() as first:
        assert first._spool is not None
        folder = first._spool.folder
    await stream.count()
    (folder / "0000000000000000.log").mkdir()
    async with opened() as trail:
        assert trail._orphans
        assert trail.stats.lag == 0
        trail.record(request(1))
        assert len(await stream.lines(1)) == 1
    assert folder.exists()


async def test_a_spool_removed_while_it_is_shipped_is_let_go(
    opened: Open, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trails, "ADOPT_EVERY", 0.02)
    folder = await die(opened, 3)
    async with opened() as trail:
        assert trail._orphans
        shutil.rmtree(folder)
        with anyio.fail_after(5):
            while trail._orphans:
                await asyncio.sleep(0.01)
        owner = Stream(bus)
        await owner.make()
        trail.record(request(9))
        assert len(await owner.lines(1)) == 1


async def test_one_that_is_half_removed_keeps_others_from_nothing(
    bus: Bus, root: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trails, "ADOPT_EVERY", 0.02)
    async with Trail(bus, root, KEY, worker="edge-2") as living:
        folder = await die(opened, 3)
        bad = folder.with_name("edge-0.00000000")
        bad.mkdir()
        (bad / "0000000000000000.log").symlink_to("nowhere")
        os.utime(bad, (1, 1))
        owner = Stream(bus)
        await owner.make()
        assert len(await owner.lines(3)) == 3
        assert living.stats.lost == 0
    (bad / "0000000000000000.log").unlink()
    for orphan in (found := list(orphans(root))):
        orphan.close()
    assert bad in [each.folder for each in found], "its lock is still held"
