"""Secrets in all that goes in, none in anything that comes out: F7 and U6, on a whole gateway at debug."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from libs.common.apikeys import hash_key, new_key
from libs.common.grants import ROLES
from tests.services.connector.http.peer import Asked, Reply, legacy, serving
from tests.system.gateway import Gateway, eventually
from tests.system.parts import witness
from tests.system.wire import ACCEPT, answered, ask, begin, called, http

pytestmark = pytest.mark.anyio

PLACES = (
    "env",
    "argv",
    "header",
    "userinfo",
    "query",
    "body",
    "error",
    "stderr",
    "argument",
    "key",
    "refused",
)
CANARIES = {place: f"c4n4ry-{place}-5up3r" for place in PLACES}
KEY = new_key()
SETTINGS = f"""
[server.metrics]
enabled = true

[server.api_keys.keys.me]
hash = "{hash_key(KEY)}"
subject = "me"
tenant = "acme"

[[mcp.headers]]
rule = "insert"
name = "X-Key"
value = "{CANARIES["header"]}"

[audit.sinks.all]
type = "file"
path = "audit.ndjson"

"""


async def hostile(asked: Asked, reply: Reply) -> None:
    """A server that writes secrets where nobody should repeat them."""
    method, number = asked.message["method"], asked.message["id"]
    if method == "tools/list":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("body", "error", "fine")]
        await reply.result(asked, {"tools": tools})
    elif asked.message["params"]["name"] == "body":
        await reply.body(f"Traceback: {CANARIES['body']}".encode(), "text/html", 500)
    elif asked.message["params"]["name"] == "error":
        error = {"code": -32001, "message": f"no: {CANARIES['error']}", "data": CANARIES["error"]}
        await reply.json({"jsonrpc": "2.0", "id": number, "error": error})
    else:
        await reply.result(asked, {"content": []})


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[Gateway]:
    async with serving(legacy(hostile)) as peer:
        url = f"http://user:{CANARIES['userinfo']}@127.0.0.1:{peer.port}/mcp?key={CANARIES['query']}"
        servers = {
            "plain": witness(f"unused={CANARIES['argv']}", env={"SECRET": CANARIES["env"]}),
            "loud": witness(f"stderr=boom {CANARIES['stderr']}", env={"OWN": CANARIES["stderr"]}),
            "dead": witness("exit=3", f"stderr=at {CANARIES['env']}", env={"SECRET": CANARIES["env"]}),
            "web": {"url": url},
        }
        flags = ("--log", "debug", "--log-style", "json")
        settings = SETTINGS.replace("audit.ndjson", str(folder / "audit.ndjson"))
        needs = ("plain", "loud", "web")
        async with Gateway(folder, servers, *flags, settings=settings, token=KEY, needs=needs) as made:
            yield made


async def test_f7_u6_no_secret_that_goes_in_comes_out(tmp_path: Path) -> None:
    said: list[str] = []
    async with gateway(tmp_path) as made, http() as client:
        client.headers["authorization"] = f"Bearer {KEY}"
        for tool in ("plain__echo", "web__body", "web__fine", "dead__echo", "nobody__echo"):
            params = {"name": "execute", "arguments": {"name": tool, "arguments": {"n": 1}}}
            said.append((await ask(client, made.url, "tools/call", params)).text)
        secret = {"password": CANARIES["argument"]}
        params = {"name": "execute", "arguments": {"name": "web__error", "arguments": secret}}
        told = answered(await ask(client, made.url, "tools/call", params))
        assert told["error"]["code"] == -32001
        uri = f"https://u:{CANARIES['argument']}@host/x?k={CANARIES['argument']}"
        await ask(client, made.url, "resources/read", {"uri": uri, "name": uri})
        session = await begin(client, made.url)
        call = called(7, "plain__crash", secret)
        said.append((await client.post(made.url, json=call, headers=session)).text)
        said.append((await client.get(f"http://{made.address}/ready")).text)
        await client.get(f"http://{made.address}/{CANARIES['argument']}")
        metrics = (await client.get(f"http://{made.address}/metrics")).text
        refused = await client.post(
            f"{made.url}?token={CANARIES['refused']}",
            json={},
            headers={**ACCEPT, "authorization": f"Bearer nxk_{CANARIES['refused']}"},
        )
        said.append(refused.text)
        await made.said("server failed")
        sink = tmp_path / "audit.ndjson"
        await eventually(lambda: sink.exists() and "auth.refused" in sink.read_text(), 10)
    events = [json.loads(line) for line in sink.read_text().splitlines()]
    assert {"mcp.tool.call.completed", "auth.accepted", "auth.refused", "server.failed"} <= {
        event["metadata"]["event_code"] for event in events
    }
    measured = {family.name for family in text_string_to_metric_families(metrics)}
    assert {"nexus_mcp_requests", "nexus_limits_decisions"} & measured == {"nexus_mcp_requests"}
    assert set(re.findall(r'service="(\w+)"', metrics)) == set(ROLES)
    kept = "".join(path.read_text(errors="replace") for path in (tmp_path / ".nexus").rglob("*.log"))
    for place, text in {
        "log": made.log(),
        "audit": sink.read_text(),
        "spool": kept,
        "answers": str(said),
        "metrics": metrics,
    }.items():
        found = [name for name, canary in {**CANARIES, "token": KEY}.items() if canary in text]
        assert not found, f"in the {place}: {found}"
