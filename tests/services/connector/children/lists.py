"""A tiny MCP server that lists what a file says: each line of it, raw, is one tool on a page of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

LIST = Path(sys.argv[1])
INFO = sys.argv[2] if len(sys.argv) > 2 else '{"name":"lists"}'
executed: list[str] = []
heard: list[str] = []


def send(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def page(params: dict[str, Any]) -> str:
    lines = LIST.read_text().splitlines()
    at = int(params.get("cursor", "0"))
    following = f',"nextCursor":"{at + 1}"' if at + 1 < len(lines) else ""
    return f'{{"tools":[{lines[at]}]{following}}}'


def use(name: str) -> str:
    if name == "heard":
        return json.dumps(heard)
    if name == "pid":
        return str(os.getpid())
    if name == "crash":
        os._exit(3)
    if name == "announce":
        send('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')
        return "announced"
    if name == "executed":
        return json.dumps(executed)
    executed.append(name)
    return name


def answer(method: str, params: dict[str, Any]) -> str:
    if method == "initialize":
        version = params["protocolVersion"]
        return (
            f'{{"protocolVersion":"{version}","capabilities":{{"tools":{{"listChanged":true}}}},'
            f'"serverInfo":{INFO}}}'
        )
    if method == "tools/list":
        return page(params)
    return json.dumps({"content": [{"type": "text", "text": use(params["name"])}]})


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        heard.append(message["method"])
        continue
    result = answer(message["method"], message.get("params", {}))
    send(f'{{"jsonrpc":"2.0","id":{message["id"]},"result":{result}}}')
