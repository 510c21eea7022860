"""The same through `execute`, where all servers are one: what a server asks and tells finds its caller."""

from __future__ import annotations

import anyio
import pytest

from tests.bridges.clients import CALLERS, Caller, Given, Outcome, at_once
from tests.bridges.conftest import Bridge
from tests.bridges.matrix import Cell, proves
from tests.bridges.test_questions import OFFERED, REFUSED, answer, check_own, token_of
from tests.system.wire import Message

pytestmark = pytest.mark.anyio


async def execute(client: Caller, cell: Cell, tool: str, given: Given, **arguments: object) -> Outcome:
    return await client.call("execute", given, name=f"{cell.server}__{tool}", arguments=arguments)


@proves("elicitation form", "sampling", "roots")
async def test_twenty_callers_of_execute_are_asked_their_own_questions(bridge: Bridge, cell: Cell) -> None:
    for kind in ("elicitation", "sampling", "roots"):
        await check_kind(bridge, cell, kind)


async def check_kind(bridge: Bridge, cell: Cell, kind: str) -> None:
    """Its own question and answer for each; where that is not certain, a refusal for all."""

    async def call(name: str) -> None:
        client = await bridge.at(bridge.everything, cell, **OFFERED)
        asked: list[str] = []

        def reply(question: Message) -> Message:
            asked.append(token_of(question))
            return answer(question, name)

        arguments = {"kind": kind, "token": name, "meeting": f"execute {kind} {cell}", "size": CALLERS}
        outcome = await execute(client, cell, "probe_ask", Given(reply=reply), **arguments)
        if cell.certain:
            check_own(kind, name, outcome, asked)
        else:
            assert asked == []
            assert outcome.error["code"] == REFUSED

    await at_once(call)


@proves("progress", "ids")
async def test_twenty_callers_of_execute_with_the_same_id_see_their_own_progress(
    bridge: Bridge, cell: Cell
) -> None:
    async def call(name: str) -> None:
        client = await bridge.at(bridge.everything, cell)
        given = Given(token="the same", number=1)
        arguments = {"token": name, "meeting": f"execute progress {cell}", "size": CALLERS}
        outcome = await execute(client, cell, "probe_steps", given, **arguments)
        steps = outcome.told("notifications/progress")
        assert [(step["progressToken"], step["message"]) for step in steps] == [("the same", name)] * 3
        assert outcome.said["token"] == name

    await at_once(call)


@proves("cancellation", cells="M?-*")
async def test_who_hangs_up_on_execute_cancels_its_own_call_alone(bridge: Bridge, cell: Cell) -> None:
    client, other = await bridge.at(bridge.everything, cell), await bridge.client(cell.beside("cancelled"))
    left, stays = f"left {cell}", f"stays {cell}"
    leaving = anyio.CancelScope()

    async def wait(token: str, scope: anyio.CancelScope) -> None:
        with scope:
            await execute(client, cell.beside("cancelled"), "probe_wait", Given(), token=token)

    async with anyio.create_task_group() as group:
        group.start_soon(wait, left, leaving)
        group.start_soon(wait, stays, anyio.CancelScope())
        await other.call("probe_until", state="waiting", tokens=[left, stays])
        leaving.cancel()
        heard = (await other.call("probe_until", state="cancelled", tokens=[left])).said
        assert left in heard
        assert stays not in heard
        group.cancel_scope.cancel()


@proves("tool result", "unknown")
async def test_execute_passes_a_result_on_as_the_era_of_the_client_has_it(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.at(bridge.everything, cell)
    result = (await execute(client, cell, "odd_result", Given())).result
    assert result["futureField"] == {"kept": [1, 2, 3]}
    assert result.get("resultType") == ("complete" if cell.modern else None)
    listed = (await execute(client, cell, "odd_list", Given())).result
    assert listed.get("structuredContent") == ([1, 2] if cell.modern else None)
