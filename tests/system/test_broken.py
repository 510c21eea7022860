"""Servers that cannot be started or break while they run: the others serve, and callers hear why."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import psutil
import pytest

from tests.system.gateway import PYTHON, Gateway, gone
from tests.system.parts import Journal, witness
from tests.system.wire import execute, text, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.system]

BROKEN = {
    "missing": 'command "no-such-command" was not found on PATH',
    "locked": "is not executable",
    "exits": "exited with code 7",
    "garbage": "lines in a row that are not JSON-RPC",
    "mute": "did not answer within 1 s",
}
"""The servers that never start, and what is said of each."""


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("broken")
    locked = folder / "not-executable"
    locked.write_text("#!/bin/sh\n")
    servers = {
        "fine": witness(),
        "fragile": witness(Journal(folder / "journal").flag),
        "missing": {"cmd": ["no-such-command"]},
        "locked": {"cmd": [str(locked)]},
        "exits": witness("stderr=the database password is wrong", "exit=7"),
        "garbage": witness("garbage"),
        "mute": witness("mute", start_timeout=1),
    }
    async with Gateway(folder, servers, needs=("fine", "fragile")) as gateway:
        yield gateway


@pytest.mark.parametrize("name", BROKEN)
async def test_a_server_that_cannot_start_is_reported_with_its_reason(gateway: Gateway, name: str) -> None:
    page = await gateway.until(lambda page: BROKEN[name] in page["servers"][name]["error"], 10)
    assert page["ready"]
    assert page["servers"]["fine"]["state"] == "ready"


@pytest.mark.parametrize("name", BROKEN)
async def test_a_call_to_a_server_that_never_started_is_refused_with_the_reason(
    gateway: Gateway, name: str
) -> None:
    await gateway.until(lambda page: page["servers"][name]["state"] == "failed", 15)
    started = time.monotonic()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_expect_fine, gateway)
        answer = await execute(gateway.url, f"{name}__echo")
    assert verdict(answer) == "no"
    assert f'no connector holds server "{name}"' in answer["error"]["message"]
    # At once, unless another attempt has just begun: that one is waited for.
    assert time.monotonic() - started < 8


async def _expect_fine(gateway: Gateway) -> None:
    assert text(await execute(gateway.url, "fine__echo", {"still": "here"})) == '{"still": "here"}'


async def test_what_a_child_said_last_is_shown_to_operators_only(gateway: Gateway) -> None:
    said = "the database password is wrong"
    await gateway.until(lambda page: said in page["servers"]["exits"]["detail"], 10)
    answer = await execute(gateway.url, "exits__echo")
    assert said not in str(answer)


async def test_a_child_that_dies_in_a_call_is_restarted_for_the_next_one(gateway: Gateway) -> None:
    before = text(await execute(gateway.url, "fragile__pid"))
    answer = await execute(gateway.url, "fragile__crash")
    assert verdict(answer) == "unknown"
    assert "exited with code 3" in answer["error"]["message"]
    assert text(await execute(gateway.url, "fragile__pid")) != before


async def test_a_child_killed_from_outside_fails_its_call_at_once(gateway: Gateway) -> None:
    await gateway.ready("fragile")
    journal = Journal(gateway.folder / "journal")
    pid = int(text(await execute(gateway.url, "fragile__pid")))
    started = time.monotonic()
    async with anyio.create_task_group() as tasks:

        async def strike() -> None:
            await journal.saw("waiting", "struck")
            psutil.Process(pid).kill()

        tasks.start_soon(strike)
        answer = await execute(gateway.url, "fragile__wait", {"seconds": 60, "tag": "struck"})
    assert verdict(answer) == "unknown"
    assert "SIGKILL" in answer["error"]["message"]
    assert time.monotonic() - started < 3
    assert int(text(await execute(gateway.url, "fragile__pid"))) != pid


async def test_a_flood_on_stderr_neither_blocks_the_call_nor_grows_the_connector(gateway: Gateway) -> None:
    (connector,) = gateway.services("connector")
    before = connector.memory_info().rss
    assert text(await execute(gateway.url, "fine__flood", {"megabytes": 64})) == "flooded"
    assert connector.memory_info().rss - before < 16 * 2**20


async def test_a_server_mended_while_the_gateway_runs_comes_up_by_itself(gateway: Gateway) -> None:
    locked = gateway.folder / "not-executable"
    locked.write_text(f"#!/bin/sh\nexec {PYTHON} {witness()['cmd'][3]}\n")
    locked.chmod(0o755)
    await gateway.ready("locked", within=40)
    assert text(await execute(gateway.url, "locked__echo")) == "{}"


async def test_a_child_that_ignores_sigterm_and_its_own_children_are_ended(tmp_path: Path) -> None:
    mark = f"stubborn={tmp_path}/mark"
    async with Gateway(tmp_path, {"stubborn": witness(mark)}, "--single-process") as gateway:
        pid = int(text(await execute(gateway.url, "stubborn__pid")))
        family = [psutil.Process(pid), *psutil.Process(pid).children()]
        assert len(family) == 2
    await gone(family, 1)
