"""Search through a whole gateway: what a model pays for, what it is offered, and what it must not learn."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from libs.common.apikeys import hash_key, new_key
from tests.services.connector.http.peer import Asked, Reply, Script, legacy, serving
from tests.system.gateway import Gateway
from tests.system.wire import answered, ask, http

pytestmark = [pytest.mark.anyio, pytest.mark.system]

KEYS = {"keeper": new_key(), "guest": new_key()}
SETTINGS = 'mcp.pinned = ["archive__read_scroll", "archive__burn_scroll"]\n' + "".join(
    f'[server.api_keys.keys.{name}]\nhash = "{hash_key(key)}"\nsubject = "{name}"\ngroups = ["{name}s"]\n'
    for name, key in KEYS.items()
)
READ = {
    "name": "read_scroll",
    "title": "Read a scroll",
    "description": "Read one scroll from the archive. " + "Scrolls are long, and old ones are fragile. " * 10,
    "inputSchema": {"type": "object", "properties": {"shelf": {"type": "string", "description": "Which"}}},
    "outputSchema": {"type": "object", "properties": {"words": {"type": "string"}}},
    "annotations": {"readOnlyHint": True},
    "execution": {"taskSupport": "optional"},
}
COPY = {"name": "copy_scroll", "description": "Write a second scroll", "inputSchema": {"type": "object"}}
BURN = {"name": "burn_scroll", "description": "Burn a scroll for good", "inputSchema": {"type": "object"}}
OPEN = {"name": "open_crypt", "description": "Open the crypt of scrolls", "inputSchema": {"type": "object"}}
HIDDEN = ("burn", "crypt", "vault")


def lists(*tools: dict[str, Any]) -> Script:
    async def speak(asked: Asked, reply: Reply) -> None:
        listed = asked.message["method"] == "tools/list"
        await reply.result(asked, {"tools": tools} if listed else {"content": []})

    return legacy(speak)


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """An archive for everybody but for one tool, and a vault that guests do not know of."""
    async with AsyncExitStack() as stack:
        archive = await stack.enter_async_context(serving(lists(READ, COPY, BURN)))
        vault = await stack.enter_async_context(serving(lists(OPEN)))
        servers: dict[str, dict[str, Any]] = {
            "archive": {"url": archive.url, "tools": {"burn_scroll": {"allow": ["keepers"]}}},
            "vault": {"url": vault.url, "allow": ["keepers"]},
        }
        folder = tmp_path_factory.mktemp("search")
        gateway = Gateway(folder, servers, settings=SETTINGS, token=KEYS["keeper"])
        await stack.enter_async_context(gateway)
        with anyio.fail_after(20):
            while len(names(await search(gateway, "keeper", query="scroll"))) < 4:
                await anyio.sleep(0.05)
        yield gateway


async def search(gateway: Gateway, who: str = "guest", **arguments: Any) -> dict[str, Any]:
    """The result of one search."""
    async with http() as client:
        client.headers["authorization"] = f"Bearer {KEYS[who]}"
        params = {"name": "search", "arguments": arguments}
        result: dict[str, Any] = answered(await ask(client, gateway.url, "tools/call", params))["result"]
        return result


def names(result: dict[str, Any]) -> list[str]:
    return [hit["name"] for hit in result["structuredContent"]["results"]]


def size(result: dict[str, Any]) -> int:
    return sum(len(item["text"].encode()) for item in result["content"])


async def test_more_detail_is_more_bytes_and_the_least_is_a_line(gateway: Gateway) -> None:
    least, middle, most = [
        await search(gateway, query="read a scroll", limit=1, detail=detail)
        for detail in ("names", "summary", "full")
    ]
    assert size(least) < 150 < size(middle) < size(most)
    (line,), (summary,), (full,) = (each["structuredContent"]["results"] for each in (least, middle, most))
    assert set(line) == {"name", "score", "description"}
    assert set(full) - set(summary) == {"output_schema", "execution"}
    assert (
        summary == (await search(gateway, query="read a scroll", limit=1))["structuredContent"]["results"][0]
    )
    assert (summary["input_schema"], summary["annotations"]) == (READ["inputSchema"], READ["annotations"])
    assert set(summary["why"]["matched"]) == {"read", "scroll"}


async def test_a_misspelt_word_is_told_with_what_it_was_taken_for(gateway: Gateway) -> None:
    (hit,) = (await search(gateway, query="read a scrool", limit=1))["structuredContent"]["results"]
    assert hit["why"] == {"matched": ["read", "scrool"], "repaired": {"scrool": "scroll"}}


async def test_an_exact_name_is_answered_with_that_tool_in_full(gateway: Gateway) -> None:
    (hit,) = (await search(gateway, query="archive__read_scroll"))["structuredContent"]["results"]
    assert (hit["name"], hit["output_schema"]) == ("archive__read_scroll", READ["outputSchema"])


async def test_filters_narrow_what_is_found(gateway: Gateway) -> None:
    assert names(await search(gateway, query="scroll", read_only=True)) == ["archive__read_scroll"]
    assert names(await search(gateway, "keeper", query="scroll", server="vault")) == ["vault__open_crypt"]
    kept_out = await search(gateway, query="second", read_only=True)
    assert kept_out["structuredContent"]["did_you_mean"] == {"tools": ["archive__copy_scroll"]}


async def test_a_server_that_is_hidden_gets_the_answer_of_one_that_does_not_exist(gateway: Gateway) -> None:
    hidden = await search(gateway, query="scroll", server="vault")
    nowhere = await search(gateway, query="scroll", server="vaults")
    assert json.dumps(hidden) == json.dumps(nowhere).replace("vaults", "vault")
    assert hidden["isError"]
    assert hidden["structuredContent"]["did_you_mean"] == {"servers": ["archive"]}
    offered = await search(gateway, "keeper", query="scroll", server="vaults")
    assert offered["structuredContent"]["did_you_mean"] == {"servers": ["vault"]}


@pytest.mark.parametrize(
    "query",
    [
        "burn a scroll",
        "archive__burn_scroll",
        "archive__brn_scroll",
        "open",
        "vault__open_cryptt",
        "cr vau qq",
    ],
)
async def test_nothing_a_guest_asks_tells_of_what_is_hidden(gateway: Gateway, query: str) -> None:
    every: list[dict[str, Any]] = [
        {},
        {"read_only": True},
        {"server": "archive"},
        {"detail": "full"},
        {"limit": 1},
    ]
    for filters in every:
        said = told(await search(gateway, query=query, **filters))
        assert not [word for word in HIDDEN if word in said], said
    seen = told(await search(gateway, "keeper", query=query))
    assert any(word in seen for word in HIDDEN), seen


def told(result: dict[str, Any]) -> str:
    """All that an answer says, but for the words of the question."""
    structured = result["structuredContent"]
    hits = [{**hit, "why": None} for hit in structured["results"]]
    return json.dumps([hits, structured.get("did_you_mean"), [] if hits else result["content"]])


async def test_pinned_tools_are_listed_once_and_found_once(gateway: Gateway) -> None:
    for who, pinned in (
        ("guest", ["archive__read_scroll"]),
        ("keeper", ["archive__burn_scroll", "archive__read_scroll"]),
    ):
        async with http() as client:
            client.headers["authorization"] = f"Bearer {KEYS[who]}"
            listed = answered(await ask(client, gateway.url, "tools/list", {}))["result"]["tools"]
        assert [tool["name"] for tool in listed] == ["search", "execute", *pinned]
        found = names(await search(gateway, who, query="scroll", server="archive"))
        assert len(found) == len(set(found))
        assert set(pinned) <= set(found)
