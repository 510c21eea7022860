from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from libs.common.errors import ServerUnavailable
from services.connector.launch import launch

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("command", "cwd", "complaint"),
    [
        ((), None, "the command is empty"),
        (("",), None, "the command is empty"),
        (("cat", "a\0b"), None, "NUL character"),
        (("./cat",), Path("/"), 'command "./cat" was not found'),
        (("/",), None, 'command "/" was not found'),
        (("cat",), Path("/dev/null"), 'the working directory "/dev/null" is not a directory'),
    ],
)
async def test_what_cannot_be_started_is_told_in_a_sentence(
    command: tuple[str, ...], cwd: Path | None, complaint: str
) -> None:
    with pytest.raises(ServerUnavailable, match=complaint) as caught:
        await launch(asyncio.SubprocessProtocol(), command, {"PATH": "/bin:/usr/bin"}, cwd, None)
    assert caught.value.executed == "no"
