"""A tiny MCP server on stdio for the tests of the connector. Flags say how it speaks and misbehaves."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

FLAGS = dict(flag.partition("=")[::2] for flag in sys.argv[1:])
TOOLS = [
    "echo",
    "slow",
    "crash",
    "big",
    "flood",
    "progress",
    "env",
    "garbage",
    "ask",
    "pid",
    "burst",
    "cancelled",
    "log",
    "heard",
]
MODERN = "2026-07-28"
cancelled: dict[int, threading.Event] = {}
stopped: list[int] = []
replies: queue.Queue[dict[str, Any]] = queue.Queue()
lock = threading.Lock()
levels: list[str] = []
heard: list[str] = []
barriers: dict[int, threading.Barrier] = {}


def write(text: str) -> None:
    with lock:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def send(**message: Any) -> None:
    write(json.dumps({"jsonrpc": "2.0", **message}))


def text(value: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}], "resultType": "complete"}


def slow(number: int, arguments: dict[str, Any]) -> str:
    stop = cancelled.setdefault(number, threading.Event())
    if stop.wait(arguments.get("seconds", 30)):
        stopped.append(number)
        raise SystemExit
    return "done"


def big(number: int, arguments: dict[str, Any]) -> str:
    size = arguments["size"]
    with lock:
        sys.stdout.write(f'{{"jsonrpc":"2.0","id":{number},"result":{{"content":[{{"type":"text","text":"')
        for _ in range(size // 65536):
            sys.stdout.write("x" * 65536)
        sys.stdout.write("x" * (size % 65536) + '"}]}}\n')
        sys.stdout.flush()
    raise SystemExit


def flood(number: int, arguments: dict[str, Any]) -> str:
    for _ in range(arguments["megabytes"]):
        sys.stderr.write(("e" * 1023 + "\n") * 1024)
    sys.stderr.flush()
    return "flooded"


def progress(number: int, arguments: dict[str, Any]) -> str:
    token = arguments["_meta"]["progressToken"]
    for step in (1, 2, 3):
        send(method="notifications/progress", params={"progressToken": token, "progress": step})
    return "done"


def answers(number: int, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    methods, together = arguments["methods"], arguments.get("together", False)
    params = arguments.get("params", {"message": "Who?"})
    if together:
        for step, method in enumerate(methods):
            send(id=f"ask-{number}-{step}", method=method, params=params)
    found = [asked(number, method, params, quiet=together) for method in methods]
    if arguments.get("must") and any("error" in each for each in found):
        send(id=number, result={"content": [], "isError": True})
        raise SystemExit
    return found


def asked(number: int, method: str, params: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    stop = cancelled.setdefault(number, threading.Event())
    if not quiet:
        send(id=f"ask-{number}", method=method, params=params)
    while not stop.is_set():
        try:
            reply = replies.get(timeout=0.02)
        except queue.Empty:
            continue
        if not stop.is_set():
            return reply
    stopped.append(number)
    raise SystemExit


def log(number: int, arguments: dict[str, Any]) -> str:
    """Log once that many of these calls are in flight together; tells which levels were set."""
    with lock:
        together = barriers.setdefault(arguments["together"], threading.Barrier(arguments["together"]))
    together.wait(10)
    for level in arguments["levels"]:
        send(method="notifications/message", params={"level": level, "data": arguments["mark"]})
    together.wait(10)
    return json.dumps(levels)


def garbage(number: int, arguments: dict[str, Any]) -> str:
    if "raw" in arguments:
        line = arguments["raw"].replace("ID", str(number)).replace("MUCH", "x" * arguments.get("much", 0))
        with lock:
            sys.stdout.buffer.write(line.encode("latin-1") + b"\n")
            sys.stdout.buffer.flush()
        raise SystemExit
    for _ in range(arguments["lines"]):
        write("Listening on port 3000...")
    send(id=999_999, result={})
    return "still here"


def run(number: int, name: str, arguments: dict[str, Any]) -> str:
    match name:
        case "crash":
            os._exit(3)
        case "env":
            return json.dumps(dict(os.environ))
        case "pid":
            return f"{os.getpid()} {sorted(path.name for path in Path('/proc/self/fd').iterdir())}"
        case "burst":
            line = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
            write("\n".join([line] * arguments["lines"]))
            return "over"
        case "heard":
            return json.dumps(heard)
        case "cancelled":
            return str(len(stopped))
        case "ask" if "methods" in arguments:
            return json.dumps(answers(number, arguments))
        case "ask":
            send(id="q1", method="sampling/createMessage", params={})
            send(id="q2", method="ping")
            return json.dumps([replies.get(timeout=10), replies.get(timeout=10)])
        case "slow" | "big" | "flood" | "progress" | "garbage" | "log":
            return str(globals()[name](number, arguments))
    return json.dumps(arguments)


def call(number: int, params: dict[str, Any]) -> None:
    arguments = {**params.get("arguments", {}), "_meta": params.get("_meta", {})}
    if params["name"] not in TOOLS:
        send(id=number, error={"code": -32602, "message": "no such tool", "data": {"name": params["name"]}})
        return
    send(id=number, result=text(run(number, params["name"], arguments)))


def listed(params: dict[str, Any]) -> dict[str, Any]:
    at = int(params.get("cursor", "0"))
    tools: list[Any] = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS[at : at + 4]]
    if "odd" in FLAGS and at == 0:
        tools += [{"description": "nameless"}, "not an object", {"name": "echo", "description": "again"}]
    hints = json.loads(FLAGS.get("hints", "[{}]"))
    hint = hints[at // 4 % len(hints)]
    following = str(0 if "loop" in FLAGS else at + 4)
    more = {"nextCursor": following} if at + 4 < len(TOOLS) else {}
    return {"tools": tools, **hint, **more}


def answer(number: int, method: str, params: dict[str, Any]) -> None:
    modern = FLAGS.get("era", "legacy") == "modern"
    match method:
        case "server/discover" if modern:
            server = {"io.modelcontextprotocol/serverInfo": {"name": "child"}}
            result = {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "_meta": server}
            send(id=number, result={**result, "instructions": "be kind"})
        case "initialize" if not modern:
            capabilities: dict[str, Any] = {"tools": {}, "prompts": {}, "resources": {}, "logging": {}}
            version = FLAGS.get("version", "2025-06-18")
            result = {
                "protocolVersion": version,
                "capabilities": capabilities,
                "serverInfo": {"name": "child"},
            }
            send(id=number, result=result)
        case "tools/call":
            threading.Thread(target=call, args=(number, params), daemon=True).start()
        case "tools/list":
            send(id=number, result=listed(params))
        case "logging/setLevel":
            levels.append(params["level"])
            send(id=number, result={})
        case "resources/list":
            send(id=number, result={"resources": [{"uri": "file:///a", "name": "a"}]})
        case _:
            send(id=number, error={"code": -32601, "message": f"unknown: {method}"})


def take(message: dict[str, Any]) -> None:
    method = message.get("method", "")
    if "strict" in FLAGS and method == "server/discover":
        os._exit(1)
    if "mute" in FLAGS or ("deaf" in FLAGS and method == "server/discover"):
        return
    if "id" not in message:
        heard.append(method)
    if method == "notifications/cancelled":
        cancelled.setdefault(message["params"]["requestId"], threading.Event()).set()
    elif "id" in message and method:
        answer(message["id"], method, message.get("params", {}))
    elif "id" in message:
        replies.put(message)


def misbehave() -> None:
    if "stderr" in FLAGS:
        sys.stderr.write(FLAGS["stderr"])
        sys.stderr.flush()
    if "exit" in FLAGS:
        os._exit(int(FLAGS["exit"]))
    if "once" in FLAGS:
        if Path(FLAGS["once"]).exists():
            os._exit(3)
        Path(FLAGS["once"]).touch()
    if "stubborn" in FLAGS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        command = "import signal,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);time.sleep(300)"
        grandchild = subprocess.Popen([sys.executable, "-c", command])
        Path(FLAGS["stubborn"]).write_text(f"{os.getpid()} {grandchild.pid}")
    if "noisy" in FLAGS:
        while True:
            write("this is not JSON")


def main() -> None:
    misbehave()
    if "unread" in FLAGS:
        answer(1, "initialize", {})
        time.sleep(300)
    for line in sys.stdin:
        take(json.loads(line))
    if "stubborn" in FLAGS:
        time.sleep(300)


main()
