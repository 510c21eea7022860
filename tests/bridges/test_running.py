"""What happens while a call runs: progress, and its being cancelled."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.bridges.clients import CALLERS, Given, Outcome, at_once
from tests.bridges.conftest import Bridge
from tests.bridges.matrix import Cell, proves

pytestmark = pytest.mark.anyio


@proves("progress")
async def test_twenty_callers_with_the_same_token_see_only_their_own_progress(
    bridge: Bridge, cell: Cell
) -> None:
    got: dict[str, Outcome] = {}

    async def call(name: str) -> None:
        client = await bridge.client(cell)
        arguments = {"token": name, "meeting": f"progress {cell}", "size": CALLERS}
        got[name] = await client.call("probe_steps", Given(token="the same"), **arguments)

    await at_once(call)
    for name, outcome in got.items():
        steps = outcome.told("notifications/progress")
        assert {(step["progressToken"], step["message"], step["total"]) for step in steps} == {
            ("the same", name, 3)
        }
        assert [step["progress"] for step in steps] == [1, 2, 3]
        assert outcome.said["token"] == name


@proves("progress")
async def test_who_asks_for_no_progress_gets_none(bridge: Bridge, cell: Cell) -> None:
    outcome = await (await bridge.client(cell)).call("probe_steps", token="any")
    assert outcome.events == []


@proves("cancellation", cells="M?-*")
async def test_ten_of_twenty_modern_callers_hang_up_and_only_their_calls_are_cancelled(
    bridge: Bridge, cell: Cell
) -> None:
    names = [f"{cell} {number}" for number in range(CALLERS)]
    scopes = {name: anyio.CancelScope() for name in names}

    async def call(name: str) -> None:
        client = await bridge.client(cell.beside("cancelled"))
        with scopes[name]:
            await client.call("probe_wait", token=name)

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(call, name)
        await check_cancelled(bridge, cell, names, lambda name: scopes[name].cancel())
        group.cancel_scope.cancel()


@proves("cancellation", cells="L?-*")
async def test_ten_of_twenty_legacy_callers_cancel_and_only_their_calls_are_cancelled(
    bridge: Bridge, cell: Cell
) -> None:
    """All of them use the same id; the notification comes to another replica half of the time."""
    names = [f"{cell} {number}" for number in range(CALLERS)]
    clients = {name: await bridge.client(cell.beside("cancelled")) for name in names}
    ended: dict[str, Outcome] = {}

    async def call(name: str) -> None:
        ended[name] = await clients[name].call("probe_wait", Given(number=7), token=name)

    async def cancel(name: str) -> None:
        params = {"requestId": 7, "reason": "enough"}
        assert (await clients[name].notify("notifications/cancelled", params)).status_code == 202

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(call, name)
        await check_cancelled(bridge, cell, names, cancel)
        with anyio.fail_after(10):
            while len(ended) < CALLERS // 2:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert {name: outcome.message for name, outcome in ended.items()} == dict.fromkeys(names[::2])
    await end_all(bridge, cell, {name: clients[name] for name in names[1::2]})


async def check_cancelled(bridge: Bridge, cell: Cell, names: list[str], cancel: Any) -> None:
    """Every other call is cancelled, and the server hears of exactly these."""
    other = await bridge.client(cell.beside("cancelled"))
    assert set((await other.call("probe_until", state="waiting", tokens=names)).said) >= set(names)
    for name in names[::2]:
        done = cancel(name)
        if done is not None:
            await done
    heard = (await other.call("probe_until", state="cancelled", tokens=names[::2])).said
    assert {name for name in heard if name in names} == set(names[::2])


async def end_all(bridge: Bridge, cell: Cell, clients: dict[str, Any]) -> None:
    """Hanging up is no way to cancel with a session: the calls still run, and are cancelled by name."""
    other = await bridge.client(cell.beside("cancelled"))
    heard = (await other.call("probe_until", state="cancelled", tokens=[])).said
    assert not clients.keys() & set(heard)
    for client in clients.values():
        await client.notify("notifications/cancelled", {"requestId": 7})
    heard = (await other.call("probe_until", state="cancelled", tokens=list(clients))).said
    assert clients.keys() <= set(heard)
