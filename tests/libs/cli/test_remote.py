"""The commands that talk to a running gateway, against a real edge and against whoever else is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
import typer
from anyio import to_thread

from libs.cli import remote
from libs.common.messages.calls import SearchTools
from tests.broker import free_port
from tests.services.edge.conftest import Edge, running
from tests.services.edge.stub import HITS

pytestmark = pytest.mark.anyio

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """No table is wrapped."""
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with running() as edge:
        yield edge


async def run(command: Callable[..., None], *args: object, **kwargs: object) -> None:
    with anyio.fail_after(20):
        await to_thread.run_sync(partial(command, *args, **kwargs))


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


async def test_servers_are_shown_with_state_and_reason(edge: Edge, capsys: Capture) -> None:
    await run(remote.servers, f"{edge.url}/mcp", watch=False)
    head, demo, late = rows(capsys.readouterr().out)
    assert head == ["server", "state", "tools", "since", "connectors", "last error"]
    assert (demo[:3], demo[4]) == (["demo", "ready", "2"], "w1")
    assert (late[:3], late[-1]) == (["late", "failed", "0"], "it exited with 3")


HOSTILE = "[/red] [bold]x[/bold] \x1b[2J \x07 [link=evil]"
TAMED = r"[/red] [bold]x[/bold] \x1b[2J \x07 [link=evil]"


def test_text_of_others_cannot_command_the_terminal() -> None:
    assert remote.plain(HOSTILE) == TAMED
    assert remote.plain("a\tb\nc ä 漢\r\u202e") == "a\tb\nc ä 漢\\r\\u202e"


async def test_a_servers_last_words_are_shown_as_they_are(capsys: Capture) -> None:
    said = {"servers": {"git": {"state": "[/odd]", "error": HOSTILE}}}
    async with answering(json.dumps(said)) as url:
        await run(remote.servers, url, watch=False)
    (_, row) = capsys.readouterr().out.splitlines()
    assert TAMED in row
    assert "[/odd]" in row


async def test_a_found_tool_is_shown_as_it_describes_itself(capsys: Capture) -> None:
    hit = {"name": "git__log", "score": 1.5, "description": f"Show\n  {HOSTILE}"}
    said = {"result": {"structuredContent": {"results": [hit]}}}
    async with answering(json.dumps(said)) as url:
        await run(remote.search, url, ["log"])
    (_, row) = capsys.readouterr().out.splitlines()
    assert row.rstrip().endswith(f"Show {TAMED}")


@pytest.mark.parametrize(
    ("said", "shown"), [("x" * 100, "x" * 100), ("x" * 101, "x" * 99 + "…")], ids=["fits", "too long"]
)
async def test_a_description_that_is_cut_says_so(said: str, shown: str, capsys: Capture) -> None:
    hit = {"name": "git__log", "score": 1.5, "description": said}
    async with answering(json.dumps({"result": {"structuredContent": {"results": [hit]}}})) as url:
        await run(remote.search, url, ["log"], limit=5)
    assert rows(capsys.readouterr().out)[1][2] == shown


async def test_tools_are_found_best_first(edge: Edge, capsys: Capture) -> None:
    await run(remote.search, f"{edge.url}/mcp", ["echo", "slow"])
    _, *found = rows(capsys.readouterr().out)
    assert [row[0] for row in found] == [hit.name for hit in HITS]
    assert found[0] == ["demo__echo", "2.50", "reads", "Repeats the text"]


async def test_what_matched_and_what_was_misspelt_is_shown(capsys: Capture) -> None:
    why = {"matched": ["show", "comits"], "repaired": {"comits": "commits"}}
    hit = {"name": "git__log", "score": 0.5, "description": "History", "why": why}
    said = {"result": {"structuredContent": {"results": [{**hit, "annotations": {"readOnlyHint": False}}]}}}
    async with answering(json.dumps(said)) as url:
        await run(remote.search, url, ["show", "comits"])
    head, row = rows(capsys.readouterr().out)
    assert head == ["tool", "score", "effect", "because of", "description"]
    assert row == ["git__log", "0.50", "writes", "show comits→commits", "History"]


async def test_a_tool_that_only_means_something_like_it_is_marked(capsys: Capture) -> None:
    hit = {"name": "meteo__forecast", "score": 0.3, "description": "Weather", "why": {"related": True}}
    async with answering(json.dumps({"result": {"structuredContent": {"results": [hit]}}})) as url:
        await run(remote.search, url, ["rain"])
    assert rows(capsys.readouterr().out)[1] == ["meteo__forecast", "0.30", "(related)", "Weather"]


async def test_names_alone_are_a_shorter_table(edge: Edge, capsys: Capture) -> None:
    await run(remote.search, f"{edge.url}/mcp", ["echo"], detail="names")
    assert rows(capsys.readouterr().out) == [
        ["tool", "score", "description"],
        ["demo__echo", "2.50", "Repeats the text"],
    ]


async def test_in_full_all_that_is_known_is_shown(edge: Edge, capsys: Capture) -> None:
    await run(remote.search, f"{edge.url}/mcp", ["echo"], detail="full")
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["title"]) == ("demo__echo", "Echo")
    assert shown["output_schema"]


async def test_filters_are_sent_as_they_are_given(edge: Edge) -> None:
    wanted: dict[str, Any] = {"limit": 3, "server": "demo", "read_only": True, "detail": "summary"}
    await run(remote.search, f"{edge.url}/mcp", ["echo"], **wanted)
    (asked,) = edge.gateway.seen
    assert isinstance(asked, SearchTools)
    assert (asked.limit, asked.server, asked.read_only, asked.detail) == (3, "demo", True, "summary")


async def test_tools_are_found_where_no_structured_content_is_sent(capsys: Capture) -> None:
    async with running(structured_content=False) as edge:
        await run(remote.search, f"{edge.url}/mcp", ["echo"])
    assert "demo__echo" in capsys.readouterr().out


async def test_nothing_found_says_what_is_near_and_fails(edge: Edge, capsys: Capture) -> None:
    with pytest.raises(typer.Exit) as caught:
        await run(remote.search, f"{edge.url}/mcp", ["nonsense"])
    assert caught.value.exit_code == 1
    assert "demo__echo" in capsys.readouterr().out


async def test_nothing_found_is_told_where_no_structured_content_is_sent(capsys: Capture) -> None:
    async with running(structured_content=False) as edge:
        with pytest.raises(typer.Exit):
            await run(remote.search, f"{edge.url}/mcp", ["nonsense"])
    assert "demo__echo" in capsys.readouterr().out


async def test_a_search_that_is_refused_says_why_and_fails(edge: Edge, capsys: Capture) -> None:
    with pytest.raises(typer.Exit):
        await run(remote.search, f"{edge.url}/mcp", ["echo"], server="x" * 65)
    assert '"server" must be' in capsys.readouterr().out


async def test_a_tool_is_run_and_its_text_printed(edge: Edge, capsys: Capture) -> None:
    await run(remote.call, f"{edge.url}/mcp", "demo__echo", '{"x": 1}')
    assert capsys.readouterr().out == "demo__echo {'x': 1}\n"


async def test_a_result_that_is_an_error_fails_the_command(capsys: Capture) -> None:
    said = '{"result":{"isError":true,"content":[{"type":"text","text":"no\\u001b"},{"type":"image"}]}}'
    async with answering(said) as url:
        with pytest.raises(typer.Exit) as caught:
            await run(remote.call, url, "demo__echo", "{}")
    assert caught.value.exit_code == 1
    assert capsys.readouterr().out == 'no\\x1b\n{"type": "image"}\n'


async def test_a_refused_call_ends_with_its_message_and_code(edge: Edge) -> None:
    with pytest.raises(SystemExit, match=r"nobody holds the server now \(-31002\)"):
        await run(remote.call, f"{edge.url}/mcp", "demo__down", "{}")


async def test_arguments_that_are_not_json_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(typer.BadParameter, match="not JSON"):
        remote.call("http://127.0.0.1:1/mcp", "demo__echo", "{x: 1}")


COMMANDS: list[Callable[[str], None]] = [
    lambda url: remote.servers(url, watch=False),
    lambda url: remote.search(url, ["x"]),
    lambda url: remote.call(url, "a__b", "{}"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=["servers", "search", "call"])
async def test_without_a_gateway_the_commands_say_how_to_start_one(command: Callable[[str], None]) -> None:
    with pytest.raises(SystemExit, match=r"no gateway answers at .*start one with `nexus`"):
        await run(command, f"http://127.0.0.1:{free_port()}/mcp")
    with pytest.raises(SystemExit, match="no gateway answers at"):
        await run(command, "nonsense")


@pytest.mark.parametrize("command", COMMANDS, ids=["servers", "search", "call"])
@pytest.mark.parametrize("said", ["<html>", "[]", "7", "{}", '{"result":[]}', '{"error":"no"}', ""])
async def test_whoever_else_answers_is_told_from_a_gateway(command: Callable[[str], None], said: str) -> None:
    async with answering(said) as url:
        with pytest.raises(
            SystemExit, match=f"{url.removesuffix('/mcp')}.*(not as|is not the readiness page)"
        ):
            await run(command, url)


@asynccontextmanager
async def answering(body: str) -> AsyncIterator[str]:
    """The URL of somebody who answers everything with `body`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        await reader.readexactly(length)
        reply = body.encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(reply) + reply
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
