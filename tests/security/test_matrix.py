"""One rule, every way to a tool: A8. A whole gateway with two callers, of whom one may less."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from libs.common.apikeys import hash_key, new_key
from tests.system.gateway import Gateway
from tests.system.parts import Journal, witness
from tests.system.wire import answered, ask, begin, http

pytestmark = pytest.mark.anyio

KEYS = {"admin": new_key(), "guest": new_key()}
SETTINGS = (
    "".join(
        f'[server.api_keys.keys.{name}]\nhash = "{hash_key(key)}"\nsubject = "{name}"\ngroups = ["{name}s"]\n'
        for name, key in KEYS.items()
    )
    + '[mcp]\nexpose = "all"\n'
)
DENIED, ABSENT = "echo", "ehco"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Journal:
    return Journal(tmp_path_factory.mktemp("journal") / "journal")


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory, journal: Journal) -> AsyncIterator[Gateway]:
    servers = {
        "mixed": witness(journal.flag, tools={DENIED: {"allow": ["admins"]}}),
        "secret": witness(journal.flag, allow=["admins"]),
    }
    folder = tmp_path_factory.mktemp("matrix")
    async with Gateway(folder, servers, settings=SETTINGS, token=KEYS["admin"]) as gateway:
        yield gateway


def caller(client: httpx.AsyncClient, name: str) -> httpx.AsyncClient:
    client.headers["authorization"] = f"Bearer {KEYS[name]}"
    return client


async def said(gateway: Gateway, who: str, method: str, path: str = "", **params: Any) -> dict[str, Any]:
    async with http() as client:
        return answered(await ask(caller(client, who), gateway.url + path, method, params))


async def named(gateway: Gateway, who: str, path: str = "") -> set[str]:
    return {tool["name"] for tool in (await said(gateway, who, "tools/list", path))["result"]["tools"]}


async def test_a8_a_denied_tool_is_in_no_list_and_no_search(gateway: Gateway) -> None:
    assert {"mixed__echo", "secret__echo"} <= await named(gateway, "admin")
    assert not {"mixed__echo", "secret__echo"} & await named(gateway, "guest")
    assert DENIED in await named(gateway, "admin", "/mixed")
    assert DENIED not in await named(gateway, "guest", "/mixed")
    for words in ("echo", "mixed__echo", "secret"):
        found = await said(gateway, "guest", "tools/call", name="search", arguments={"query": words})
        assert "mixed__echo" not in json.dumps(found["result"]["structuredContent"])
        assert "secret__" not in json.dumps(found["result"]["structuredContent"])


@pytest.mark.parametrize(
    ("path", "denied", "absent"),
    [
        ("", "mixed__echo", "mixed__ehco"),
        ("", "secret__echo", "nobody__echo"),
        ("/mixed", DENIED, ABSENT),
    ],
)
async def test_a8_calling_a_denied_tool_says_what_calling_none_says(
    gateway: Gateway, journal: Journal, path: str, denied: str, absent: str
) -> None:
    before = len(journal.entries("call"))
    no = await said(gateway, "guest", "tools/call", path, name=denied, arguments={"text": "x"})
    none = await said(gateway, "guest", "tools/call", path, name=absent, arguments={"text": "x"})
    assert alike(no, denied) == alike(none, absent)
    assert len(journal.entries("call")) == before


@pytest.mark.parametrize(
    ("denied", "absent"), [("mixed__echo", "mixed__ehco"), ("secret__echo", "nobody__echo")]
)
async def test_a8_executing_a_denied_tool_says_what_executing_none_says(
    gateway: Gateway, journal: Journal, denied: str, absent: str
) -> None:
    before = len(journal.entries("call"))
    no = await said(gateway, "guest", "tools/call", name="execute", arguments=executing(denied))
    none = await said(gateway, "guest", "tools/call", name="execute", arguments=executing(absent))
    assert alike(no, denied) == alike(none, absent)
    assert len(journal.entries("call")) == before


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/list", {}),
        ("server/discover", {}),
        ("prompts/list", {}),
        ("prompts/get", {"name": "p"}),
        ("resources/list", {}),
        ("resources/read", {"uri": "x:y"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {}}),
        ("tools/call", {"name": "echo", "arguments": {}}),
        ("odd/method", {}),
    ],
)
async def test_a8_a_denied_server_is_as_absent_as_one_that_is_not_there(
    gateway: Gateway, method: str, params: dict[str, Any]
) -> None:
    async with http() as client:
        guest = caller(client, "guest")
        no = await ask(guest, gateway.url + "/secret", method, params)
        none = await ask(guest, gateway.url + "/nobody", method, params)
    assert no.status_code == none.status_code
    assert alike(answered(no), "secret") == alike(answered(none), "nobody")


async def test_a8_a_session_of_a_denied_server_cannot_be_opened(gateway: Gateway) -> None:
    async with http() as client:
        with pytest.raises(AssertionError):
            await begin(caller(client, "guest"), gateway.url + "/secret")
        assert "mcp-session-id" in {
            key.lower() for key in await begin(caller(client, "admin"), gateway.url + "/secret")
        }


async def test_a8_an_introduction_names_only_what_the_caller_sees(gateway: Gateway) -> None:
    told = (await said(gateway, "guest", "server/discover"))["result"]["instructions"]
    assert "mixed" in told
    assert "secret" not in told


def executing(name: str) -> dict[str, Any]:
    return {"name": name, "arguments": {"text": "x"}}


def alike(answer: dict[str, Any], name: str) -> str:
    """The answer without its id and the name that was asked for; the nearest names depend on the name."""
    text = json.dumps({key: value for key, value in answer.items() if key != "id"}, sort_keys=True)
    server, _, tool = name.partition("__")
    for word in (name, server if tool else name):
        text = text.replace(word, "NAME")
    return text
