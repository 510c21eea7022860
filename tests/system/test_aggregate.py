"""All servers as one, for the SDK's client of either era."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.subscriptions import PromptsListChanged, ResourceUpdated
from mcp_types import (
    LoggingMessageNotificationParams,
    PromptReference,
    ResourceTemplateReference,
    TextContent,
    TextResourceContents,
)

from tests.broker import free_port, wait_port
from tests.system.gateway import PYTHON, Gateway, Server, eventually
from tests.system.parts import LIBRARY, witness
from tests.system.wire import answered, ask, http

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.system,
    # What older clients do is deprecated; there are such clients.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

MODES = ["2026-07-28", "legacy"]
NAMES = ("alpha", "beta", "gamma")
EXPOSED = 'mcp.pinned = ["alpha__write", "witness__echo"]\n'


@pytest.fixture(scope="module")
def gamma() -> Iterator[str]:
    """The URL of a library over HTTP."""
    port = free_port()
    child = subprocess.Popen([PYTHON, str(LIBRARY), "gamma", str(port)])
    try:
        wait_port(port, 20)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        child.kill()
        child.wait(10)


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory, gamma: str) -> AsyncIterator[Gateway]:
    """An old library and a new one on pipes, a new one over HTTP, and a server with tools alone."""
    servers: dict[str, Server] = {
        "alpha": {"cmd": [PYTHON, str(LIBRARY), "alpha"], "era": "legacy"},
        "beta": {"cmd": [PYTHON, str(LIBRARY), "beta"], "era": "modern"},
        "gamma": {"url": gamma},
        "witness": witness(),
    }
    async with Gateway(tmp_path_factory.mktemp("aggregate"), servers, settings=EXPOSED) as gateway:
        yield gateway


@pytest.fixture(params=MODES)
async def client(request: pytest.FixtureRequest, gateway: Gateway) -> AsyncIterator[Client]:
    with anyio.fail_after(60):
        async with Client(gateway.url, mode=request.param) as client:
            yield client


async def test_pinned_tools_are_listed_and_called_by_name(client: Client) -> None:
    listed = [tool.name for tool in (await client.list_tools()).tools]
    assert listed == ["search", "execute", "alpha__write", "witness__echo"]
    result = await client.call_tool("witness__echo", {"a": 1})
    assert isinstance(result.content[0], TextContent)
    assert result.content[0].text == '{"a": 1}'


async def test_prompts_of_every_server_are_listed_and_rendered(client: Client) -> None:
    listed = [prompt.name for prompt in (await client.list_prompts()).prompts]
    assert {f"{name}__greet" for name in NAMES} <= set(listed)
    for name in NAMES:
        (message,) = (await client.get_prompt(f"{name}__greet", {"who": "you"})).messages
        assert isinstance(message.content, TextContent)
        assert message.content.text == f"{name} says greet to you"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("book://shared", "book://shared of alpha"),
        ("beta+book://shared", "book://shared of beta"),
        ("gamma+book://shared", "book://shared of gamma"),
        ("book://beta", "book://beta of beta"),
        ("page://gamma/7", "page://gamma/7 of gamma"),
    ],
)
async def test_resources_of_every_server_are_listed_and_read(client: Client, uri: str, said: str) -> None:
    listed = {each.uri for each in (await client.list_resources()).resources}
    assert uri in listed or uri.startswith("page://")
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert (content.uri, content.text) == (uri, said)


async def test_templates_of_every_server_are_listed(client: Client) -> None:
    templates = (await client.list_resource_templates()).resource_templates
    assert [each.uri_template for each in templates] == [f"page://{name}/{{number}}" for name in NAMES]


async def test_a_prompt_and_a_template_are_completed_by_their_server(client: Client) -> None:
    argument, context = {"name": "who", "value": "x"}, {"other": "known"}
    prompt = PromptReference(type="ref/prompt", name="beta__greet")
    said = await client.complete(prompt, argument, context)
    assert said.completion.values == ["beta", "greet", "known"]
    template = ResourceTemplateReference(type="ref/resource", uri="page://gamma/{number}")
    said = await client.complete(template, {"name": "number", "value": "1"})
    assert said.completion.values == ["gamma", "page://gamma/{number}"]


async def test_a_modern_client_hears_of_changes_at_every_server(gateway: Gateway) -> None:
    uris = ["book://shared", "beta+book://shared", "gamma+book://shared"]
    async with Client(gateway.url, mode="2026-07-28") as client:
        listening = client.listen(prompts_list_changed=True, resource_subscriptions=uris)
        with anyio.fail_after(60):
            async with listening as heard:
                for name, uri in zip(NAMES, uris, strict=True):
                    await client.call_tool("execute", {"name": f"{name}__write", "arguments": {}})
                    assert await anext(heard) == ResourceUpdated(uri)
                before = len((await client.list_prompts()).prompts)
                await client.call_tool("execute", {"name": "beta__print", "arguments": {}})
                assert await anext(heard) == PromptsListChanged()
                assert len((await client.list_prompts()).prompts) == before + 1


async def test_a_legacy_client_hears_of_changes_at_every_server(gateway: Gateway) -> None:
    heard: list[str] = []

    async def note(message: Any) -> None:
        heard.append(getattr(message.params, "uri", message.method) if hasattr(message, "method") else "")

    uris = ["book://shared", "beta+book://shared", "gamma+book://shared"]
    with anyio.fail_after(60):
        async with Client(gateway.url, mode="legacy", message_handler=note) as client:
            for name, uri in zip(NAMES, uris, strict=True):
                await client.subscribe_resource(uri)
                await _until_told(client, name, heard, uri)
            await client.call_tool("execute", {"name": "alpha__print", "arguments": {}})
            changed = "notifications/prompts/list_changed"
            await eventually(lambda: changed in heard, 10, lambda: f"heard only {heard}")


async def _until_told(client: Client, name: str, heard: list[str], uri: str) -> None:
    """Change the book until its follower hears of it: following begins a moment after it was asked for."""
    with anyio.fail_after(20):
        while uri not in heard:
            await client.call_tool("execute", {"name": f"{name}__write", "arguments": {}})
            await anyio.sleep(0.1)


@pytest.mark.parametrize("name", NAMES)
async def test_log_lines_come_with_their_servers_name(gateway: Gateway, name: str) -> None:
    heard: list[tuple[str | None, Any]] = []

    async def note(params: LoggingMessageNotificationParams) -> None:
        heard.append((params.logger, params.data))

    with anyio.fail_after(60):
        async with Client(gateway.url, mode="legacy", logging_callback=note) as client:
            await client.set_logging_level("info")
            await client.call_tool("execute", {"name": f"{name}__whisper", "arguments": {}})
            expected = (name, f"psst from {name}")
            await eventually(lambda: expected in heard, 10, lambda: f"heard only {heard}")


async def test_what_a_server_allows_to_be_kept_is_passed_on(gateway: Gateway) -> None:
    async with http() as client:
        direct = answered(await ask(client, f"{gateway.url}/beta", "prompts/list", {}))["result"]
        merged = answered(await ask(client, gateway.url, "prompts/list", {}))["result"]
        tools = answered(await ask(client, gateway.url, "tools/list", {}))["result"]
    assert (direct["ttlMs"], direct["cacheScope"]) == (60_000, "public")
    # The old library has nothing to say about it.
    assert [(each["ttlMs"], each["cacheScope"]) for each in (merged, tools)] == [(0, "private")] * 2
