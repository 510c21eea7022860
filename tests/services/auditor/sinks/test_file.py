"""What is in the file, whoever rotates it and however we died."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from libs.common.config.sinks import FileSink
from services.auditor.sinks import SinkDown
from services.auditor.sinks.file import File
from tests.services.auditor.sinks.events import batch, delivery

pytestmark = pytest.mark.anyio


def table(path: Path, **more: Any) -> FileSink:
    return FileSink.model_validate({"type": "file", "path": path, **more})


def numbers(*paths: Path) -> list[int]:
    import json

    return [json.loads(line)["n"] for path in paths for line in path.read_text().splitlines()]


async def test_each_event_is_one_line_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    sink = File(table(path))
    assert list(await sink.deliver(batch(1, 3))) == [0, 1, 2]
    assert list(await sink.deliver(batch(4, 4))) == [0]
    await sink.close()
    assert numbers(path) == [1, 2, 3, 4]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_file_that_was_renamed_away_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    sink = File(table(path))
    await sink.deliver(batch(1, 2))
    path.rename(tmp_path / "audit.old")
    await sink.deliver(batch(3, 4))
    (tmp_path / "audit.ndjson").unlink()
    await sink.deliver(batch(5, 6))
    await sink.close()
    assert numbers(tmp_path / "audit.old") == [1, 2]
    assert numbers(path) == [5, 6]


async def test_a_full_file_makes_room_for_a_new_one_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    now = 1_776_636_848.0
    sink = File(table(path, max_size=100, keep=2), lambda: now)
    for number in range(1, 11):
        now += 1
        await sink.deliver(batch(number, number))
    await sink.close()
    before = sorted(tmp_path.glob("audit.ndjson.*"))
    assert len(before) == 2
    assert all(each.stat().st_size <= 100 for each in [*before, path])
    assert numbers(*before, path) == list(range(11 - len(numbers(*before, path)), 11))


async def test_a_new_period_begins_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    now = 1_776_636_848.0
    sink = File(table(path, rotate_every="1h"), lambda: now)
    await sink.deliver(batch(1, 1))
    os.utime(path, (now, now))
    await sink.deliver(batch(2, 2))
    os.utime(path, (now, now))
    now += 3600
    await sink.deliver(batch(3, 3))
    await sink.close()
    (before,) = tmp_path.glob("audit.ndjson.*")
    assert numbers(before) == [1, 2]
    assert numbers(path) == [3]


async def test_half_a_line_that_a_crash_left_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    path.write_bytes(b'{"n": 1}\n{"n": 2, "half')
    sink = File(table(path))
    await sink.deliver(batch(2, 3))
    await sink.close()
    assert numbers(path) == [1, 2, 3]


async def test_two_writers_share_a_file_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    one, two = File(table(path, max_size=2000)), File(table(path, max_size=2000))
    for number in range(0, 100, 2):
        await one.deliver(batch(number, number))
        await two.deliver(batch(number + 1, number + 1))
    await one.close()
    await two.close()
    assert numbers(*sorted(tmp_path.glob("audit.ndjson.*")), path) == list(range(100))


async def test_a_folder_that_is_missing_is_a_sink_that_is_down(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "audit.ndjson"
    sink = File(table(path))
    with pytest.raises(SinkDown, match="No such file"):
        await sink.deliver(batch(1, 1))
    path.parent.mkdir()
    await sink.deliver(batch(1, 1))
    await sink.close()
    assert numbers(path) == [1]


async def test_a_full_disk_leaves_no_half_of_a_batch() -> None:
    sink = File(table(Path("/dev/full")))
    with pytest.raises(SinkDown):
        await sink.deliver([delivery(1)])
    await sink.close()


async def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / "audit.ndjson").symlink_to(target)
    sink = File(table(tmp_path / "audit.ndjson"))
    with pytest.raises(SinkDown):
        await sink.deliver(batch(1, 1))
    assert not target.exists()


async def test_a_batch_that_is_still_being_written_is_not_overtaken(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    sink = File(table(path))
    await sink.deliver(batch(1, 1))
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sink.deliver(batch(2, 3)), 0.1)
        with pytest.raises(SinkDown, match="still being written"):
            await sink.deliver(batch(2, 3))
    async with asyncio.timeout(10):
        while True:
            try:
                await sink.deliver(batch(2, 3))
                break
            except SinkDown:
                await asyncio.sleep(0.01)
    await sink.close()
    assert numbers(path) == [1, 2, 3, 2, 3]
