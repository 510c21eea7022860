"""`library.py NAME [PORT]`: a server of the SDK, of both eras, with a book that other libraries have too."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourceUpdated,
)
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from pydantic import ConfigDict

NAME = sys.argv[1]
SHARED, OWN = "book://shared", f"book://{NAME}"
Context = ServerRequestContext[Any, Any]
Result = dict[str, Any]
bus = InMemorySubscriptionBus()
prompts = ["greet"]
LISTED: Result = {"type": "object", "properties": {}}
HINTED: tuple[CacheableMethod, ...] = (
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
)
HINT = CacheHint(ttl_ms=60_000, scope="public")


class Params(types.RequestParams):
    """Anything: handlers look at what was sent."""

    model_config = ConfigDict(extra="allow")


def text(value: str) -> Result:
    return {"content": [{"type": "text", "text": value}]}


async def list_tools(_: Context, params: Result) -> Result:
    return {"tools": [{"name": name, "inputSchema": LISTED} for name in ("write", "print", "whisper")]}


async def call_tool(context: Context, params: Result) -> Result:
    """`write` changes the shared book, `print` adds a prompt, `whisper` logs."""
    session, legacy = context.session, context.protocol_version != "2026-07-28"
    match params["name"]:
        case "write":
            await bus.publish(ResourceUpdated(SHARED))
            if legacy:
                await session.send_resource_updated(SHARED)
        case "print":
            prompts.append(f"print{len(prompts)}")
            await bus.publish(PromptsListChanged())
            if legacy:
                await session.send_prompt_list_changed()
        case _:
            await session.send_log_message("info", f"psst from {NAME}", related_request_id=context.request_id)
    return text(f"{params['name']} at {NAME}")


async def list_prompts(_: Context, params: Result) -> Result:
    return {"prompts": [{"name": name, "arguments": [{"name": "who"}]} for name in prompts]}


async def get_prompt(_: Context, params: Result) -> Result:
    said = f"{NAME} says {params['name']} to {params.get('arguments', {}).get('who')}"
    return {"messages": [{"role": "user", "content": {"type": "text", "text": said}}]}


async def list_resources(_: Context, params: Result) -> Result:
    return {"resources": [{"uri": uri, "name": uri} for uri in (SHARED, OWN)]}


async def list_templates(_: Context, params: Result) -> Result:
    return {"resourceTemplates": [{"uriTemplate": f"page://{NAME}/{{number}}", "name": "page"}]}


async def read(_: Context, params: Result) -> Result:
    uri = params["uri"]
    if uri not in (SHARED, OWN) and not uri.startswith(f"page://{NAME}/"):
        raise MCPError(types.INVALID_PARAMS, "there is no such book", {"uri": uri})
    return {"contents": [{"uri": uri, "text": f"{uri} of {NAME}"}]}


async def complete(_: Context, params: Result) -> Result:
    known = params.get("context", {}).get("arguments", {})
    values = [NAME, params["ref"].get("name") or params["ref"]["uri"], *sorted(known.values())]
    return {"completion": {"values": values}}


async def nothing(_: Context, params: Result) -> Result:
    return {}


HANDLERS: dict[str, Callable[[Context, Result], Awaitable[Result]]] = {
    "tools/list": list_tools,
    "tools/call": call_tool,
    "prompts/list": list_prompts,
    "prompts/get": get_prompt,
    "resources/list": list_resources,
    "resources/templates/list": list_templates,
    "resources/read": read,
    "completion/complete": complete,
    "logging/setLevel": nothing,
    "resources/subscribe": nothing,
    "resources/unsubscribe": nothing,
}


def handler(answer: Callable[[Context, Result], Awaitable[Result]]) -> Any:
    async def handle(context: Context, _: Params) -> Result:
        result = await answer(context, dict(context.params or {}))
        return result if context.protocol_version != "2026-07-28" else {"resultType": "complete", **result}

    return handle


def built() -> Server[Any]:
    server: Server[Any] = Server(
        NAME, version="1", cache_hints=dict.fromkeys(HINTED, HINT), on_subscriptions_listen=ListenHandler(bus)
    )
    for method, answer in HANDLERS.items():
        server.add_request_handler(method, Params, handler(answer))
    return server


async def main() -> None:
    server = built()
    if len(sys.argv) > 2:
        app = server.streamable_http_app()
        await uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
        ).serve()
        return
    async with stdio_server() as (reader, writer):
        changing = NotificationOptions(prompts_changed=True)
        await server.run(reader, writer, server.create_initialization_options(changing))


warnings.simplefilter("ignore", MCPDeprecationWarning)
anyio.run(main)
