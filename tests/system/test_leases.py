"""Two connectors and one server that may run only once: never both, and always one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import psutil
import pytest

from tests.system.gateway import Gateway, eventually, lives
from tests.system.parts import Journal, witness
from tests.system.wire import execute, text, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.system]

TAKEOVER = 8.0
"""Seconds until a killed owner's server is up again: the lease's four at most, and a start."""


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    folder = tmp_path_factory.mktemp("leases")
    single = witness(_journal(folder).flag, f"alone={folder / 'lock'}")
    servers = {"single": single, "spread": witness(instances="per-worker")}
    async with Gateway(folder, servers, "--scale", "connector=2") as gateway:
        yield gateway


@pytest.fixture
def journal(gateway: Gateway) -> Journal:
    return _journal(gateway.folder)


def _journal(folder: Path) -> Journal:
    return Journal(folder / "journal")


async def _owner(gateway: Gateway) -> psutil.Process:
    """The connector that runs the single instance."""
    pid = int(text(await execute(gateway.url, "single__pid")))
    return psutil.Process(psutil.Process(pid).ppid())


async def test_of_two_connectors_one_runs_the_server(gateway: Gateway, journal: Journal) -> None:
    pids = {text(await execute(gateway.url, "single__pid")) for _ in range(10)}
    assert len(pids) == 1
    page = await gateway.ready("single")
    assert len(page["servers"]["single"]["workers"]) == 1
    assert not journal.entries("overlap")


async def test_a_server_that_may_be_spread_runs_on_both(gateway: Gateway) -> None:
    await gateway.until(lambda page: len(page["servers"]["spread"]["workers"]) == 2, 10)
    with anyio.fail_after(10):
        pids: set[str] = set()
        while len(pids) < 2:
            pids.add(text(await execute(gateway.url, "spread__pid")))


@pytest.mark.parametrize("turn", range(2))
async def test_a_killed_owner_is_replaced_and_never_doubled(
    gateway: Gateway, journal: Journal, turn: int
) -> None:
    await gateway.ready("single")
    owner = await _owner(gateway)
    before = len(journal.entries("started"))
    await gateway.killed(owner)
    struck = time.monotonic()
    with anyio.fail_after(TAKEOVER + 10):
        while "result" not in (answer := await execute(gateway.url, "single__echo")):
            # The first may have been on its way to the owner when it died.
            assert verdict(answer) in ("no", "unknown")
    assert time.monotonic() - struck < TAKEOVER
    assert (await _owner(gateway)) != owner
    assert len(journal.entries("started")) == before + 1
    assert not journal.entries("overlap")


async def test_an_owner_that_ends_in_order_hands_over_at_once(gateway: Gateway, journal: Journal) -> None:
    await gateway.until(lambda page: len(page["servers"]["spread"]["workers"]) == 2, 15)
    await gateway.ready("single")
    (await _owner(gateway)).terminate()
    started = time.monotonic()
    for _ in range(20):
        assert text(await execute(gateway.url, "single__echo")) == "{}"
    assert time.monotonic() - started < TAKEOVER
    assert not journal.entries("overlap")


async def test_an_owner_that_stalls_is_replaced_and_gives_up_when_it_wakes(
    gateway: Gateway, journal: Journal
) -> None:
    """Stopped longer than its lease lasts: the only time two may run is until it notices."""
    await gateway.until(lambda page: len(page["servers"]["spread"]["workers"]) == 2, 15)
    await gateway.ready("single")
    owner = await _owner(gateway)
    before = len(journal.entries("started"))
    owner.suspend()
    try:
        await journal.saw("started", times=before + 1, within=TAKEOVER + 4)
    finally:
        owner.resume()
    await gateway.until(lambda page: len(page["servers"]["single"]["workers"]) == 1, 10)
    with anyio.fail_after(10):
        while (await _owner(gateway)) == owner:
            await anyio.sleep(0.1)
    await eventually(lambda: len(_running(journal)) == 1, 10, lambda: f"running: {_running(journal)}")


def _running(journal: Journal) -> list[int]:
    """The witnesses that live."""
    pids = [each["pid"] for each in journal.entries("started")]
    return [pid for pid in pids if psutil.pid_exists(pid) and lives(psutil.Process(pid))]
