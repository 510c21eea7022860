from __future__ import annotations

import pytest

from tests.services.edge.conftest import Edge

pytestmark = pytest.mark.anyio


async def test_execute_reaches_the_tool_and_returns_its_result(edge: Edge) -> None:
    answer = await edge.execute("demo__echo", text="hi")
    assert answer.status_code == 200, answer.text
    assert answer.json()["result"]["content"] == [{"type": "text", "text": "demo__echo {'text': 'hi'}"}]
