"""What the tests of the HTTP sessions share: servers, sessions and calls in one line each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from libs.common import codec
from libs.common.config import HttpServer
from libs.common.messages.calls import Client
from services.connector.http import HttpSession
from services.connector.session import EventSink, Session
from tests.services.connector.http.peer import Script, legacy, modern

ERAS: dict[str, Callable[[Script], Script]] = {"modern": modern, "legacy": legacy}


def server(url: str, **keys: Any) -> HttpServer:
    """The configuration of a server, as the file would give it."""
    return HttpServer.model_validate({"name": "peer", "url": url, "start_timeout": "5s", **keys})


class Heard(list[tuple[str, Any]]):
    """The notices of a session: method and decoded message."""

    def __call__(self, method: str, message: Raw) -> None:
        self.append((method, msgspec.json.decode(message)))


@contextlib.asynccontextmanager
async def opened(
    url: str, headers: dict[str, str] | None = None, heard: Heard | None = None, **keys: Any
) -> AsyncIterator[HttpSession]:
    """An open session, closed at the end."""
    session = HttpSession(server(url, **keys), headers or {}, heard if heard is not None else Heard())
    await session.open()
    try:
        yield session
    finally:
        await session.close()


async def call(
    session: Session,
    text: str = "hello",
    within: float = 5,
    on_event: EventSink | None = None,
    tool: str = "echo",
) -> Any:
    """Call a tool and decode its result."""
    params = {"name": codec.raw(tool), "arguments": codec.raw({"text": text})}
    result = await session.call(
        "tools/call", params, deadline=time.time() + within, client=Client(), on_event=on_event
    )
    return msgspec.json.decode(result)


def text_of(result: Any) -> str:
    """The first text of a tool result."""
    return str(result["content"][0]["text"])


@pytest.fixture(params=["modern", "legacy"])
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)
