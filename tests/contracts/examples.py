"""One value of everything that is stored or sent between services, each field away from its default."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from libs.common.errors import Failure
from libs.common.facts import Fact, ServerFailed, ServerStarted, ToolsListed
from libs.common.identity import Principal
from libs.common.lease import Owner
from libs.common.messages import calls, catalog, edges, metrics, routers, search, streams
from libs.common.meters.cells import Series
from libs.common.trace import Trace
from services.edge.gateway import Note
from services.edge.sessions import Session
from services.edge.state import Tombstone

PRINCIPAL = Principal(
    "ann",
    "https://login.example",
    ("dev", "ops"),
    ("read",),
    "premium",
    "ide-7",
    "2001:db8::7",
    "ab12",
    "acme",
)
CLIENT = calls.Client("2025-11-25", Raw(b'{"elicitation":{}}'), Raw(b'{"name":"ide"}'))
PARAMS = Raw(b'{"arguments":{"x":1.5},"_meta":{"trace":"1"}}')
DEADLINE = 1800000000.25
TRACE = Trace(
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "a=1",
    "b=2",
    "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
)
SENT = {"x-tenant": "acme"}
FAILURE = Failure(-31002, "nobody holds it", "unknown", 503, Raw(b'{"server":"git"}'), True, True)
TOOL = Raw(b'{"name":"log","x-odd":[1.50]}')
HIT = search.Hit(
    name="git__log",
    description="Show commits",
    input_schema=Raw(b'{"type":"object"}'),
    score=0.75,
    server="git",
    title="Log",
    annotations=Raw(b'{"readOnlyHint":true}'),
    output_schema=Raw(b'{"type":"string"}'),
    execution=Raw(b'{"taskSupport":"optional"}'),
    why=search.Why(("show", "comits"), {"comits": "commits"}, related=True),
)
HELD = catalog.Held("failed", 1700000000.5, 3, "it exited with 3", "bad flag", 7, "stdio")
CALL = calls.Call(
    server="git",
    method="tools/call",
    deadline=DEADLINE,
    params=PARAMS,
    tool="log",
    principal=PRINCIPAL,
    client=CLIENT,
    progress=True,
    notify=True,
    trace=TRACE,
    token="AbCd",
    headers=SENT,
)
LISTING = catalog.Listing(
    server="git",
    digest="ab12",
    tools=(TOOL,),
    prompts=(Raw(b'{"name":"review"}'),),
    resources=(Raw(b'{"uri":"file:///a"}'),),
    templates=(Raw(b'{"uriTemplate":"file:///{path}"}'),),
    version="2025-06-18",
    capabilities=Raw(b'{"tools":{"listChanged":true}}'),
    info=Raw(b'{"name":"git-server"}'),
    instructions="Be kind.",
    hints={"tools": catalog.Hint(5000, "public")},
)

MESSAGES: dict[str, tuple[Any, Any]] = {
    "ExecuteTool": (
        calls.Request,
        calls.ExecuteTool(
            "git__log",
            DEADLINE,
            PARAMS,
            PRINCIPAL,
            CLIENT,
            progress=True,
            worker="w1",
            trace=TRACE,
            again=True,
            token="AbCd",
            own="log",
            headers=SENT,
        ),
    ),
    "CallServer": (
        calls.Request,
        calls.CallServer(
            "git",
            "prompts/get",
            DEADLINE,
            PARAMS,
            PRINCIPAL,
            CLIENT,
            progress=True,
            worker="w1",
            trace=TRACE,
            tool="log",
            again=True,
            token="AbCd",
            headers=SENT,
        ),
    ),
    "NotifyServer": (
        calls.Request,
        calls.NotifyServer(
            "git",
            "notifications/roots/list_changed",
            DEADLINE,
            PARAMS,
            PRINCIPAL,
            again=True,
            token="AbCd",
            headers=SENT,
        ),
    ),
    "ListServer": (calls.Request, calls.ListServer("git", DEADLINE, PRINCIPAL, "AbCd", again=True)),
    "SearchTools": (
        calls.Request,
        calls.SearchTools(
            DEADLINE,
            "commits",
            ("git", "log"),
            5,
            PRINCIPAL,
            again=True,
            digests={"git": "ab12"},
            listings=(LISTING,),
            server="git",
            read_only=True,
            detail="full",
            trace=TRACE,
        ),
    ),
    "HoldCall": (calls.Request, calls.HoldCall("w1", DEADLINE, Raw(b'"held-1"'), PRINCIPAL, True)),
    "ResolveTool": (calls.Query, calls.ResolveTool("git__lgo", DEADLINE, PRINCIPAL, TRACE)),
    "Call": (calls.Call, CALL),
    "CancelCall": (calls.CancelCall, calls.CancelCall("c1-2a", "the client left")),
    "ClientReply": (
        calls.ClientReply,
        calls.ClientReply("5e55", "0123abcd", Raw(b'{"action":"accept"}'), Raw(b'"refused"')),
    ),
    "CancelRequest": (calls.CancelRequest, calls.CancelRequest("s1", Raw(b'"req-7"'), "not needed")),
    "EdgeHere": (edges.News, edges.EdgeHere("e1")),
    "EdgeGone": (edges.News, edges.EdgeGone("e1")),
    "SessionEnded": (edges.News, edges.SessionEnded("e1", "5e55", DEADLINE)),
    "Heard": (edges.Heard, edges.Heard("e2", "5e55")),
    "StreamAsked": (streams.Held, streams.StreamAsked("5e55-e1-2a", leave=True)),
    "MessagePosted": (
        streams.Held,
        streams.MessagePosted(
            "5e55", Raw(b'{"jsonrpc":"2.0","method":"x"}'), PRINCIPAL, "192.0.2.7", "ide/7", "00ff"
        ),
    ),
    "Kept": (
        streams.Kept,
        streams.Kept(3, (Raw(b'{"jsonrpc":"2.0","id":7,"result":{}}'),), (Raw(b"7"),), last=True),
    ),
    "MetricsTold": (
        metrics.MetricsTold,
        metrics.MetricsTold(
            "b00t",
            "connector",
            "connector-1",
            {"nexus.downstream.call.duration": (Series(("git", "success"), 1.5, (0, 2, 1)),)},
        ),
    ),
    "RouterAlive": (routers.RouterAlive, routers.RouterAlive("router-1", leaving=True)),
    "Alive": (calls.Frame, calls.Alive("connector-1", ("c1-2a", "c1-2b"))),
    "Event": (
        calls.Frame,
        calls.Event(Raw(b'{"jsonrpc":"2.0","method":"notifications/progress"}'), (Raw(b'{"later":1}'),)),
    ),
    "Result": (calls.Frame, calls.Result(Raw(b'{"content":[],"x-odd":1.50}'))),
    "Failed": (calls.Frame, calls.Failed(FAILURE)),
    "ToolsFound": (
        search.ToolsFound,
        search.ToolsFound(
            (HIT,),
            ("git__log", "git__show"),
            unknown=True,
            servers=("git",),
            elsewhere=("hub__log",),
            stranger=True,
        ),
    ),
    "Tool": (
        catalog.Tool,
        catalog.Tool("log", "Log", "Show commits", Raw(b"{}"), Raw(b"{}"), Raw(b'{"idempotentHint":true}')),
    ),
}
"""By name: the type a receiver decodes, and a value of it."""

STATE: dict[str, tuple[Any, Any]] = {
    "Listing": (catalog.Listing, LISTING),
    "Worker": (catalog.Worker, catalog.Worker("connector-1", {"git": HELD}, draining=True)),
    "Owner": (Owner, Owner("connector-1", "b00t")),
    "Tombstone": (Tombstone, Tombstone(DEADLINE, ended=False, note=Note("error", ("x:1",)))),
    "Session": (
        Session,
        Session("5e55", "2025-11-25", DEADLINE, Raw(b'{"roots":{}}'), Raw(b'{"name":"ide"}')),
    ),
}
"""Values of the buckets, and the payload that a client carries sealed."""

FACTS: dict[str, Fact] = {
    "ToolsListed": ToolsListed(
        server="git",
        worker="connector-1",
        digest="ab12",
        version="2025-06-18",
        capabilities={"tools": {}},
        info={"name": "git-server"},
        instructions="Be kind.",
        tools=[{"name": "log", "x-odd": [1.5]}],
        prompts=[{"name": "review"}],
        resources=[{"uri": "file:///a"}],
        templates=[{"uriTemplate": "file:///{path}"}],
        hints={"tools": {"ttlMs": 5000, "cacheScope": "public"}},
    ),
    "ServerStarted": ServerStarted(server="git", worker="connector-1", kind="stdio", version="2025-06-18"),
    "ServerFailed": ServerFailed(
        server="git", worker="connector-1", reason="it exited with 3", retry_in=0.25
    ),
}
