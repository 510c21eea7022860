"""Every way a request may end, and the one event that says so: through a real edge, on a real disk."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec import Raw

from libs.common import log
from libs.common.apikeys import Record, hash_key, new_key, write_records
from libs.common.identity import tenant_token
from libs.common.messages.calls import ExecuteTool, Request
from libs.common.policy import Policy, Rule, Rules
from services.edge.audited import Audited
from services.edge.auth.apikeys import ApiKeys
from services.edge.definitions import Definitions
from services.edge.evidence import Evidence
from services.edge.gateway import OnEvent
from tests.services.edge.auth.doors import guarded, listed
from tests.services.edge.conftest import LEGACY, Edge, connect, modern_body, modern_headers, running
from tests.services.edge.stub import StubCatalog, StubGateway
from tests.written import Written, code, nexus, outcome, written

pytestmark = pytest.mark.anyio

Act = Callable[[Edge], Awaitable[Any]]
OK = ("ok", 0, "ok", "yes")
ANSWERED = ("ok", 0, "none", "yes")
RULES = {
    "demo": Rules(tools={"echo": Rule(allow=frozenset({"admins"})), "slow": Rule(scopes=("slow",))}),
    "late": Rules(server=Rule(allow=frozenset({"admins"}))),
}


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Written]:
    async with written(tmp_path / "spool") as book:
        yield book


@pytest.fixture
async def edge(book: Written) -> AsyncIterator[Edge]:
    async with running(trail=book.trail) as edge:
        yield edge


def execute(tool: str) -> Act:
    return lambda edge: edge.execute(tool, text="x")


def modern(method: str, path: str = "/mcp", **params: Any) -> Act:
    return lambda edge: edge.modern(method, path, **params)


def legacy(method: str, path: str = "/mcp", **params: Any) -> Act:
    async def act(edge: Edge) -> None:
        await edge.legacy(edge.sessions, method, path, **params)

    return act


def posted(body: Any, **headers: str) -> Act:
    return lambda edge: edge.http.post("/mcp", json=body, headers={**LEGACY, **headers})


ECHO: dict[str, Any] = {"name": "execute", "arguments": {"name": "demo__echo", "arguments": {}}}
CALLS: list[tuple[str, Act, int, tuple[str, int, str, str]]] = [
    ("result", execute("demo__echo"), 200, OK),
    ("legacy", legacy("tools/call", **ECHO), 200, OK),
    ("one server", modern("tools/call", "/mcp/demo", name="echo", arguments={}), 200, OK),
    ("unavailable", execute("demo__down"), 200, ("none", -31002, "none", "no")),
    ("overloaded", execute("demo__busy"), 503, ("none", -31004, "none", "no")),
    ("limited", execute("demo__often"), 429, ("none", -31007, "none", "no")),
    ("no bus", execute("demo__lost"), 503, ("none", -31006, "none", "no")),
    ("error of the server", execute("demo__denied"), 200, ("ok", -32001, "none", "yes")),
    ("lost", execute("demo__breaks"), 200, ("failed", -31012, "none", "unknown")),
    ("fault of ours", execute("demo__boom"), 500, ("failed", -32603, "none", "unknown")),
    ("held", modern("tools/call", "/mcp/demo", name="parks", arguments={}), 200, OK),
]
OTHERS: list[tuple[str, Act, str, int, tuple[str, int, str, str] | None]] = [
    ("list", modern("tools/list"), "tools/list", 200, ANSWERED),
    ("discover", modern("server/discover"), "server/discover", 200, ANSWERED),
    ("search", modern("tools/call", name="search", arguments={"query": "x"}), "tools/call", 200, ANSWERED),
    (
        "search for nothing",
        modern("tools/call", name="search", arguments={}),
        "tools/call",
        200,
        ("ok", 0, "error", "no"),
    ),
    (
        "no such tool",
        modern("tools/call", name="demo__none", arguments={}),
        "tools/call",
        400,
        ("none", -32602, "none", "no"),
    ),
    ("no such method", modern("odd/method"), "odd/method", 404, ("none", -32601, "none", "no")),
    ("initialize", lambda edge: edge.initialize(), "initialize", 200, ANSWERED),
    ("ping", legacy("ping"), "ping", 200, ANSWERED),
    (
        "notification",
        lambda edge: edge.notify(edge.sessions, "notifications/initialized"),
        "notifications/initialized",
        202,
        ANSWERED,
    ),
    (
        "end of a session",
        lambda edge: edge.http.delete("/mcp", headers=edge.sessions),
        "DELETE",
        204,
        ANSWERED,
    ),
    ("no JSON", lambda edge: edge.http.post("/mcp", content=b"{", headers=LEGACY), "POST", 400, None),
    ("no message", posted({"id": 1}), "POST", 400, None),
    ("no session", posted({"jsonrpc": "2.0", "id": 1, "method": "ping"}), "ping", 400, None),
    ("wrong host", posted({}, host="evil.example"), "POST", 421, None),
    ("wrong method", lambda edge: edge.http.put("/mcp", headers=LEGACY), "PUT", 405, None),
    ("no server", modern("tools/list", "/mcp/nobody"), "tools/list", 404, None),
    ("refused batch", lambda edge: edge.http.post("/mcp", json=[], headers=edge.sessions), "POST", 400, None),
]


@pytest.mark.parametrize(
    ("act", "status", "expected"), [each[1:] for each in CALLS], ids=[c[0] for c in CALLS]
)
async def test_a_call_has_one_event_before_and_one_after(
    edge: Edge, book: Written, act: Act, status: int, expected: tuple[str, int, str, str]
) -> None:
    edge.sessions = await edge.session()
    before = len(book.events())
    await act(edge)
    requested, completed = book.events()[before:]
    assert [code(requested), code(completed)] == ["mcp.tool.call.requested", "mcp.tool.call.completed"]
    assert requested["metadata"]["correlation_uid"] == completed["metadata"]["correlation_uid"]
    assert (completed["http_response"]["code"], outcome(completed)) == (status, expected)
    assert nexus(requested)["deadline"] > requested["time"]


@pytest.mark.parametrize(
    ("act", "operation", "status", "expected"), [each[1:] for each in OTHERS], ids=[o[0] for o in OTHERS]
)
async def test_any_other_request_has_one_event(
    edge: Edge, book: Written, act: Act, operation: str, status: int, expected: Any
) -> None:
    edge.sessions = await edge.session()
    before = len(book.events())
    await act(edge)
    (event,) = (await book.ended(before + 1))[before:]
    assert (code(event), event["api"]["operation"]) == ("mcp.request", operation)
    assert event["http_response"]["code"] == status
    assert expected is None or outcome(event) == expected


async def test_each_message_of_a_batch_has_its_own(edge: Edge, book: Written) -> None:
    session = await edge.session(protocolVersion="2025-03-26")
    batch = [
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ECHO},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 3, "method": "odd/method"},
        {"id": 4},
    ]
    await edge.http.post("/mcp", json=batch, headers=session)
    ends = (await book.ended(6))[1:]
    assert Counter((code(each), each["api"]["operation"]) for each in ends) == {
        ("mcp.tool.call.completed", "tools/call"): 1,
        ("mcp.request", "tools/list"): 1,
        ("mcp.request", "notifications/initialized"): 1,
        ("mcp.request", "odd/method"): 1,
        ("mcp.request", "POST"): 1,
    }
    assert {each["http_response"]["code"] for each in ends} == {200}


async def test_rounds_of_a_held_call_are_numbered_under_one_name(edge: Edge, book: Written) -> None:
    asked = (await edge.modern("tools/call", "/mcp/demo", name="parks", arguments={})).json()["result"]
    await edge.modern(
        "tools/call", "/mcp/demo", name="parks", requestState=asked["requestState"], inputResponses={"q1": {}}
    )
    names = Counter(each["metadata"]["correlation_uid"] for each in book.events())
    (first, second), counts = zip(*names.items(), strict=True)
    assert re.fullmatch(rf"{first}\.2-[0-9a-f]{{8}}", second)
    assert counts == (2, 2)


async def test_going_on_twice_from_one_round_makes_two_calls(edge: Edge, book: Written) -> None:
    asked = (await edge.modern("tools/call", "/mcp/demo", name="parks", arguments={})).json()["result"]
    for _ in range(2):
        await edge.modern(
            "tools/call",
            "/mcp/demo",
            name="parks",
            requestState=asked["requestState"],
            inputResponses={"q1": {}},
        )
    names = Counter(each["metadata"]["correlation_uid"] for each in book.events())
    assert sorted(names.values()) == [2, 2, 2]


async def test_a_call_says_who_called_what_and_how(edge: Edge, book: Written) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = modern_body("tools/call", name="execute", arguments={"name": "demo__echo", "arguments": {"b": 1}})
    headers = modern_headers("tools/call", "execute", traceparent=parent)
    await edge.http.post("/mcp", json=body, headers={**headers, "x-test-user": "ann", "user-agent": "ide/7"})
    requested, completed = book.events()
    for event in (requested, completed):
        assert event["actor"]["user"] == {"uid": "ann", "groups": [{"name": "anns"}]}
        assert event["actor"]["app_name"] == "tests"
        assert event["src_endpoint"]["ip"] == "127.0.0.1"
        assert event["http_request"] == {"url": {"path": "/mcp"}, "user_agent": "ide/7"}
        assert event["trace"]["uid"] == parent.split("-")[1]
        assert event["api"] == {"operation": "tools/call", "service": {"name": "demo"}}
        assert event["resources"][0]["name"] == "echo"
        assert len(event["resources"][0]["uid"]) == 64
    assert nexus(requested)["args"]["keys"] == ["b"]
    assert nexus(requested)["args"]["bytes"] == len('{"b":1}')
    assert "args" not in nexus(completed)
    assert nexus(completed)["result"]["bytes"] > 0


async def test_u8_a_tool_that_failed_is_a_failure_of_the_tool_and_http_says_200(
    edge: Edge, book: Written
) -> None:
    answer = await edge.execute("demo__fails")
    completed = book.events()[-1]
    assert answer.json()["result"]["isError"] is True
    assert (answer.status_code, completed["http_response"]["code"]) == (200, 200)
    assert (completed["status_id"], completed["status_code"]) == (2, "tool")
    assert outcome(completed) == ("ok", 0, "error", "yes")


async def test_u9_a_client_that_leaves_is_a_499_and_nobody_knows_whether_it_ran(
    edge: Edge, book: Written
) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(edge.execute, "demo__slow")
        await edge.gateway.started.wait()
        group.cancel_scope.cancel()
    (completed,) = await book.ended(1)
    assert completed["http_response"]["code"] == 499
    assert outcome(completed) == ("aborted", 0, "none", "unknown")


async def test_u9_a_client_with_a_session_that_leaves_has_not_cancelled(edge: Edge, book: Written) -> None:
    session = await edge.session()
    slow: dict[str, Any] = {"name": "execute", "arguments": {"name": "demo__slow", "arguments": {}}}
    async with connect(edge.url) as other, anyio.create_task_group() as group:
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": slow}
        group.start_soon(partial(other.post, "/mcp", json=call, headers=session))
        await edge.gateway.started.wait()
        group.cancel_scope.cancel()
    await edge.initialize()
    edge.gateway.release.set()
    completed = (await book.ended(3))[-1]
    assert completed["http_response"]["code"] == 499
    assert outcome(completed) == ("aborted", 0, "ok", "yes")


async def test_a_call_that_its_client_cancels_says_so(edge: Edge, book: Written) -> None:
    session = await edge.session()
    slow: dict[str, Any] = {"name": "execute", "arguments": {"name": "demo__slow", "arguments": {}}}
    async with anyio.create_task_group() as group:
        group.start_soon(partial(edge.legacy, session, "tools/call", request_id=7, **slow))
        await edge.gateway.started.wait()
        await edge.notify(session, "notifications/cancelled", requestId=7)
    completed = next(each for each in await book.ended(3) if code(each) == "mcp.tool.call.completed")
    assert (completed["http_response"]["code"], completed["message"]) == (
        202,
        "the client cancelled the request",
    )
    assert outcome(completed) == ("aborted", 0, "none", "unknown")


@pytest.mark.parametrize(
    ("user", "tool", "decision", "rule"),
    [
        ("admin", "demo__echo", "allowed", "mcp.servers.demo.tools.echo.allow"),
        ("guest", "demo__echo", "denied", "mcp.servers.demo.tools.echo.allow"),
        ("admin", "demo__slow", "denied", "mcp.servers.demo.tools.slow.required_scopes"),
        ("guest", "late__any", "denied", "mcp.servers.late.allow"),
        ("guest", "demo__other", "allowed", "no rule"),
    ],
)
async def test_the_decision_stands_there_with_its_rule(
    book: Written, user: str, tool: str, decision: str, rule: str
) -> None:
    async with running(trail=book.trail, policy=Policy(RULES)) as edge:
        edge.gateway.release.set()
        headers = {**modern_headers("tools/call", "execute"), "x-test-user": user}
        body = modern_body("tools/call", name="execute", arguments={"name": tool, "arguments": {}})
        await edge.http.post("/mcp", json=body, headers=headers)
    for event in book.events():
        assert event["action_id"] == {"allowed": 1, "denied": 2}[decision]
        assert event["policy"]["uid"] == rule


@pytest.mark.parametrize(("tool", "server"), [("echo", "demo"), ("any", "late")])
async def test_a_denied_tool_of_one_server_says_which_rule(book: Written, tool: str, server: str) -> None:
    async with running(trail=book.trail, policy=Policy(RULES)) as edge:
        await edge.modern("tools/call", f"/mcp/{server}", name=tool, arguments={})
    (event,) = book.events()
    assert (code(event), event["status_code"]) == ("mcp.request", "denied")
    assert event["policy"]["uid"].startswith(f"mcp.servers.{server}")
    assert (event["api"]["service"]["name"], event["resources"][0]["name"]) == (server, tool)


async def test_a_limit_that_refuses_is_the_decision(edge: Edge, book: Written) -> None:
    await edge.execute("demo__often")
    completed = book.events()[-1]
    assert (completed["action_id"], completed["policy"]["uid"]) == (2, "rate limit user")
    assert nexus(completed)["ratelimit"] == {
        "scope": "user",
        "limit": 10,
        "interval_ms": 60_000,
        "retry_after_ms": 12_001,
    }


async def test_only_allowed_arguments_are_shown_and_no_known_secret_among_them(
    edge: Edge, book: Written
) -> None:
    log.hide("canary-in-an-argument")
    await edge.execute("demo__echo", shown="see canary-in-an-argument", hidden="not-to-be-seen")
    args = nexus(book.events()[0])["args"]
    assert args["fields"] == [{"name": "shown", "value": "see <secret>"}]
    assert args["keys"] == ["shown", "hidden"]
    assert "not-to-be-seen" not in book.text()


async def test_f9_the_same_id_twice_is_two_events_and_a_huge_argument_a_small_one(
    edge: Edge, book: Written
) -> None:
    for _ in range(2):
        headers = {**modern_headers("tools/call", "execute"), "nats-msg-id": "mine"}
        arguments = {"name": "demo__echo", "arguments": {"text": "x" * 900_000}}
        body = modern_body("tools/call", 1, name="execute", arguments=arguments)
        assert (await edge.http.post("/mcp", json=body, headers=headers)).status_code == 200
    events = book.events()
    assert len({each["metadata"]["uid"] for each in events}) == 4
    assert "mine" not in book.text()
    assert all(len(line) <= 17 * 1024 for line in book.text().splitlines())
    assert nexus(events[0])["args"]["bytes"] > 900_000
    assert nexus(events[0])["args"]["hmac"] == nexus(events[2])["args"]["hmac"]


@pytest.mark.parametrize("text", ["a\r\nb", "\x1b[31mred", "a\u2028b", "x" * 100_000])
async def test_f6_no_text_of_a_client_breaks_the_line_it_stands_in(
    edge: Edge, book: Written, text: str
) -> None:
    await edge.execute(text, **{text: 1})
    await edge.initialize(clientInfo={"name": text})
    session = await edge.session()
    await edge.legacy(session, "prompts/get", name=text)
    lines = book.text().split("\n")
    assert len(lines) == len(book.events()) + 1
    assert all(line.isprintable() and len(line) < 17 * 1024 for line in lines)


async def test_a_flood_of_refused_credentials_is_told_as_a_number(tmp_path: Path, book: Written) -> None:
    keys = ApiKeys([], tmp_path / "none.json")
    async with guarded(None, keys, settings={"trail": book.trail}) as edge:
        for number in range(40):
            assert (await listed(edge, f"Bearer nxk_{number}")).status_code == 401
    events = book.events("auth.refused")
    counts = [nexus(each)["facts"].get("count", 1) for each in events]
    assert sum(counts) == 40
    assert len(events) < 40
    assert {each["http_response"]["code"] for each in events} == {401}
    assert all(len(nexus(each)["token_hash"]) == 16 for each in events)


async def test_good_credentials_are_told_once_a_minute_and_their_fingerprint_each_time(
    tmp_path: Path, book: Written
) -> None:
    path, key = tmp_path / "keys.json", new_key()
    write_records(path, {"ci": Record(hash_key(key), "robot", tenant="acme")})
    keys = ApiKeys([], path)
    keys.reload()
    async with guarded(None, keys, settings={"trail": book.trail}) as edge:
        for _ in range(2):
            await listed(edge, f"Bearer {key}")
    accepted, first, second = book.events()
    assert code(accepted) == "auth.accepted"
    marks = {nexus(each)["token_hash"] for each in (accepted, first, second)}
    assert len(marks) == 1
    assert key not in book.text()
    assert {each["metadata"]["tenant_uid"] for each in (accepted, first, second)} == {"acme"}
    token = tenant_token("acme")
    assert all(f".{token} " in line for line in book.text().splitlines())


async def test_a_stream_is_told_of_when_it_ends(edge: Edge, book: Written) -> None:
    session = await edge.session()
    before = len(book.events())
    async with edge.http.stream("GET", "/mcp", headers={**session, "accept": "text/event-stream"}) as stream:
        assert stream.status_code == 200
        assert len(book.events()) == before
    event = (await book.ended(before + 1))[-1]
    assert (event["api"]["operation"], event["http_response"]["code"]) == ("GET", 200)
    assert event["status_id"] == 1
    assert event["actor"]["session"] == book.events()[0]["actor"]["session"]


async def test_a_strict_gateway_answers_when_both_events_are_on_the_disk(tmp_path: Path) -> None:
    async with written(tmp_path, strict=True) as book, running(trail=book.trail) as edge:
        assert (await edge.execute("demo__echo")).status_code == 200
        assert [outcome(each) for each in book.events("mcp.tool.call.completed")] == [OK]


async def test_f9_a_strict_gateway_without_room_for_an_event_calls_nothing(tmp_path: Path) -> None:
    async with written(tmp_path, strict=True, most=100) as book, running(trail=book.trail) as edge:
        answer = await edge.execute("demo__echo")
        assert answer.status_code == 503
        assert answer.json()["error"]["data"] == {"reason": "audit_unavailable", "executed": "no"}
        assert not edge.gateway.seen
        assert (await edge.modern("tools/list")).status_code == 200


async def test_a_strict_gateway_withholds_an_answer_whose_event_finds_no_room(tmp_path: Path) -> None:
    async with written(tmp_path, strict=True, most=1600) as book, running(trail=book.trail) as edge:
        answer = await edge.execute("demo__echo")
        assert len(edge.gateway.seen) == 1
        assert answer.status_code == 500
        assert answer.json()["error"]["data"] == {"reason": "audit_unavailable", "executed": "yes"}
        assert "result" not in answer.json()
        assert [code(each) for each in book.events()] == ["mcp.tool.call.requested"]


async def test_a_fast_gateway_without_room_goes_on_and_counts(tmp_path: Path) -> None:
    async with written(tmp_path, most=100) as book, running(trail=book.trail) as edge:
        assert (await edge.execute("demo__echo")).status_code == 200
        assert book.trail.stats.lost == 2


async def test_credentials_are_told_of_beside_mcp_too_but_not_their_absence(
    tmp_path: Path, book: Written
) -> None:
    key = new_key()
    keys = ApiKeys([Record(hash_key(key), "robot")], None)
    async with guarded(None, keys, settings={"trail": book.trail}) as edge:
        await edge.http.get("/ready")
        assert not book.events()
        await edge.http.get("/ready", headers={"authorization": "Bearer nxk_wrong"})
        await edge.http.get("/ready", headers={"authorization": f"Bearer {key}"})
    assert [code(each) for each in book.events()] == ["auth.refused", "auth.accepted"]
    assert {each["http_request"]["url"]["path"] for each in book.events()} == {"/ready"}


async def test_a_request_without_the_header_against_forgery_is_told_of(book: Written) -> None:
    async with running(trail=book.trail, csrf="X-Nexus") as edge:
        assert (await edge.modern("tools/list")).status_code == 403
    (event,) = book.events()
    assert (code(event), event["http_response"]["code"]) == ("mcp.request", 403)
    assert (event["status_code"], event["policy"]["uid"]) == ("denied", "server.csrf.header_name")


class Watching(StubGateway):
    """Notes what is on the disk in the very moment in which a call is sent."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self.on_disk = b""

    async def request(self, message: Request, *, on_event: OnEvent | None = None) -> Raw:
        self.on_disk = b"".join(each.read_bytes() for each in self._root.rglob("*.log"))
        return await super().request(message, on_event=on_event)


async def test_a_call_is_on_the_disk_before_it_is_sent(book: Written) -> None:
    inner, definitions = Watching(book.root), Definitions(StubCatalog())
    evidence = Evidence(Policy(), definitions, book.trail.fingerprints)
    call = ExecuteTool("demo__echo", time.time() + 5, params=Raw(b'{"arguments":{}}'))
    await Audited(inner, book.trail, evidence).request(call)
    assert inner.on_disk.count(b"mcp.tool.call.requested") == 1
