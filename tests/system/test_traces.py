"""One trace from the client to the server behind the gateway, as a real collector gets it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.collector import Collector, attributes, collecting
from tests.services.connector.http.peer import Asked, Peer, Reply, modern, serving
from tests.system.gateway import Gateway
from tests.system.wire import Message, answered, ask, begin, called, http
from tests.valkey import Valkey

pytestmark = [pytest.mark.anyio, pytest.mark.system]

CANARY = "canary-5ec5e7-9f3b"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
SETTINGS = """
[telemetry.tracing]
sampling = 1.0
[server.rate_limits]
enabled = true
global = {{ limit = 1000, interval = "60s" }}
storage = {{ type = "redis", url = "{redis}" }}
"""


async def _work(asked: Asked, reply: Reply) -> None:
    """One tool that says how far it is, one that fails, one that leaks."""
    message = asked.message
    if message["method"] != "tools/call":
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("work", "fail", "leak")]
        await reply.result(asked, {"resultType": "complete", "tools": tools})
    elif message["params"]["name"] == "fail":
        await reply.result(asked, {"resultType": "complete", "content": [], "isError": True})
    elif message["params"]["name"] == "leak":
        error = {"code": -32055, "message": CANARY, "data": CANARY}
        await reply.json({"jsonrpc": "2.0", "id": message["id"], "error": error})
    else:
        await _worked(asked, reply)


async def _worked(asked: Asked, reply: Reply) -> None:
    number, meta = asked.message["id"], asked.message["params"]["_meta"]
    await reply.events()
    if "progressToken" in meta:
        params = {"progressToken": meta["progressToken"], "progress": 1, "total": 2, "message": CANARY}
        await reply.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    result = {"resultType": "complete", "content": [{"type": "text", "text": CANARY}]}
    await reply.event({"jsonrpc": "2.0", "id": number, "result": result})
    await reply.end()


@dataclass
class Traced:
    """A gateway that records everything, what is behind it, and where its spans go."""

    gateway: Gateway
    peer: Peer
    collector: Collector
    valkey: Valkey

    async def tree(self, trace: str, *names: str) -> dict[str, Span]:
        """The spans of a trace by their names, once all of these have arrived."""

        def found() -> dict[str, Span]:
            here = [each for each in self.collector.spans if each.trace_id.hex() == trace]
            spans = {each.name: each for each in here}
            return spans if set(names) <= set(spans) else {}

        try:
            return await self.collector.until(found)
        except TimeoutError:
            seen = [(each.name, each.trace_id.hex()) for each in self.collector.spans]
            raise AssertionError(f"never all of {names} in {trace}; arrived: {seen}") from None


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def traced(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Traced]:
    valkey = Valkey(tmp_path_factory.mktemp("valkey"))
    valkey.start()
    folder = tmp_path_factory.mktemp("gateway")
    async with collecting() as collector, serving(modern(_work)) as peer:
        settings = collector.settings(f'http.headers = {{ x-secret = "{CANARY}" }}') + SETTINGS.format(
            redis=valkey.url
        )
        servers = {"far": {"url": peer.url, "auth": {"token": CANARY}}}
        async with Gateway(folder, servers, settings=settings) as gateway:
            yield Traced(gateway, peer, collector, valkey)
    valkey.stop()


async def _execute(traced: Traced, tool: str, meta: Message | None = None, **headers: str) -> Message:
    async with http(20) as client:
        client.headers.update(headers)
        arguments = {"name": tool, "arguments": {"secret": CANARY}}
        params = {"name": "execute", "arguments": arguments, "_meta": meta or {}}
        return answered(await ask(client, f"{traced.gateway.url}?q={CANARY}", "tools/call", params))


def _below(child: Span, parent: Span) -> bool:
    return child.parent_span_id == parent.span_id


async def test_a_call_is_one_trace_from_its_client_to_its_server(traced: Traced) -> None:
    await _execute(traced, "far__work", {"traceparent": PARENT, "tracestate": "a=1", "progressToken": 7})
    names = ("POST /mcp", "tools/call far__work", "route", "redis:check_and_consume", "tools/call work")
    spans = await traced.tree(TRACE, *names)
    exchange, call, route, redis, sent = (spans[name] for name in names)
    assert exchange.parent_span_id.hex() == PARENT[36:52]
    assert _below(call, exchange)
    assert _below(route, call)
    assert _below(redis, route)
    assert _below(sent, route)
    assert [Span.SpanKind.Name(each.kind)[10:] for each in (exchange, call, route, redis, sent)] == [
        "SERVER",
        "SERVER",
        "INTERNAL",
        "CLIENT",
        "CLIENT",
    ]
    (message,) = [each for each in traced.peer.messages("tools/call") if each["params"]["name"] == "work"]
    (asked,) = [each for each in traced.peer.asked if each.body and each.message == message]
    context = f"00-{TRACE}-{sent.span_id.hex()}-01"
    assert (message["params"]["_meta"]["traceparent"], asked.headers["traceparent"]) == (context, context)
    assert message["params"]["_meta"]["tracestate"] == "a=1"


async def test_spans_say_what_the_conventions_want_and_what_limits_said(traced: Traced) -> None:
    trace = "1" * 32
    await _execute(traced, "far__work", {"traceparent": f"00-{trace}-{'2' * 16}-00", "progressToken": 7})
    names = ("POST /mcp", "tools/call far__work", "route", "tools/call work")
    spans = await traced.tree(trace, *names)
    exchange, call, route, sent = (attributes(spans[name].attributes) for name in names)
    assert exchange == {
        "http.request.method": "POST",
        "http.route": "/mcp",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    request = call.pop("jsonrpc.request.id")
    assert request.isdecimal()
    assert call == {
        "mcp.method.name": "tools/call",
        "mcp.protocol.version": "2026-07-28",
        "mcp.tool.name": "execute",
        "mcp.tool.type": "downstream",
        "gen_ai.tool.name": "far__work",
        "nexus.server": "far",
        "gen_ai.operation.name": "execute_tool",
        "network.transport": "tcp",
        "network.protocol.name": "http",
    }
    assert route == {
        "nexus.request": "execute",
        "nexus.decision": "allowed",
        "nexus.server": "far",
        "gen_ai.tool.name": "work",
    }
    (limit,) = spans["route"].events
    assert attributes(limit.attributes) | {"rate_limit.remaining": 0} == {
        "rate_limit.scope": "global",
        "rate_limit.limit": 1000,
        "rate_limit.interval_ms": 60_000,
        "rate_limit.allowed": True,
        "rate_limit.remaining": 0,
    }
    assert sent == {
        "mcp.method.name": "tools/call",
        "mcp.protocol.version": "2026-07-28",
        "gen_ai.tool.name": "work",
        "gen_ai.operation.name": "execute_tool",
        "nexus.server": "far",
        "network.transport": "tcp",
        "network.protocol.name": "http",
        "server.address": "127.0.0.1",
        "server.port": traced.peer.port,
    }
    (progress,) = spans["tools/call work"].events
    assert attributes(progress.attributes) == {
        "mcp.method.name": "notifications/progress",
        "mcp.progress.progress": 1,
        "mcp.progress.total": 2,
    }


async def test_what_failed_is_told_from_what_worked(traced: Traced) -> None:
    outcomes = {}
    for number, tool in enumerate(("far__work", "far__fail", "far__leak", "far__none"), 3):
        trace = str(number) * 32
        await _execute(traced, tool, traceparent=f"00-{trace}-{'2' * 16}-01")
        name = "tools/call execute" if tool == "far__none" else f"tools/call {tool}"
        span = (await traced.tree(trace, "POST /mcp", name))[name]
        outcomes[tool] = span.status.code, attributes(span.attributes).get("error.type")
    ok, error = Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR
    assert outcomes == {
        "far__work": (ok, None),
        "far__fail": (error, "tool_error"),
        "far__leak": (error, "-32055"),
        "far__none": (error, "tool_error"),
    }


async def test_a_search_says_how_much_was_asked_and_found(traced: Traced) -> None:
    trace = "a" * 32
    async with http() as client:
        client.headers["traceparent"] = f"00-{trace}-{'2' * 16}-01"
        params = {"name": "search", "arguments": {"keywords": ["work", CANARY]}}
        await ask(client, traced.gateway.url, "tools/call", params)
    spans = await traced.tree(trace, "POST /mcp", "tools/call search", "route", "index:search")
    assert _below(spans["index:search"], spans["route"])
    found = attributes(spans["index:search"].attributes)
    assert found["mcp.search.keyword_count"] == 2
    assert found["mcp.search.result_count"] >= 1


async def test_a_session_is_known_by_a_digest_and_its_beginning_has_spans(traced: Traced) -> None:
    async with http() as client:
        headers = await begin(client, traced.gateway.url)
        trace = "b" * 32
        body = called(1, "far__fail")
        await client.post(
            traced.gateway.url, json=body, headers={**headers, "traceparent": f"00-{trace}-{'2' * 16}-01"}
        )
    spans = await traced.tree(trace, "POST /mcp", "tools/call far__fail")
    digest = attributes(spans["tools/call far__fail"].attributes)["mcp.session.id"]
    assert len(digest) == 32
    assert digest not in headers["Mcp-Session-Id"]
    began = await traced.collector.span("initialize")
    assert attributes(began.attributes) == {"mcp.method.name": "initialize"}


async def test_a_server_behind_its_own_path_is_part_of_the_trace(traced: Traced) -> None:
    trace, other = "e" * 32, "9" * 32
    async with http() as client:
        client.headers["traceparent"] = f"00-{other}-{'3' * 16}-01"
        meta = {"traceparent": f"00-{trace}-{'2' * 16}-01"}
        await ask(
            client,
            f"{traced.gateway.url}/far",
            "tools/call",
            {"name": "work", "arguments": {}, "_meta": meta},
        )
    spans = await traced.tree(trace, "POST /mcp/{server}", "tools/call far__work", "route", "tools/call")
    assert attributes(spans["tools/call far__work"].attributes)["nexus.server"] == "far"
    exchange = spans["POST /mcp/{server}"]
    assert exchange.parent_span_id.hex() == "2" * 16
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in exchange.links] == [(other, "3" * 16)]
    assert _below(spans["tools/call"], spans["route"])


async def test_all_processes_send_their_log_lines_and_their_metrics(traced: Traced) -> None:
    collector = traced.collector
    await collector.until(lambda: [each.body.string_value for each in collector.logs].count("ready") >= 4)
    named = {"http.server.request.duration", "mcp.tool.call.duration", "redis.command.duration"}
    await collector.until(lambda: named <= {each.name for each in collector.metrics})


async def test_no_secret_and_no_argument_leaves_with_telemetry(traced: Traced) -> None:
    for tool in ("far__work", "far__leak", f"far__{CANARY}"):
        await _execute(
            traced,
            tool,
            {"progressToken": CANARY, "traceparent": f"00-{'c' * 32}-{'2' * 16}-01"},
            **{"X-Canary": CANARY},
        )
    async with http() as client:
        client.headers["traceparent"] = f"00-{'d' * 32}-{'2' * 16}-01"
        await ask(client, f"{traced.gateway.url}/{CANARY}", "tools/call", {"name": CANARY})
        await client.post(
            f"{traced.gateway.url}/{CANARY}",
            headers={"Mcp-Session-Id": CANARY, "traceparent": f"00-{'d' * 32}-{'2' * 16}-01"},
        )
    await traced.tree("c" * 32, "POST /mcp", "tools/call execute")
    await traced.tree("d" * 32, "POST /mcp/{server}")
    text = traced.collector.text()
    assert "far" in text
    assert CANARY not in text
    assert CANARY not in traced.gateway.log()


async def test_log_lines_of_a_request_carry_its_trace(traced: Traced) -> None:
    """The last one here: the storage of limits does not come back."""
    trace = "f" * 32
    traced.valkey.stop()
    await _execute(traced, "far__work", traceparent=f"00-{trace}-{'2' * 16}-01")
    text = "the storage of rate limits is down"
    (line,) = await traced.collector.until(
        lambda: [each for each in traced.collector.logs if each.body.string_value == text]
    )
    assert (line.trace_id.hex(), line.severity_text) == (trace, "ERROR")
    assert any(f"trace_id={trace}" in each for each in traced.gateway.log().splitlines() if text in each)


@asynccontextmanager
async def _silent() -> AsyncIterator[str]:
    """Where connections are taken and nothing is ever said; its URL."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in held:
            writer.close()


async def test_collectors_that_refuse_or_stall_are_told_of_once_and_calls_go_on(tmp_path: Path) -> None:
    async with _silent() as silent, serving(modern(_work)) as peer:
        stalls = f'sampling = 1.0\nexporters.otlp.endpoint = "{silent}"\nexporters.otlp.timeout = "60s"\n'
        settings = Collector(9).settings() + f"[telemetry.tracing]\n{stalls}"
        servers = {"far": {"url": peer.url}}
        async with Gateway(tmp_path, servers, "--single-process", settings=settings) as gateway:
            for _ in range(5):
                params = {"name": "execute", "arguments": {"name": "far__work", "arguments": {}}}
                async with http(5) as client:
                    assert "result" in answered(await ask(client, gateway.url, "tools/call", params))
            await gateway.said("telemetry does not arrive")
        lines = [line for line in gateway.log().splitlines() if "telemetry does not arrive" in line]
    signals = Counter(line.partition("signal=")[2].split()[0] for line in lines)
    assert signals == Counter(["logs", "metrics", *(["tracing"] if "tracing" in signals else [])])
