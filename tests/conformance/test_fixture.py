"""The fixture: what it is asked for goes round by either transport."""

from __future__ import annotations

import sys

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError

from tests.conformance.fixture.rounds import signed, verified

COMMAND = StdioServerParameters(command=sys.executable, args=["-m", "tests.conformance.fixture"])


@pytest.mark.anyio
async def test_both_eras_are_served_over_stdio() -> None:
    for mode in ("legacy", "2026-07-28"):
        with anyio.fail_after(30):
            async with Client(COMMAND, mode=mode) as client:
                result = await client.call_tool("test_simple_text", {})
                assert result.content[0].model_dump()["text"].startswith("This is a simple text")


def test_a_state_that_was_changed_is_refused() -> None:
    state = signed({"name": "Alice"})
    assert verified(state) == {"name": "Alice"}
    for forged in (state + "-TAMPERED", state[:-4] + "AAAA", "", None):
        with pytest.raises(MCPError):
            verified(forged)
