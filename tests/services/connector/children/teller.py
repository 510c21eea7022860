"""A tiny MCP server of 2026-07-28 that tells of changes to whoever listens, when a tool is called."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

TAG = "io.modelcontextprotocol/subscriptionId"
TOOLS = ("tell", "streams", "crash", "job")
streams: dict[int, dict[str, Any]] = {}
opened: list[dict[str, Any]] = []


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tell(method: str, params: dict[str, Any], number: int) -> None:
    send(method=method, params={**params, "_meta": {TAG: number}})


def listen(number: int, wanted: dict[str, Any]) -> None:
    streams[number] = wanted
    opened.append(wanted)
    tell("notifications/subscriptions/acknowledged", {"notifications": wanted}, number)


def use(name: str, arguments: dict[str, Any]) -> str:
    if name == "crash":
        os._exit(3)
    if name == "streams":
        return json.dumps({"open": list(streams.values()), "opened": len(opened)})
    method, params = arguments["method"], arguments.get("params", {})
    for number, wanted in streams.items():
        uri, task = params.get("uri"), params.get("taskId")
        followed = uri is None or uri in wanted.get("resourceSubscriptions", ())
        if followed and (task is None or task in wanted.get("taskIds", ())):
            tell(method, params, number)
    return "told"


def answer(number: int, method: str, params: dict[str, Any]) -> None:
    match method:
        case "server/discover":
            capabilities: dict[str, Any] = {"tools": {"listChanged": True}, "resources": {"subscribe": True}}
            capabilities["extensions"] = {"io.modelcontextprotocol/tasks": {}}
            send(id=number, result={"supportedVersions": ["2026-07-28"], "capabilities": capabilities})
        case "tools/list":
            send(
                id=number,
                result={"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]},
            )
        case "subscriptions/listen":
            listen(number, params["notifications"])
        case "tools/call":
            if params["name"] == "job":
                send(id=number, result={"resultType": "task", "taskId": "job-1", "status": "working"})
                return
            text = use(params["name"], params.get("arguments", {}))
            send(id=number, result={"content": [{"type": "text", "text": text}], "resultType": "complete"})
        case _:
            send(id=number, error={"code": -32601, "message": f"unknown: {method}"})


for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "notifications/cancelled":
        streams.pop(message["params"]["requestId"], None)
    elif "id" in message and "method" in message:
        answer(message["id"], message["method"], message.get("params", {}))
