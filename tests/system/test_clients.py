"""Real clients and real servers: through the gateway everything is as it is without one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from mcp import Client
from msgspec import Raw

from tests.system.gateway import Gateway
from tests.system.parts import NPM, WITNESS, witness
from tests.system.real import (
    INFO,
    NODE,
    Case,
    cases,
    commands,
    direct,
    plain,
    prepare,
    remotes,
    stripped,
)
from tests.system.wire import ask, begin, called, http

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.system,
    pytest.mark.skipif(not NPM.exists(), reason="the npm servers are missing: python tests/real/install.py"),
]

CLIENT = Path(__file__).with_name("client.mjs")
ODD = msgspec.json.decode(WITNESS.with_name("odd.json").read_bytes().replace(b"\n", b""), type=dict[str, Raw])
MODES = ["2026-07-28", "legacy"]
SEARCHES = {"what time is it in another timezone": "time__convert_time", "commit history": "git__git_log"}
KINDS: list[dict[str, Any]] = [
    {"query": "commit history", "detail": "names"},
    {"query": "commit history", "detail": "full"},
    {"query": "git__git_log"},
    {"query": "commit history", "server": "time", "read_only": True},
    {"query": "commit history", "server": "gti"},
    {"query": "commit history", "limit": 51},
]
"""Searches with every kind of answer: clients check them against the schema that they were promised."""


@dataclass
class World:
    """A gateway, the calls to make, and what the servers answer without a gateway."""

    gateway: Gateway
    cases: list[Case]
    tools: dict[str, list[dict[str, Any]]]
    results: list[dict[str, Any]]


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("files").resolve()
    prepare(folder)
    with remotes() as urls:
        servers = {**commands(folder), **urls}
        planned = cases(folder)
        tools: dict[str, list[dict[str, Any]]] = {}
        results: dict[str, dict[str, Any]] = {}
        for name, server in servers.items():
            async with direct(server) as client:
                tools[name] = [dumped(tool) for tool in (await client.list_tools()).tools]
                for case in planned:
                    if case.server == name:
                        results[str(case)] = plain(await client.call_tool(case.tool, dict(case.arguments)))
        servers["witness"] = witness()
        async with Gateway(tmp_path_factory.mktemp("gateway"), servers) as gateway:
            yield World(gateway, planned, tools, [results[str(case)] for case in planned])


def dumped(model: Any) -> dict[str, Any]:
    """A model of the SDK as the JSON it was made of."""
    return dict(model.model_dump(mode="json", by_alias=True, exclude_unset=True))


@pytest.fixture(scope="module")
def typescript(world: World) -> dict[str, Any]:
    """What the TypeScript SDK's client got for all cases, on both kinds of path."""
    calls = [
        call
        for case in world.cases
        for call in (
            {"path": "", "name": "execute", "arguments": _wrapped(case)},
            {"path": f"/{case.server}", "name": case.tool, "arguments": case.arguments},
        )
    ]
    plan = {
        "url": world.gateway.url,
        "lists": ["", *(f"/{name}" for name in world.tools)],
        "searches": [*({"query": query} for query in SEARCHES), *KINDS],
        "calls": calls,
    }
    done = subprocess.run(
        [NODE, str(CLIENT), json.dumps(plan)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _wrapped(case: Case) -> dict[str, Any]:
    return {"name": f"{case.server}__{case.tool}", "arguments": dict(case.arguments)}


@pytest.mark.parametrize("mode", MODES)
async def test_the_python_client_finds_two_tools_and_through_them_all(world: World, mode: str) -> None:
    with anyio.fail_after(30):
        async with Client(world.gateway.url, mode=mode) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == ["search", "execute"]
            for query, wanted in SEARCHES.items():
                found = await client.call_tool("search", {"query": query})
                assert found.structured_content is not None
                assert wanted in [hit["name"] for hit in found.structured_content["results"][:3]]
            for kind in KINDS:
                assert (await client.call_tool("search", kind)).content


@pytest.mark.parametrize("mode", MODES)
async def test_what_the_python_client_executes_is_what_the_servers_say(world: World, mode: str) -> None:
    with anyio.fail_after(60):
        async with Client(world.gateway.url, mode=mode) as client:
            for case, expected in zip(world.cases, world.results, strict=True):
                assert plain(await client.call_tool("execute", _wrapped(case))) == expected, case


@pytest.mark.parametrize("mode", MODES)
async def test_the_python_client_sees_one_server_as_it_is(world: World, mode: str) -> None:
    """On the server's own path: its tools with all their fields, its results, its failures."""
    with anyio.fail_after(60):
        for name, tools in world.tools.items():
            async with Client(f"{world.gateway.url}/{name}", mode=mode) as client:
                assert [dumped(tool) for tool in (await client.list_tools()).tools] == tools
                for case, expected in zip(world.cases, world.results, strict=True):
                    if case.server == name:
                        result = await client.call_tool(case.tool, dict(case.arguments))
                        assert plain(result) == expected, case


def test_the_typescript_client_lists_what_there_is(world: World, typescript: dict[str, Any]) -> None:
    assert [tool["name"] for tool in typescript["lists"][""]] == ["search", "execute"]
    for name, tools in world.tools.items():
        assert typescript["lists"][f"/{name}"] == tools


def test_the_typescript_client_finds_tools_by_words(typescript: dict[str, Any]) -> None:
    for wanted, found in zip(SEARCHES.values(), typescript["searches"], strict=False):
        assert wanted in [hit["name"] for hit in found["structuredContent"]["results"][:3]]
    kinds = typescript["searches"][len(SEARCHES) :]
    assert [each.get("isError", False) for each in kinds] == [False] * 4 + [True] * 2
    assert all(each["content"] for each in kinds)


def test_what_the_typescript_client_calls_is_what_the_servers_say(
    world: World, typescript: dict[str, Any]
) -> None:
    expected = [result for result in world.results for _ in ("execute", "transparent")]
    for case, got, wanted in zip(range(len(expected)), typescript["calls"], expected, strict=True):
        assert stripped(got) == wanted, world.cases[case // 2]


async def test_a_modern_client_gets_every_byte_of_an_odd_result(world: World) -> None:
    async with http() as client:
        params = {"name": "execute", "arguments": {"name": "witness__odd", "arguments": {}}}
        response = await ask(client, world.gateway.url, "tools/call", params)
    result = _members(_members(response.content)["result"])
    for member in ("content", "structuredContent", "isError", "futureField"):
        assert bytes(result[member]) == bytes(ODD[member])
    meta = _members(result["_meta"])
    assert {key: bytes(value) for key, value in meta.items() if key != INFO} == {
        key: bytes(value) for key, value in _members(ODD["_meta"]).items()
    }


async def test_a_legacy_client_gets_every_byte_of_an_odd_result(world: World) -> None:
    async with http() as client:
        headers = await begin(client, world.gateway.url)
        response = await client.post(world.gateway.url, json=called(1, "witness__odd"), headers=headers)
    result = _members(_members(response.content)["result"])
    assert {key: bytes(value) for key, value in result.items()} == {
        key: bytes(value) for key, value in ODD.items()
    }


def _members(data: bytes | Raw) -> dict[str, Raw]:
    return msgspec.json.decode(data, type=dict[str, Raw])
