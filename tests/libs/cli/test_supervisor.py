"""Real processes that are kept alive, and ended in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import anyio
import psutil
import pytest
from structlog.testing import capture_logs

from libs.cli import supervisor
from libs.cli.supervisor import EXIT_CONFIG, Child, Supervisor

pytestmark = pytest.mark.anyio

PROGRAM = """\
import os, signal, sys, time
name, diary, how = sys.argv[1:]

def note(what):
    descriptor = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{what} {name} {os.getpid()}\\n".encode())

def end(*_):
    note("ended")
    os._exit(0)

signal.signal(signal.SIGTERM, signal.SIG_IGN if how == "stubborn" else end)
note("began")
if how.isdecimal():
    sys.exit(int(how))
time.sleep(60)
"""


class Diary:
    """What the processes wrote, one line an event."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def child(self, role: str, name: str, how: str = "", **env: str) -> Child:
        return Child(role, name, (sys.executable, "-c", PROGRAM, name, str(self.path), how), env)

    def entries(self) -> list[list[str]]:
        return [line.split() for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def of(self, what: str) -> list[str]:
        return [name for said, name, _ in self.entries() if said == what]

    def pids(self, name: str) -> list[int]:
        return [int(pid) for said, who, pid in self.entries() if (said, who) == ("began", name)]

    async def until(self, what: str, count: int) -> None:
        with anyio.fail_after(20):
            while len(self.of(what)) < count:
                await anyio.sleep(0.01)


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


async def test_roles_are_drained_one_after_the_other(diary: Diary) -> None:
    names = {"edge": ["edge-1", "edge-2"], "router": ["router-1"], "connector": ["connector-1"]}
    children = [diary.child(role, name) for role, all_ in names.items() for name in all_]
    stop = asyncio.Event()
    running = asyncio.create_task(
        Supervisor(children, order=("edge", "router", "indexer", "connector"), grace=10).run(stop)
    )
    await diary.until("began", 4)
    stop.set()
    with anyio.fail_after(10):
        assert await running == 0
    ended = diary.of("ended")
    assert (set(ended[:2]), ended[2:]) == ({"edge-1", "edge-2"}, ["router-1", "connector-1"])


async def test_a_process_that_dies_is_started_again_with_growing_waits(diary: Diary) -> None:
    stop = asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(
            Supervisor([diary.child("edge", "edge-1", "3")], order=("edge",), grace=10).run(stop)
        )
        await diary.until("began", 4)
        stop.set()
        with anyio.fail_after(10):
            assert await running == 0
    ends = [log for log in logs if log["event"] == "process ended; starting it again"]
    assert [(log["exit"], log["wait"]) for log in ends[:3]] == [(3, 0.1), (3, 0.2), (3, 0.4)]


async def test_a_process_that_was_killed_comes_back_while_the_others_stay(diary: Diary) -> None:
    children = [diary.child("edge", "edge-1"), diary.child("router", "router-1")]
    stop = asyncio.Event()
    with capture_logs():
        running = asyncio.create_task(Supervisor(children, order=("edge", "router"), grace=10).run(stop))
        await diary.until("began", 2)
        os.kill(diary.pids("edge-1")[0], signal.SIGKILL)
        await diary.until("began", 3)
        stop.set()
        with anyio.fail_after(10):
            await running
    assert (len(diary.pids("edge-1")), len(diary.pids("router-1"))) == (2, 1)


async def test_a_steady_life_begins_the_waits_anew(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STEADY", 0.0)
    stop = asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(
            Supervisor([diary.child("edge", "edge-1", "3")], order=("edge",), grace=10).run(stop)
        )
        await diary.until("began", 3)
        stop.set()
        await running
    assert {log["wait"] for log in logs} == {0.1}


async def test_a_configuration_nobody_can_use_ends_everything(diary: Diary) -> None:
    children = [diary.child("edge", "edge-1"), diary.child("router", "router-1", str(EXIT_CONFIG))]
    with anyio.fail_after(20):
        code = await Supervisor(children, order=("edge", "router"), grace=10).run(asyncio.Event())
    assert code == EXIT_CONFIG
    assert not any(psutil.pid_exists(pid) for pid in diary.pids("edge-1"))
    assert len(diary.pids("router-1")) == 1


async def test_a_process_that_does_not_drain_is_killed_after_the_grace(diary: Diary) -> None:
    stop = asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(
            Supervisor([diary.child("edge", "edge-1", "stubborn")], order=("edge",), grace=0.2).run(stop)
        )
        await diary.until("began", 1)
        stop.set()
        with anyio.fail_after(5):
            assert await running == 0
    assert [log["event"] for log in logs] == ["process did not drain in time; killing it"]
    assert not psutil.pid_exists(diary.pids("edge-1")[0])


async def test_a_program_that_cannot_be_started_is_tried_again_until_the_stop() -> None:
    child = Child("edge", "edge-1", ("/nowhere/python",), {})
    stop = asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(Supervisor([child], order=("edge",), grace=10).run(stop))
        with anyio.fail_after(10):
            while len([log for log in logs if log["event"] == "process not started"]) < 2:
                await anyio.sleep(0.01)
        stop.set()
        with anyio.fail_after(5):
            assert await running == 0


async def test_a_stop_at_once_leaves_no_process(diary: Diary) -> None:
    stop = asyncio.Event()
    stop.set()
    children = [diary.child("edge", f"edge-{number}") for number in range(3)]
    with anyio.fail_after(10):
        assert await Supervisor(children, order=("edge",), grace=8).run(stop) == 0
    assert not any(psutil.pid_exists(int(pid)) for _, _, pid in diary.entries())


async def test_a_child_gets_its_environment_its_sockets_and_the_supervisors_id(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = "\n".join(
        (
            "import os, sys; from pathlib import Path",
            "os.fstat(int(os.environ['FD']))",
            "leads = os.getsid(0) == os.getpid()",
            "Path(sys.argv[1]).write_text(f'{os.environ[\"NEXUS_SUPERVISOR\"]} {leads}')",
            "sys.exit(2)",
        )
    )
    with told.with_name("inherited").open("w") as file:
        env = {"FD": str(file.fileno())}
        child = Child("edge", "edge-1", (sys.executable, "-c", program, str(told)), env, (file.fileno(),))
        with anyio.fail_after(10):
            await Supervisor([child], order=("edge",), grace=5).run(asyncio.Event())
    assert told.read_text() == f"{os.getpid()} True"
