from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from libs.common.audit import held, spool
from libs.common.audit import trail as trails
from libs.common.audit.chain import Chain, Head
from libs.common.audit.checkpoint import Signer
from libs.common.audit.events import Event
from libs.common.audit.reading import read
from libs.common.audit.trail import NO_TICKET, NO_TRAIL, Trail
from libs.common.audit.verify import verify
from libs.common.bus import Bus
from libs.common.errors import AuditUnavailable
from tests.broker import Broker
from tests.libs.common.audit.conftest import KEY, Open, Stream, request

pytestmark = pytest.mark.anyio


def operations(lines: list[bytes]) -> list[str]:
    return [json.loads(line).get("api", {}).get("operation", "") for line in lines]


def uids(lines: list[bytes]) -> list[str]:
    return [json.loads(line)["metadata"]["uid"] for line in lines]


async def test_what_is_recorded_arrives_in_order_and_verifies(opened: Open, stream: Stream) -> None:
    async with opened() as trail:
        tickets = [trail.record(request(number)) for number in range(500)]
        lines = await stream.lines(500)
    assert uids(lines) == [each.uid for each in tickets]
    assert list(verify(lines)) == []
    assert trail.stats.published == 500
    assert trail.stats.lost == 0


async def test_leaving_a_trail_ships_what_is_left(opened: Open, stream: Stream) -> None:
    async with opened() as trail:
        trail.record(request())
    assert await stream.count() == 1


async def test_a_tenant_has_a_subject_of_its_own(opened: Open, stream: Stream) -> None:
    async with opened() as trail:
        trail.record(Event(code="mcp.request", tenant="acme.*.>"))
        await stream.lines(1)
    found = await stream.bus.jetstream().get_msg("AUDIT", 1)
    assert found.subject is not None
    assert re.fullmatch(r"audit\.v1\.api_activity\.[a-z2-7]{16}", found.subject)


async def test_f9_the_same_request_twice_makes_two_events(opened: Open, stream: Stream) -> None:
    async with opened() as trail:
        for _ in range(2):
            trail.record(Event(code="mcp.tool.call.requested", call="chosen-by-the-client"))
        lines = await stream.lines(2)
    assert len(set(uids(lines))) == 2


async def test_without_a_stream_events_wait_on_the_disk_and_keep_their_ids(
    opened: Open, broker: Broker, bus: Bus
) -> None:
    owner = Stream(bus)
    async with opened() as trail:
        tickets = [trail.record(request(number)) for number in range(50)]
        assert trail.stats.backlog > 0
        assert trail.stats.lost == 0
        await owner.make()
        lines = await owner.lines(50)
    assert uids(lines) == [each.uid for each in tickets]


async def test_a_stream_that_takes_no_batches_gets_every_event_by_itself(opened: Open, bus: Bus) -> None:
    owner = Stream(bus)
    await owner.make(batched=False)
    async with opened() as trail:
        for number in range(300):
            trail.record(request(number))
        lines = await owner.lines(300)
        assert trail.stats.published == 300
    assert operations(lines) == [f"tools/{number}" for number in range(300)]


async def test_a_stream_that_is_full_in_the_middle_of_a_batch_stays_in_order(opened: Open, bus: Bus) -> None:
    owner = Stream(bus)
    await owner.make(max_bytes=20_000)
    async with opened() as trail:
        for number in range(100):
            trail.record(request(number))
        some = len(await owner.lines(5))
        with anyio.fail_after(5):
            while trail.stats.published < some:
                await asyncio.sleep(0.01)
        assert trail.stats.lost == 0
        await owner.change(max_bytes=10_000_000)
        lines = await owner.lines(100)
    assert 5 < some < 100
    assert operations(lines) == [f"tools/{number}" for number in range(100)]
    assert list(verify(lines)) == []


async def test_a_bus_that_is_away_for_a_while_costs_nothing(
    opened: Open, stream: Stream, broker: Broker
) -> None:
    async with opened() as trail:
        trail.record(request(0))
        await stream.lines(1)
        broker.stop(kill=True)
        for number in range(1, 300):
            trail.record(request(number))
            await asyncio.sleep(0)
        assert trail.stats.lag > 0
        broker.start()
        lines = await stream.lines(300, timeout=20)
    assert operations(lines) == [f"tools/{number}" for number in range(300)]
    assert list(verify(lines)) == []


