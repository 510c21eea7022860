"""A small MCP server on stdio that writes down what happens to it, and misbehaves when told to.

`journal=FILE` takes a line of JSON for each event; `alone=FILE` is locked, and it is an event if it was
locked already: two instances ran at once.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

FLAGS = dict(flag.partition("=")[::2] for flag in sys.argv[1:])
TOOLS = ["echo", "steps", "wait", "crash", "big", "flood", "pid", "odd", "env", "ask"]
ODD = Path(__file__).with_name("odd.json")
waiting: dict[int, threading.Event] = {}
replies: dict[str, Any] = {}
lock = threading.Lock()


def note(event: str, value: object = None) -> None:
    """One whole line, so that several processes may share the journal."""
    if "journal" in FLAGS:
        line = json.dumps({"event": event, "value": value, "pid": os.getpid(), "time": time.time()})
        with Path(FLAGS["journal"]).open("a") as file:
            file.write(line + "\n")


def write(line: str) -> None:
    with lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def send(number: int, result: str) -> None:
    write(f'{{"jsonrpc":"2.0","id":{number},"result":{result}}}')


def text(value: str) -> str:
    return json.dumps({"content": [{"type": "text", "text": value}]})


def wait(number: int, arguments: dict[str, Any]) -> None:
    note("waiting", arguments.get("tag"))
    if waiting[number].wait(arguments["seconds"]):
        return
    note("waited", arguments.get("tag"))
    send(number, text("waited"))


def ask(number: int, arguments: dict[str, Any]) -> None:
    """Ask the client's person, and answer with what was said."""
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    params = {"message": "Who are you?", "requestedSchema": schema}
    asked = f"ask-{number}"
    write(json.dumps({"jsonrpc": "2.0", "id": asked, "method": "elicitation/create", "params": params}))
    note("asking", arguments.get("tag"))
    waiting[number].wait()
    if asked in replies:
        note("told", arguments.get("tag"))
        send(number, text(json.dumps(replies.pop(asked))))
    else:
        error = {"code": 0, "message": "Request cancelled"}
        write(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}))


def steps(number: int, token: object, arguments: dict[str, Any]) -> None:
    """Tell of each step, and answer when as many files exist as were named."""
    for step in range(1, arguments["count"] + 1):
        params = {"progressToken": token, "progress": step}
        write(json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))
    note("stepped", arguments.get("tag"))
    while "until" in arguments and not Path(arguments["until"]).exists():
        time.sleep(0.01)
    send(number, text("stepped"))


def big(number: int, size: int) -> None:
    with lock:
        sys.stdout.write(f'{{"jsonrpc":"2.0","id":{number},"result":{{"content":[{{"type":"text","text":"')
        for _ in range(size // 65536):
            sys.stdout.write("x" * 65536)
        sys.stdout.write('"}]}}\n')
        sys.stdout.flush()


def run(number: int, name: str, arguments: dict[str, Any], token: object) -> None:
    match name:
        case "steps":
            steps(number, token, arguments)
        case "wait":
            wait(number, arguments)
        case "ask":
            ask(number, arguments)
        case "crash":
            note("crashing")
            os._exit(3)
        case "big":
            big(number, arguments["size"])
        case "flood":
            for _ in range(arguments["megabytes"]):
                sys.stderr.write(("e" * 1023 + "\n") * 1024)
            sys.stderr.flush()
            send(number, text("flooded"))
        case "pid":
            send(number, text(str(os.getpid())))
        case "env":
            send(number, text(json.dumps(dict(os.environ))))
        case "odd":
            send(number, ODD.read_text().replace("\n", ""))
        case _:
            send(number, text(json.dumps(arguments)))


def tools() -> list[dict[str, Any]]:
    return [{"name": name, "description": f"{name} it", "inputSchema": {"type": "object"}} for name in TOOLS]


def answer(number: int, method: str, params: dict[str, Any]) -> None:
    match method:
        case "initialize":
            version = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            send(number, json.dumps({**version, "serverInfo": {"name": "witness", "version": "1"}}))
        case "tools/list":
            send(number, json.dumps({"tools": tools()}))
        case "tools/call":
            waiting[number] = threading.Event()
            token = params.get("_meta", {}).get("progressToken")
            call = (number, params["name"], params.get("arguments", {}), token)
            threading.Thread(target=run, args=call, daemon=True).start()
        case _:
            error = {"code": -32601, "message": f"unknown: {method}"}
            write(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}))


def take(message: dict[str, Any]) -> None:
    if message.get("method") == "notifications/cancelled":
        number = message["params"]["requestId"]
        note("cancelled", number)
        waiting.get(number, threading.Event()).set()
    elif "id" in message and "method" in message:
        answer(message["id"], message["method"], message.get("params", {}))
    elif str(message.get("id")).startswith("ask-"):
        replies[message["id"]] = message.get("result", message.get("error"))
        waiting[int(message["id"].removeprefix("ask-"))].set()


def alone() -> None:
    """Hold the lock for as long as the process lives."""
    file = os.open(FLAGS["alone"], os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("overlap")


def misbehave() -> None:
    if "stderr" in FLAGS:
        sys.stderr.write(FLAGS["stderr"] + "\n")
        sys.stderr.flush()
    if "exit" in FLAGS:
        os._exit(int(FLAGS["exit"]))
    if "stubborn" in FLAGS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", FLAGS["stubborn"]])
    if "mute" in FLAGS:
        time.sleep(300)
    while "garbage" in FLAGS:
        write("this is not JSON")


def main() -> None:
    note("started")
    if "alone" in FLAGS:
        alone()
    misbehave()
    for line in sys.stdin:
        take(json.loads(line))
    if "stubborn" in FLAGS:
        time.sleep(300)


main()
