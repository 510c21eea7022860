"""What each scenario of the client mode wants a client of the gateway to do."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.client import Client, ClientRequestContext
from mcp.types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from libs.common import keyring
from libs.common import log as logs
from tests.conformance.inline import Inline, gateway
from tests.conformance.person import authentication, use_as_operator
from tests.system.wire import answered, ask, http, modern

Do = Callable[["Task"], Awaitable[None]]
LONG = 60.0
ECHO = "json_schema_echo"


@dataclass(frozen=True)
class Task:
    """One scenario: the gateway, the revision of the wire, what the suite told."""

    gateway: Inline
    version: str
    context: Mapping[str, Any]

    def client(self) -> Client:
        """A client of the era that the suite's server speaks, which accepts whatever it is asked."""
        mode: Any = "2026-07-28" if self.version >= "2026-07-28" else "legacy"
        return Client(self.gateway.url, mode=mode, elicitation_callback=accept, read_timeout_seconds=LONG)


def run(url: str, env: Mapping[str, str]) -> int:
    """Drive the scenario named in the environment against the suite's server at `url`."""
    logs.configure("info", "text", "gateway")
    name = env["MCP_CONFORMANCE_SCENARIO"]
    version = env.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2026-07-28")
    context = json.loads(env.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(name, url, version, context, Path(folder)))
    return 0


async def _run(name: str, url: str, version: str, context: Mapping[str, Any], folder: Path) -> None:
    auth = authentication(name, context)
    os.environ[keyring.VARIABLE] = base64.b64encode(secrets.token_bytes(32)).decode()
    async with gateway(
        folder, {"url": url, **{f"auth.{key}": value for key, value in auth.items()}}
    ) as running:
        task = Task(running, version, context)
        if auth.get("type") == "oauth":
            await use_as_operator(task)
            return
        await running.until("ready")
        await DO.get(name, use_tools)(task)


async def use_tools(task: Task) -> None:
    """List, and call every tool; what the suite told to call, as it was told."""
    async with task.client() as client:
        tools = (await client.list_tools()).tools
        told = task.context.get("toolCalls")
        calls = [(each["name"], each["arguments"]) for each in told] if told else []
        for name, arguments in calls or [(tool.name, example(tool.input_schema)) for tool in tools]:
            await client.call_tool(name, arguments)


async def use_everything(task: Task) -> None:
    """List and use tools, resources and prompts."""
    await use_tools(task)
    async with task.client() as client:
        for resource in (await client.list_resources()).resources:
            await client.read_resource(str(resource.uri))
        for prompt in (await client.list_prompts()).prompts:
            await client.get_prompt(prompt.name)


async def use_listed(task: Task) -> None:
    """Call whatever the gateway lists, without a client that would sort out tools of its own accord."""
    async with http() as client:
        listed = answered(await ask(client, task.gateway.url, "tools/list", {}))
        for tool in listed["result"]["tools"]:
            arguments = example(tool["inputSchema"])
            body, headers = modern("tools/call", {"name": tool["name"], "arguments": arguments})
            headers |= mirrored(tool["inputSchema"], arguments)
            await client.post(task.gateway.url, json=body, headers=headers)


async def echo_schema(task: Task) -> None:
    """Give a schema back as it was listed."""
    async with task.client() as client:
        schemas = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
        focal = next(schema for name, schema in schemas.items() if name != ECHO)
        await client.call_tool(ECHO, {"schema": focal})


async def list_only(task: Task) -> None:
    """List, and look no further."""
    async with task.client() as client:
        await client.list_tools()


DO: dict[str, Do] = {
    "http-standard-headers": use_everything,
    "http-invalid-tool-headers": use_listed,
    "json-schema-ref-no-deref": list_only,
    "json-schema-2020-12-preservation": echo_schema,
}


async def accept(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    """Accept with the defaults of the form, and `true` for what has none."""
    if not isinstance(params, ElicitRequestFormParams):
        return ElicitResult(action="decline")
    properties = params.requested_schema.get("properties", {})
    return ElicitResult(
        action="accept", content={name: field.get("default", True) for name, field in properties.items()}
    )


def mirrored(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    """The headers of arguments that a schema wants repeated; plain text only."""
    marks = {name: field.get("x-mcp-header") for name, field in schema["properties"].items()}
    return {f"Mcp-Param-{mark}": str(arguments[name]) for name, mark in marks.items() if mark}


_EXAMPLES = {"string": "text", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}


def example(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that fit a simple schema."""
    properties = schema.get("properties", {})
    return {
        name: _EXAMPLES.get(properties[name].get("type", ""), "text") for name in schema.get("required", ())
    }
