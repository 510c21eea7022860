"""Stdio sessions against real child processes, on both event loops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Raw

from libs.common.errors import (
    DeadlineExceeded,
    DownstreamError,
    DownstreamLost,
    NotSent,
    Overloaded,
    ResultTooLarge,
    ServerUnavailable,
)
from libs.common.messages.calls import Client
from services.connector import handshake, process
from services.connector.session import LINE_MAX
from services.connector.stdio import StdioSession
from tests.services.connector.parts import CHILDREN, child, gone, raw, running, use

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


async def refused(server: Any) -> ServerUnavailable:
    session = StdioSession(server, lambda method, message: None)
    with pytest.raises(ServerUnavailable) as caught:
        await session.open()
    return caught.value


async def refusal(server: Any) -> str:
    return (await refused(server)).message


@pytest.mark.parametrize(("era", "version"), [("legacy", "2025-06-18"), ("modern", "2026-07-28")])
async def test_a_server_of_either_era_is_found_and_answers(era: str, version: str) -> None:
    session = StdioSession(child(f"era={era}", era="auto"), lambda method, message: None)
    opened = await session.open()
    assert (opened.era, opened.version, json.loads(bytes(opened.info))) == (era, version, {"name": "child"})
    assert json.loads(await use(session, "echo", a=1))["a"] == 1
    await session.close()


async def test_a_message_with_line_breaks_is_sent_as_one_line() -> None:
    async with running(child()) as session:
        params = {"name": raw("echo"), "arguments": Raw(b'{\r\n "text":\n "a\\nb"}')}
        result = await session.call("tools/call", params, deadline=time.time() + 20, client=Client())
        assert json.loads(json.loads(bytes(result))["content"][0]["text"])["text"] == "a\nb"


async def test_the_error_of_a_server_is_passed_on_as_it_came() -> None:
    async with running(child()) as session:
        with pytest.raises(DownstreamError) as caught:
            await use(session, "nothing")
    assert caught.value.failure().code == -32602
    assert json.loads(bytes(caught.value.failure().data)) == {"name": "nothing"}


async def test_a_hundred_calls_at_once_get_their_own_answers() -> None:
    answers: dict[int, str] = {}

    async def one(session: StdioSession, number: int) -> None:
        answers[number] = await use(session, "echo", number=number)

    async with running(child()) as session, anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(one, session, number)
    assert {number: json.loads(text)["number"] for number, text in answers.items()} == {
        number: number for number in range(100)
    }


async def test_progress_reaches_the_call_that_asked_for_it_alone() -> None:
    events: dict[str, list[Any]] = {"a": [], "b": []}

    async with running(child()) as session, anyio.create_task_group() as tasks:
        for seen in events.values():
            tasks.start_soon(
                use, session, "progress", 20, lambda raw, seen=seen: seen.append(json.loads(bytes(raw)))
            )
    steps = {name: [event["params"]["progress"] for event in seen] for name, seen in events.items()}
    tokens = {event["params"]["progressToken"] for seen in events.values() for event in seen}
    assert steps == {"a": [1, 2, 3], "b": [1, 2, 3]}
    assert len(tokens) == 2


async def test_a_cancelled_call_stops_in_the_server() -> None:
    async with running(child()) as session:
        with anyio.move_on_after(0.1):
            await use(session, "slow")
        await stopped(session)


async def test_a_call_past_its_deadline_fails_as_unknown_and_stops_in_the_server() -> None:
    async with running(child()) as session:
        with pytest.raises(DeadlineExceeded) as caught:
            await use(session, "slow", seconds=0.1)
        assert caught.value.executed == "unknown"
        await stopped(session)


async def stopped(session: StdioSession) -> None:
    with anyio.fail_after(10):
        while await use(session, "cancelled") != "1":
            await anyio.sleep(0.01)


async def test_a_server_that_dies_takes_its_calls_along_and_says_how() -> None:
    async with running(child()) as session:
        with anyio.fail_after(5), pytest.raises(DownstreamLost, match="exited with code 3"):
            await use(session, "crash")
        assert await session.lost == "exited with code 3"
        with pytest.raises(NotSent):
            await use(session, "echo")


async def test_lines_that_are_no_json_and_foreign_answers_disturb_nobody() -> None:
    async with running(child()) as session:
        assert await use(session, "garbage", lines=500) == "still here"
        assert not session.lost.done()


async def test_a_burst_of_messages_leaves_the_loop_its_turns() -> None:
    loop = asyncio.get_running_loop()
    heard = longest = since = 0

    def hear(method: str, message: Raw) -> None:
        nonlocal heard, since, longest
        heard, since = heard + 1, since + 1
        longest = max(longest, since)

    def turn() -> None:
        nonlocal since
        since = 0
        if not over:
            loop.call_soon(turn)

    session = StdioSession(child(), hear)
    await session.open()
    over = False
    loop.call_soon(turn)
    assert await use(session, "burst", lines=50_000) == "over"
    over = True
    await session.close()
    assert heard == 50_000
    assert longest <= 3 * process.BURST


async def test_a_server_that_is_killed_is_lost_with_the_signal_s_name() -> None:
    async with running(child()) as session:
        pid = int((await use(session, "pid")).partition(" ")[0])
        os.kill(pid, signal.SIGKILL)
        with anyio.fail_after(5):
            assert await session.lost == "was killed by SIGKILL"


async def test_a_server_that_writes_only_garbage_is_given_up() -> None:
    async with running(child()) as session:
        with pytest.raises(DownstreamLost, match="1000 lines in a row"):
            await use(session, "garbage", lines=3000)
        assert "1000 lines" in await session.lost


async def test_a_server_that_starts_with_endless_garbage_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.2)
    assert "1000 lines in a row that are not JSON-RPC" in await refusal(child("noisy"))


async def test_an_answer_of_eight_mebibytes_arrives_whole() -> None:
    async with running(child()) as session:
        text = await use(session, "big", size=LINE_MAX - 200)
    assert len(text) == LINE_MAX - 200


async def test_an_answer_of_fifty_mebibytes_fails_its_call_in_flat_memory() -> None:
    async with running(child()) as session:
        tracemalloc.start()
        with pytest.raises(ResultTooLarge) as caught:
            await use(session, "big", size=50 * 2**20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert caught.value.executed == "yes"
        assert json.loads(await use(session, "echo", a=1))["a"] == 1
    assert peak < 3 * LINE_MAX


async def test_a_flood_on_stderr_keeps_memory_flat() -> None:
    async with running(child()) as session:
        tracemalloc.start()
        assert await use(session, "flood", megabytes=100) == "flooded"
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4 * 2**20


async def test_a_server_that_does_not_read_is_overloaded_at_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.2)
    async with running(child("unread")) as session:
        for _ in range(7):
            await session.notify("notifications/x", {"text": raw("x" * 2 * 2**20)})
        with pytest.raises(Overloaded, match="does not read"):
            await session.notify("notifications/x", {"text": raw("x" * 4 * 2**20)})


async def test_what_a_server_asks_is_declined_and_its_ping_answered() -> None:
    async with running(child()) as session:
        replies = {reply["id"]: reply for reply in json.loads(await use(session, "ask"))}
    assert replies["q1"]["error"]["code"] == -32601
    assert replies["q2"]["result"] == {}


async def test_a_command_that_is_nowhere_is_named() -> None:
    assert await refusal(child(cmd=("no-such-command",))) == (
        'it did not start: command "no-such-command" was not found on PATH'
    )


async def test_a_file_that_is_not_executable_is_named(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("hello")
    assert f'command "{program}" is not executable' in await refusal(child(cmd=(str(program),)))


async def test_a_program_the_kernel_cannot_run_is_named(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    message = await refusal(child(cmd=(str(program),)))
    assert f'command "{program}" could not be started' in message


async def test_a_working_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert f'the working directory "{missing}" does not exist' in await refusal(child(cwd=missing))


async def test_a_server_that_exits_at_once_is_quoted() -> None:
    error = await refused(child("exit=7", "stderr=no \x1b[31mdatabase\x07", era="auto"))
    assert "exited with code 7" in error.message
    assert error.data["stderr"] == "no  [31mdatabase"


async def test_a_server_silent_in_initialize_is_refused_in_time() -> None:
    with anyio.fail_after(10):
        assert "did not answer within 0.3 s" in await refusal(child("mute", start_timeout=0.3))


async def test_a_server_of_an_unknown_revision_is_refused() -> None:
    assert 'revision "1999-01-01"' in await refusal(child("version=1999-01-01"))


async def test_a_server_that_dies_of_the_probe_is_started_again_as_legacy() -> None:
    async with running(child("strict", era="auto")) as session:
        assert json.loads(await use(session, "echo", a=1))["a"] == 1
        assert not session.lost.done()


async def test_a_server_that_ignores_the_probe_is_taken_for_legacy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "PROBE", 0.2)
    async with running(child("deaf", era="auto")) as session:
        assert json.loads(await use(session, "echo", a=1))["a"] == 1


async def test_a_modern_server_that_starts_slowly_is_still_found_modern(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handshake, "PROBE", 0.0)
    session = StdioSession(child("era=modern", era="auto"), lambda method, message: None)
    opened = await session.open()
    await session.close()
    assert opened.era == "modern"


async def test_a_child_sees_a_clean_environment_and_what_is_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEXUS_CANARY_SECRET", "leaked")
    async with running(child(env={"TOKEN": "its own"})) as session:
        seen = json.loads(await use(session, "env"))
    assert "NEXUS_CANARY_SECRET" not in seen
    assert seen["TOKEN"] == "its own"
    assert seen["PATH"] == os.environ["PATH"]


async def test_a_child_inherits_no_descriptor_but_the_three() -> None:
    with Path("/dev/null").open() as held:
        os.set_inheritable(held.fileno(), True)
        async with running(child()) as session:
            descriptors = (await use(session, "pid")).partition(" ")[2]
    # The fourth is that of the listing itself.
    assert descriptors == "['0', '1', '2', '3']"


async def test_a_closed_session_leaves_no_process_even_of_the_stubborn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "GRACE", 0.2)
    marker = tmp_path / "pids"
    async with running(child(f"stubborn={marker}")) as session:
        pids = [int(pid) for pid in marker.read_text().split()]
    await gone(*pids)
    assert not session.lost.done()


async def test_a_server_that_dies_leaves_no_grandchild(tmp_path: Path) -> None:
    marker = tmp_path / "pids"
    async with running(child(f"stubborn={marker}")) as session:
        with pytest.raises(DownstreamLost):
            await use(session, "crash")
        await gone(*[int(pid) for pid in marker.read_text().split()])


async def test_the_death_of_the_gateway_is_the_death_of_its_children(
    anyio_backend: tuple[str, dict[str, bool]], tmp_path: Path
) -> None:
    loop = "uvloop" if anyio_backend[1]["use_uvloop"] else "asyncio"
    marker = tmp_path / "pids"
    command = [sys.executable, str(CHILDREN / "parent.py"), loop, str(marker)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)}
    ) as gateway:
        assert gateway.stdout is not None
        assert gateway.stdout.readline() == b"open\n"
        leader, grandchild = (int(pid) for pid in marker.read_text().split())
        gateway.kill()
    await gone(leader)
    os.kill(grandchild, 9)


async def test_close_may_be_called_twice_and_before_open() -> None:
    session = StdioSession(child(), lambda method, message: None)
    await session.close()
    async with running(child()) as session:
        await session.close()


async def test_stderr_goes_to_a_file_and_its_end_into_the_error(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("before\n")
    error = await refused(child("exit=1", "stderr=because\n", stderr={"file": str(file)}))
    assert file.read_text() == "before\nbecause\n"
    assert error.data["stderr"] == "because"
