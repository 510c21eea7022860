"""Log lines: for the call they belong to, from the level on that its client wants."""

from __future__ import annotations

import anyio
import pytest

from tests.bridges.clients import Given, Outcome, at_once
from tests.bridges.conftest import Bridge
from tests.bridges.matrix import Cell, proves
from tests.conformance.fixture.probes import LEVELS
from tests.system.wire import Message

pytestmark = pytest.mark.anyio

LOGGED = "notifications/message"


def lines_of(outcome: Outcome) -> list[Message]:
    return outcome.told(LOGGED)


@proves("logging", cells="MM-* ML-*")
async def test_a_modern_client_gets_log_lines_from_the_level_on_that_it_names(
    bridge: Bridge, cell: Cell
) -> None:
    client = await bridge.client(cell)
    for level in LEVELS:
        lines = lines_of(await client.call("probe_logs", Given(level=level), token="mine"))
        assert [line["level"] for line in lines] == list(LEVELS[LEVELS.index(level) :])
        assert {line["data"] for line in lines} == {"mine"}


@proves("logging", cells="L?-*")
async def test_a_session_gets_log_lines_from_the_level_on_that_it_has_set(bridge: Bridge, cell: Cell) -> None:
    """The level comes to the other replicas a moment after the answer; every call after that has it."""
    client = await bridge.client(cell)
    for level in ("error", "debug"):
        await client.ask("logging/setLevel", {"level": level})
        wanted = list(LEVELS[LEVELS.index(level) :])
        got: list[str] = []
        with anyio.fail_after(5):
            while got != wanted:
                lines = lines_of(await client.call("probe_logs", token="mine"))
                got = [line["level"] for line in lines]
        assert {line["data"] for line in lines} == {"mine"}


@proves("logging", cells="M?-*")
async def test_a_modern_client_that_names_no_level_gets_no_log_lines(bridge: Bridge, cell: Cell) -> None:
    assert (await (await bridge.client(cell)).call("probe_logs", token="mine")).events == []


@proves("logging")
async def test_twenty_callers_never_see_a_log_line_of_another(bridge: Bridge, cell: Cell) -> None:
    """Where nothing says which call a line is for, nobody gets it; over HTTP its stream says so."""
    got: dict[str, Outcome] = {}

    async def call(name: str) -> None:
        client = await bridge.client(cell)
        arguments = {"token": name, "meeting": f"logs {cell}", "size": 20}
        got[name] = await client.call("probe_logs", Given(level="info"), **arguments)

    await at_once(call)
    for name, outcome in got.items():
        lines = lines_of(outcome)
        assert {line["data"] for line in lines} <= {name}
        if cell.transport == "http":
            assert [line["level"] for line in lines] == ["info", "error"]
