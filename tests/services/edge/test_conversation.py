"""What the client of a session says."""

from __future__ import annotations

import pytest

from tests.services.edge.conftest import Edge
from tests.services.edge.test_streams import events

pytestmark = pytest.mark.anyio

PATH = "/mcp/demo"


@pytest.mark.parametrize(("level", "told"), [("debug", 1), ("info", 1), ("notice", 0), ("emergency", 0)])
async def test_a_session_hears_nothing_below_its_level(edge: Edge, level: str, told: int) -> None:
    edge.gateway.release.set()
    headers = await edge.session(PATH)
    assert (await edge.legacy(headers, "logging/setLevel", PATH, level=level)).json()["result"] == {}
    answer = await edge.legacy(headers, "tools/call", PATH, name="events", _meta={"progressToken": 1})
    found = [each for each in events(answer.text) if each.get("method") == "notifications/message"]
    assert len(found) == told
