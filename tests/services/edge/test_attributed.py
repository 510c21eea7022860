from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from libs.common.codec import decode, raw
from services.edge.attributed import attributed


def passed(message: Any) -> Any:
    seen: list[Raw] = []
    attributed(seen.append, "git")(message if isinstance(message, Raw) else raw(message))
    (told,) = seen
    return told


def line(**params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", **params}}


def test_a_line_without_a_logger_gets_the_servers_name() -> None:
    assert decode(passed(line(data="x"))) == line(data="x", logger="git")


def test_a_logger_gets_it_in_front() -> None:
    assert decode(passed(line(logger="core"))) == line(logger="git/core")


@pytest.mark.parametrize(
    "message",
    [
        b'{"method": "notifications/progress", "params": {"message": "notifications/message"}}',
        b"notifications/message",
        b'{"method": "notifications/message"}',
        b'{"method": "notifications/message", "params": 5}',
        b"5",
    ],
)
def test_anything_else_is_passed_as_it_is(message: bytes) -> None:
    assert bytes(passed(Raw(message))) == message