async def test_the_next_trail_ships_what_the_last_one_could_not_and_names_its_end(
    opened: Open, bus: Bus, root: Path
) -> None:
    async with opened() as first:
        tickets = [first.record(request(number)) for number in range(20)]
    owner = Stream(bus)
    await owner.make()
    async with opened() as second:
        assert (second.before.chain, second.before.seq) == (first._chain.uid, 20)
        tickets.append(second.record(request(20)))
        lines = await owner.lines(21)
    assert uids(lines) == [each.uid for each in tickets]
    last, genesis = read(lines[19]), read(lines[20])
    assert last is not None
    assert genesis is not None
    assert genesis.chain.prev == last.chain.hash
    async with opened():
        pass
    assert len(list(root.glob("edge/*"))) == 1


WRITER = """
    import asyncio, sys
    from pathlib import Path
    from libs.common.audit.trail import Trail
    from libs.common.bus import Bus
    from tests.libs.common.audit.conftest import KEY, request

    async def main():
        bus = Bus(sys.argv[1], "edge")
        await bus.connect()
        async with Trail(bus, Path(sys.argv[2]), KEY, worker="edge-1") as trail:
            for number in range(1_000_000):
                ticket = trail.record(request(number))
                await asyncio.sleep(0)
                print(ticket.uid, flush=True)

    asyncio.run(main())
"""


def writer(broker: Broker, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), broker.url, str(root)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
    )


async def test_a_writer_that_is_killed_while_it_writes_loses_nothing_it_has_said(
    broker: Broker, opened: Open, stream: Stream, root: Path
) -> None:
    process = writer(broker, root)
    assert process.stdout is not None
    said = [(await anyio.to_thread.run_sync(process.stdout.readline)).strip() for _ in range(400)]
    process.send_signal(signal.SIGKILL)
    rest = await anyio.to_thread.run_sync(process.stdout.read)
    process.wait(5)
    process.stdout.close()
    said += [each for each in rest.split("\n") if len(each) == 26]
    async with opened() as trail:
        genesis = trail.record(request())
        async with asyncio.timeout(10):
            lines = await stream.lines(len(said) + 1)
            while genesis.uid not in uids(lines):
                lines = await stream.lines(len(lines) + 1)
    assert set(said) <= set(uids(lines))
    assert list(verify(lines, whole=False)) == []
    assert uids(lines)[-1] == genesis.uid


async def test_several_processes_share_one_root(bus: Bus, other: Bus, root: Path, stream: Stream) -> None:
    async with (
        Trail(bus, root, KEY, worker="edge-1") as edge,
        Trail(bus, root, KEY, worker="edge-2") as second,
        Trail(other, root, KEY, worker="connector-1") as connector,
    ):
        for trail in (edge, second, connector) * 50:
            trail.record(request())
        lines = await stream.lines(150)
    assert list(verify(lines)) == []
    chains = [event.chain.uid for line in lines if (event := read(line)) is not None]
    assert {chains.count(each) for each in chains} == {50}


