"""A server that writes down every execution: what the audit trail is held against.

    python -S -E truth.py FILE

`run` appends its `call_id` to FILE, one line with O_APPEND, so that several instances may share it, and only
then answers. With `ms` it waits before the answer; what is killed meanwhile was executed all the same.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TOOL = {
    "name": "run",
    "description": "Write the call down.",
    "inputSchema": {
        "type": "object",
        "properties": {"call_id": {"type": "string"}, "ms": {"type": "integer"}},
        "required": ["call_id"],
    },
}
DISCOVERED = {
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {}},
    "resultType": "complete",
    "ttlMs": 0,
    "cacheScope": "private",
    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "truth", "version": "1"}},
}
LISTED = {"tools": [TOOL], "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
lock = threading.Lock()


def write(message: dict[str, Any]) -> None:
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def run(number: object, arguments: dict[str, Any], journal: int) -> None:
    os.write(journal, f"{arguments['call_id']}\n".encode())
    time.sleep(arguments.get("ms", 0) / 1000)
    content = [{"type": "text", "text": arguments["call_id"]}]
    write({"id": number, "result": {"content": content, "isError": False, "resultType": "complete"}})


def listen(number: object) -> None:
    meta = {"io.modelcontextprotocol/subscriptionId": number}
    params = {"notifications": {}, "_meta": meta}
    write({"method": "notifications/subscriptions/acknowledged", "params": params})


def answer(message: dict[str, Any], journal: int) -> None:
    number = message["id"]
    match message["method"]:
        case "tools/call":
            # One thread for each call that is under way: the gateway bounds how many those are.
            threading.Thread(target=run, args=(number, message["params"]["arguments"], journal)).start()
        case "subscriptions/listen":
            listen(number)
        case "server/discover":
            write({"id": number, "result": DISCOVERED})
        case "tools/list":
            write({"id": number, "result": LISTED})
        case "ping":
            write({"id": number, "result": {}})
        case _:
            write({"id": number, "error": {"code": -32601, "message": "no such method"}})


def main() -> None:
    journal = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            answer(message, journal)


if __name__ == "__main__":
    main()
