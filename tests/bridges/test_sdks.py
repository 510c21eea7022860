"""The clients of both SDKs, where a server asks or tells while it works."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp import Client

from tests.bridges.clients import CALLERS
from tests.bridges.conftest import Bridge
from tests.bridges.matrix import Cell, proves
from tests.bridges.test_questions import answered
from tests.system.parts import NPM
from tests.system.real import NODE
from tests.system.wire import Message

pytestmark = pytest.mark.anyio

SCRIPT = Path(__file__).with_name("client.mjs")
KINDS = ("elicitation", "sampling", "roots")
needs_npm = pytest.mark.skipif(not NPM.exists(), reason="the npm servers are missing: tests/real/install.py")


@dataclass
class Person:
    """One client of the Python SDK, which answers whatever it is asked with its name."""

    name: str
    asked: list[str] = field(default_factory=list)
    steps: list[str | None] = field(default_factory=list)
    said: Any = None

    async def elicited(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params.message)
        return types.ElicitResult(action="accept", content={"word": self.name})

    async def sampled(
        self, context: Any, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        content = params.messages[0].content
        assert isinstance(content, types.TextContent)
        self.asked.append(content.text)
        text = types.TextContent(type="text", text=self.name)
        return types.CreateMessageResult(role="assistant", content=text, model="m")

    async def rooted(self, context: Any) -> types.ListRootsResult:
        return types.ListRootsResult.model_validate({"roots": [{"uri": f"file:///{self.name}"}]})

    async def stepped(self, progress: float, total: float | None, message: str | None) -> None:
        self.steps.append(message)

    async def call(self, url: str, mode: str, tool: str, arguments: Message) -> None:
        async with Client(
            url,
            mode=mode,
            elicitation_callback=self.elicited,
            sampling_callback=self.sampled,
            list_roots_callback=self.rooted,
        ) as client:
            given = {**arguments, "token": self.name}
            result = await client.call_tool(tool, given, progress_callback=self.stepped)
            self.said = json.loads(result.content[0].model_dump()["text"])


async def pythons(bridge: Bridge, cell: Cell, tool: str, count: int, **arguments: Any) -> list[Person]:
    """What became of so many clients at once."""
    people = [Person(f"person-{number}") for number in range(count)]
    mode = "2026-07-28" if cell.modern else "legacy"
    arguments |= {"meeting": f"python {tool} {cell} {arguments.get('kind')}", "size": count}
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for person in people:
                group.start_soon(person.call, bridge.url(cell), mode, tool, arguments)
    return people


async def typescripts(bridge: Bridge, cell: Cell, tool: str, count: int, **arguments: Any) -> list[Message]:
    """The same with the other SDK."""
    arguments |= {"meeting": f"typescript {tool} {cell} {arguments.get('kind')}", "size": count}
    names = [f"script-{number}" for number in range(count)]
    plan = {"url": bridge.url(cell), "names": names, "tool": tool, "arguments": arguments}
    with anyio.fail_after(60):
        done = await anyio.run_process([NODE, SCRIPT, json.dumps(plan)], check=False)
    assert done.returncode == 0, done.stderr.decode()
    said: list[Message] = json.loads(done.stdout)
    assert len(said) == count
    return said


@proves("elicitation form", "sampling", "roots")
async def test_clients_of_the_python_sdk_are_asked_their_own_questions(bridge: Bridge, cell: Cell) -> None:
    for kind in KINDS:
        for person in await pythons(bridge, cell, "probe_ask", 5 if cell.certain else 1, kind=kind):
            assert person.asked == ([] if kind == "roots" else [person.name])
            assert person.said["token"] == person.name
            assert answered(kind, person.said["answer"]) == person.name


@proves("progress")
async def test_clients_of_the_python_sdk_see_their_own_progress(bridge: Bridge, cell: Cell) -> None:
    for person in await pythons(bridge, cell, "probe_steps", 5):
        assert person.steps == [person.name] * 3
        assert person.said["token"] == person.name


@needs_npm
@proves("elicitation form", "sampling", "roots", cells="L?-*")
async def test_clients_of_the_typescript_sdk_are_asked_their_own_questions(
    bridge: Bridge, cell: Cell
) -> None:
    for kind in KINDS:
        count = CALLERS if cell.certain else 1
        for person in await typescripts(bridge, cell, "probe_ask", count, kind=kind):
            assert person["asked"] == [person["name"]]
            assert person["said"]["token"] == person["name"]
            assert answered(kind, person["said"]["answer"]) == person["name"]


@needs_npm
@proves("progress", cells="L?-*")
async def test_clients_of_the_typescript_sdk_see_their_own_progress(bridge: Bridge, cell: Cell) -> None:
    for person in await typescripts(bridge, cell, "probe_steps", CALLERS):
        assert person["steps"] == [person["name"]] * 3