async def test_a_dead_writer_of_another_role_is_shipped_too(
    bus: Bus, other: Bus, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Trail(other, root, KEY, worker="connector-1") as connector:
        connector.record(request())
    monkeypatch.setattr(trails, "ADOPT_EVERY", 0.05)
    owner = Stream(bus)
    await owner.make()
    async with Trail(bus, root, KEY, worker="edge-1"):
        assert len(await owner.lines(1)) == 1


async def test_a_last_line_that_was_being_written_when_the_power_went_is_none(
    opened: Open, bus: Bus, root: Path
) -> None:
    async with opened() as first:
        for number in range(3):
            first.record(request(number))
    segment = next(root.glob("edge/*/*.log"))
    with segment.open("ab") as file:
        file.write(segment.read_bytes()[:200] + bytes(4096))
    owner = Stream(bus)
    await owner.make()
    async with opened() as second:
        second.record(request(3))
        lines = await owner.lines(4)
    assert operations(lines) == [f"tools/{number}" for number in range(4)]
    assert list(verify(lines)) == []


async def test_a_line_that_is_damaged_is_left_out_and_missed(opened: Open, bus: Bus, root: Path) -> None:
    async with opened() as first:
        for number in range(3):
            first.record(request(number))
    segment = next(root.glob("edge/*/*.log"))
    lines = segment.read_bytes().split(b"\n")
    segment.write_bytes(b"\n".join([lines[0], b"\0" * len(lines[1]), *lines[2:]]))
    owner = Stream(bus)
    await owner.make()
    async with opened():
        found = list(verify(await owner.lines(2)))
    assert [(each.wrong, each.seq) for each in found] == [("removed", 2)]


@pytest.mark.parametrize("cursor", [b"", b"garbage", b"9999999999999999", b"-5"])
async def test_a_folder_in_disorder_loses_nothing_and_stops_nobody(
    opened: Open, bus: Bus, root: Path, cursor: bytes
) -> None:
    async with opened() as first:
        for number in range(3):
            first.record(request(number))
    folder = next(root.glob("edge/*"))
    (folder / "cursor").write_bytes(cursor)
    (folder / "notes.log").write_text("not ours")
    with next(folder.glob("0*.log")).open("ab") as file:
        file.write(b"no event\n")
    owner = Stream(bus)
    await owner.make()
    async with opened() as second:
        assert second.before.seq == 3
        assert operations(await owner.lines(3)) == [f"tools/{number}" for number in range(3)]


async def test_an_event_is_put_together_in_its_place_when_it_is_written(opened: Open, stream: Stream) -> None:
    made: list[int] = []

    def make(number: int) -> Event:
        made.append(number)
        return request(number)

    async with opened() as trail:
        tickets = [trail.record(partial(make, 0)), trail.record(request(1)), trail.record(partial(make, 2))]
        assert made == []
        assert trail.stats.recorded == 3
        lines = await stream.lines(3)
    assert made == [0, 2]
    assert operations(lines) == ["tools/0", "tools/1", "tools/2"]
    assert uids(lines) == [each.uid for each in tickets]


async def test_an_event_that_cannot_be_written_takes_no_other_with_it(opened: Open, stream: Stream) -> None:
    async with opened() as trail:
        trail.record(request(0))
        trail.record(Event(code="mcp.request", facts={"odd": object()}))
        trail.record(lambda: request(int("odd")))
        trail.record(request(1))
        lines = await stream.lines(2)
        assert trail.stats.lost == 2
    assert operations(lines) == ["tools/0", "tools/1"]
    assert list(verify(lines)) == []


async def test_segments_go_when_they_are_shipped(
    opened: Open, stream: Stream, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT", 5_000)
    async with opened() as trail:
        for number in range(100):
            trail.record(request(number))
            await asyncio.sleep(0)
        assert len(list(root.glob("edge/*/*.log"))) > 1
        lines = await stream.lines(100)
    assert list(verify(lines)) == []
    assert len(list(root.glob("edge/*/*.log"))) == 1


def vouched(lines: list[bytes]) -> list[bytes]:
    """A checkpoint of the end of their chain."""
    places = [json.loads(line)["unmapped"]["nexus"]["chain"] for line in lines]
    last = max(places, key=lambda place: place["seq"])
    signed = Signer(b"s" * 32).events([Head(last["uid"], last["seq"], last["hash"])])
    return [Chain("auditor-1").seal(event).line for event in signed]


async def test_a_full_spool_goes_over_to_memory_and_then_counts_what_is_lost(
    opened: Open, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "ROOM", 10_000)
    owner = Stream(bus)
    async with opened(most=10_000) as trail:
        for number in range(100):
            trail.record(request(number))
        lost = trail.stats.lost
        assert 50 < lost < 100
        await owner.make()
        await owner.lines(100 - lost)
        trail.record(request(100))
        lines = await owner.lines(100 - lost + 2)
    found = list(verify([*lines, *vouched(lines)]))
    assert [(each.wrong, each.last - each.seq + 1) for each in found] == [("lost", lost)]


async def test_strict_is_durable_when_it_says_so(opened: Open, bus: Bus) -> None:
    async with opened(strict=True) as trail:
        tickets = [trail.record(request(number)) for number in range(100)]
        with anyio.fail_after(5):
            async with asyncio.TaskGroup() as tasks:
                for ticket in tickets:
                    tasks.create_task(trail.durable(ticket))
        assert trail._spool is not None
        assert trail._spool.synced == trail._spool.end


async def test_strict_stays_durable_over_the_end_of_a_segment(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT", 3_000)
    async with opened(strict=True) as trail:
        for number in range(20):
            with anyio.fail_after(5):
                await trail.durable(trail.record(request(number)))
        assert trail._spool is not None
        assert trail._spool._unsynced == []


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """A place where nobody can make a folder, not even root."""
    path = tmp_path / "file"
    path.write_text("no folder")
    return path / "spool"


async def test_f9_strict_refuses_when_neither_disk_nor_stream_takes_an_event(
    opened: Open, broker: Broker, bus: Bus, unwritable: Path
) -> None:
    async with opened(to=unwritable, strict=True) as trail:
        broker.stop(kill=True)
        with anyio.fail_after(5):
            while bus.connected:
                await asyncio.sleep(0.01)
        with pytest.raises(AuditUnavailable) as refused:
            trail.record(request())
    assert refused.value.http == 503
    assert refused.value.executed == "no"


async def test_f9_strict_refuses_within_two_seconds_when_the_stream_is_missing_and_the_disk_as_well(
    opened: Open, unwritable: Path
) -> None:
    async with opened(to=unwritable, strict=True) as trail:
        ticket = trail.record(request())
        with anyio.fail_after(3), pytest.raises(AuditUnavailable):
            await trail.durable(ticket)


async def test_strict_without_a_disk_is_durable_in_the_stream(
    opened: Open, stream: Stream, unwritable: Path
) -> None:
    async with opened(to=unwritable, strict=True) as trail:
        with anyio.fail_after(2):
            await trail.durable(trail.record(request()))
        assert await stream.count() == 1


async def test_f9_fast_without_a_disk_serves_and_loses_only_what_the_stream_cannot_take(
    opened: Open, stream: Stream, broker: Broker, bus: Bus, unwritable: Path
) -> None:
    async with opened(to=unwritable) as trail:
        trail.record(request(0))
        await stream.lines(1)
        assert trail.stats.lost == 0
        broker.stop(kill=True)
        with anyio.fail_after(5):
            while bus.connected:
                await asyncio.sleep(0.01)
        trail.record(request(1))
        assert trail.stats.lost == 1


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: a write is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_is_full_in_the_middle_of_an_event_breaks_no_line(
    opened: Open, stream: Stream, root: Path
) -> None:
    async with opened() as trail:
        with full_disk(20_000):
            for number in range(50):
                trail.record(request(number))
            assert trail.stats.lost == 0
        await stream.lines(50)
        segment = next(root.glob("edge/*/*.log"))
        assert segment.stat().st_size < 20_000
        trail.record(request(50))
        lines = await stream.lines(51)
        assert segment.read_bytes().count(b"\n") == segment.read_bytes().count(b"tools/")
    assert list(verify(lines)) == []
    assert trail.stats.lost == 0


async def test_a_folder_that_is_removed_is_made_again(
    opened: Open, stream: Stream, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT", 3_000)
    monkeypatch.setattr(trails, "REOPEN_EVERY", 0.0)
    async with opened() as trail:
        trail.record(request(0))
        await stream.lines(1)
        for each in root.glob("edge/*/*"):
            each.unlink()
        next(root.glob("edge/*")).rmdir()
        for number in range(1, 30):
            trail.record(request(number))
        lines = await stream.lines(30)
    assert trail.stats.lost == 0
    assert list(verify(lines)) == []


async def test_no_trail_records_nothing() -> None:
    async with NO_TRAIL as trail:
        ticket = trail.record(request())
        await trail.durable(ticket)
    assert not trail.enabled
    assert ticket is NO_TICKET


async def test_strict_believes_no_later_sync_where_one_has_failed(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trails, "DURABLE_WITHIN", 0.3)
    sync, failures = os.fdatasync, [OSError(5, "Input/output error")]

    def fail_once(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", fail_once)
    async with opened(strict=True) as trail:
        before = trail.record(request(1))
        with pytest.raises(AuditUnavailable):
            await trail.durable(before)
        await trail.durable(trail.record(request(2)))
        with pytest.raises(AuditUnavailable):
            await trail.durable(before)


async def test_strict_has_the_names_of_its_files_on_the_disk(
    opened: Open, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT", 1_000)
    sync, synced = os.fsync, list[int]()

    def note(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    async with opened(strict=True) as trail:
        await trail.durable(trail.record(request()))
        assert trail._spool is not None
        folder = trail._spool.folder
        assert {each.stat().st_ino for each in (folder, folder.parent, root)} <= set(synced)
        synced.clear()
        for number in range(3):
            await trail.durable(trail.record(request(number)))
        assert folder.stat().st_ino in synced
