"""Where each kind of request goes, and which go nowhere."""

from __future__ import annotations

import time

import pytest
from msgspec import Raw
from structlog.testing import capture_logs

from libs.common import naming
from libs.common.bus import Bus
from libs.common.config import Sharing
from libs.common.errors import Refused, ScopeRefused, ServerUnavailable, ServerUnknown
from libs.common.fleet import Fleet
from libs.common.identity import Principal
from libs.common.messages.calls import (
    Call,
    CallServer,
    Client,
    ExecuteTool,
    HoldCall,
    NotifyServer,
    ResolveTool,
    SearchTools,
)
from libs.common.messages.catalog import Held, State, Worker
from libs.common.policy import Policy, Rule, Rules
from libs.common.trace import Trace
from services.router.handlers import Router
from services.router.names import NamedListing, Names, ToolName

ANN = Principal("ann", "https://login.example")
IDE = Client("2025-11-25", Raw(b'{"roots":{}}'))
PARAMS = Raw(b'{"arguments":{"x":1}}')
LONG = "a_very_long_tool_name_" * 4


def listing(server: str, *tools: str) -> NamedListing:
    return NamedListing(server, tuple(map(ToolName, tools)))


@pytest.fixture
def names() -> Names:
    return Names(frozenset({"git", "time"}), Policy())


SHARINGS: dict[str, Sharing] = {"git": "shared", "time": "per-session"}


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(["git", "time"])


@pytest.fixture
def router(fleet: Fleet, names: Names) -> Router:
    names.update("git", listing("git", "log", "show", LONG, "ls/tree", "_odd"))
    hold(fleet, "git")
    return Router(Bus("nats://127.0.0.1:1", "router"), fleet, names, Policy(), SHARINGS)


def hold(fleet: Fleet, server: str, state: State = "ready", **facts: object) -> None:
    fleet.update("w1", Worker("w1", {server: Held(state, time.time(), **facts)}))  # type: ignore[arg-type]


def soon() -> float:
    return time.time() + 10


TRACE = Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=1", "b=2")


def test_the_trace_of_a_request_goes_on_with_its_call(router: Router) -> None:
    for request in (
        ExecuteTool("git__log", soon(), trace=TRACE),
        CallServer("git", "x", soon(), trace=TRACE),
    ):
        _, call = router.route(request)
        assert isinstance(call, Call)
        assert call.trace == TRACE


def test_headers_of_the_client_go_along(router: Router) -> None:
    sent = {"x-tenant": "acme"}
    for request in (
        ExecuteTool("git__log", soon(), headers=sent),
        CallServer("git", "x", soon(), headers=sent),
        NotifyServer("git", "notifications/x", soon(), headers=sent),
    ):
        _, call = router.route(request)
        assert isinstance(call, Call)
        assert call.headers == sent


def test_a_tool_goes_to_the_connectors_of_its_server_under_its_own_name(router: Router) -> None:
    request = ExecuteTool("git__log", soon(), PARAMS, ANN, IDE, progress=True)
    wanted = Call("git", "tools/call", request.deadline, PARAMS, "log", ANN, IDE, progress=True)
    assert router.route(request) == ("nexus.v1.call.git", wanted)


@pytest.mark.parametrize("tool", [LONG, "ls/tree", "_odd"])
def test_a_shortened_or_odd_name_leads_to_the_tool_it_stands_for(router: Router, tool: str) -> None:
    _, call = router.route(ExecuteTool(naming.exposed("git", tool), soon()))
    assert isinstance(call, Call)
    assert (call.server, call.tool) == ("git", tool)


@pytest.mark.parametrize(
    "name",
    ["git__nothing", "nobody__log", "log", "", "git__", "__", f"git__{LONG}", "git__log\n"],
)
def test_a_name_nobody_has_is_resolved_by_the_indexer(router: Router, name: str) -> None:
    request = ExecuteTool(name, soon(), PARAMS, ANN)
    assert router.route(request) == ("nexus.v1.search", ResolveTool(name, request.deadline, ANN))


def test_a_server_that_has_not_listed_yet_is_unavailable_and_not_without_the_tool(
    router: Router, fleet: Fleet
) -> None:
    with pytest.raises(ServerUnavailable, match='no connector holds server "time"'):
        router.route(ExecuteTool("time__now", soon()))
    hold(fleet, "time")
    with pytest.raises(ServerUnavailable, match="not its list of tools"):
        router.route(ExecuteTool("time__now", soon()))


def test_names_that_two_tools_share_belong_to_neither(router: Router, names: Names) -> None:
    collided = naming.exposed("git", "a b")
    twin = collided.removeprefix("git__")
    with capture_logs() as logs:
        names.update("git", listing("git", "a b", twin, "log"))
    assert naming.exposed("git", twin) == collided
    assert logs[0]["names"] == [collided]
    assert isinstance(router.route(ExecuteTool(collided, soon()))[1], ResolveTool)
    assert isinstance(router.route(ExecuteTool("git__log", soon()))[1], Call)


def test_names_follow_the_catalog(router: Router, names: Names) -> None:
    names.update("git", listing("git", "blame"))
    assert names.find("git__log") is None
    assert names.find("git__blame") == ("git", "blame")
    names.update("git", None)
    assert names.find("git__blame") is None


def test_a_catalog_entry_of_a_server_that_is_not_configured_is_not_there(names: Names) -> None:
    names.update("old", listing("old", "tool"))
    names.update("git", listing("old", "tool"))
    assert names.find("old__tool") is None


def test_a_request_to_a_server_is_passed_on_as_it_is(router: Router) -> None:
    request = CallServer("git", "prompts/get", soon(), PARAMS, ANN, IDE, progress=True)
    wanted = Call("git", "prompts/get", request.deadline, PARAMS, "", ANN, IDE, progress=True)
    assert router.route(request) == ("nexus.v1.call.git", wanted)


def test_a_notification_is_a_call_that_asks_for_no_answer_of_the_server(router: Router) -> None:
    request = NotifyServer("git", "notifications/roots/list_changed", soon(), PARAMS, ANN)
    subject, call = router.route(request)
    assert isinstance(call, Call)
    assert (subject, call.method, call.params, call.notify) == (
        "nexus.v1.call.git", request.method, PARAMS, True,
    )  # fmt: skip


def test_a_search_goes_to_the_indexer_unchanged(router: Router) -> None:
    request = SearchTools(soon(), "commits", ("log",), 5, ANN)
    assert router.route(request) == ("nexus.v1.search", request)


@pytest.mark.parametrize("server", ["nobody", "", "git.log", "*", ">", "git__log", "x" * 1000, "nexus.v1"])
def test_a_server_that_is_not_configured_is_unknown_and_becomes_no_subject(
    router: Router, server: str
) -> None:
    for request in (CallServer(server, "ping", soon()), NotifyServer(server, "x", soon())):
        with pytest.raises(ServerUnknown, match="no such server") as caught:
            router.route(request)
        assert caught.value.executed == "no"


@pytest.mark.parametrize(
    ("state", "facts", "reason"),
    [
        ("failed", {"error": "it exited with 3"}, r"configured, failed \d s ago: it exited with 3"),
        ("starting", {}, "it is starting"),
        ("standby", {}, "configured, standby"),
    ],
)
def test_a_server_nobody_holds_is_refused_with_the_reason(
    router: Router, fleet: Fleet, state: State, facts: dict[str, object], reason: str
) -> None:
    hold(fleet, "git", state, **facts)
    for request in (ExecuteTool("git__log", soon()), CallServer("git", "ping", soon())):
        with pytest.raises(ServerUnavailable, match=reason) as caught:
            router.route(request)
        assert (caught.value.executed, caught.value.data) == ("no", {"server": "git"})


def test_without_connectors_that_is_the_reason(router: Router, fleet: Fleet) -> None:
    fleet.update("w1", None)
    with pytest.raises(ServerUnavailable, match="no connector is running"):
        router.route(ExecuteTool("git__log", soon()))


def test_a_draining_worker_gets_nothing_more(router: Router, fleet: Fleet) -> None:
    fleet.update("w1", Worker("w1", {"git": Held("ready", 1.0)}, draining=True))
    with pytest.raises(ServerUnavailable):
        router.route(ExecuteTool("git__log", soon()))


def test_what_is_past_its_deadline_goes_nowhere(router: Router) -> None:
    over = time.time() - 0.01
    for request in (
        ExecuteTool("git__log", over),
        ExecuteTool("nobody__log", over),
        CallServer("git", "ping", over),
        NotifyServer("git", "x", over),
        SearchTools(over),
    ):
        with pytest.raises(Refused, match="deadline was over") as caught:
            router.route(request)
        assert caught.value.executed == "no"


def test_what_goes_on_with_a_call_goes_to_the_worker_that_holds_it(router: Router, names: Names) -> None:
    subject, call = router.route(ExecuteTool("git__log", soon(), worker="w9"))
    assert isinstance(call, Call)
    assert (subject, call.tool) == ("nexus.v1.worker.w9", "log")
    names.update("time", listing("time", "now"))
    for server in ("git", "time"):
        subject, _ = router.route(CallServer(server, "tools/call", soon(), worker="w9"))
        assert subject == "nexus.v1.worker.w9"


def test_news_of_a_held_call_goes_to_the_worker_that_holds_it(router: Router) -> None:
    wish = HoldCall("w9", soon(), Raw(b'"held-1"'), end=True)
    assert router.route(wish) == ("nexus.v1.worker.w9", wish)


def test_a_worker_is_no_way_around_the_decision_who_may_call(router: Router) -> None:
    with pytest.raises(ServerUnknown):
        router.route(CallServer("nobody", "tools/call", soon(), worker="w9"))


RULED = Policy(
    {
        "git": Rules(
            Rule(frozenset({"dev"})),
            {"log": Rule(frozenset({"ops"})), "show": Rule(scopes=("read",), lists=False)},
        )
    }
)


@pytest.fixture
def ruled(fleet: Fleet, names: Names) -> Router:
    names.update("git", listing("git", "log", "show", "push"))
    hold(fleet, "git")
    return Router(Bus("nats://127.0.0.1:1", "router"), fleet, names, RULED, SHARINGS)


def test_a_denied_tool_is_resolved_like_one_that_is_not_there(ruled: Router) -> None:
    dev, deadline = Principal("ann", groups=("dev",)), time.time() + 5
    denied, unknown = (
        ruled.route(ExecuteTool(f"git__{tool}", deadline, principal=dev)) for tool in ("log", "x")
    )
    assert denied[0] == unknown[0]
    assert [type(each[1]) for each in (denied, unknown)] == [ResolveTool, ResolveTool]
    assert isinstance(ruled.route(ExecuteTool("git__push", deadline, principal=dev))[1], Call)


def test_a_missing_scope_is_told_to_whom_the_tool_is_for(ruled: Router) -> None:
    dev, deadline = Principal("ann", groups=("dev",)), time.time() + 5
    with pytest.raises(ScopeRefused) as caught:
        ruled.route(ExecuteTool("git__show", deadline, principal=dev))
    assert caught.value.data == {"scopes": ("read",)}
    reader = Principal("ann", groups=("dev",), scopes=("read",))
    assert isinstance(ruled.route(ExecuteTool("git__show", deadline, principal=reader))[1], Call)
    stranger = ruled.route(ExecuteTool("git__show", deadline, principal=Principal("eve")))
    assert isinstance(stranger[1], ResolveTool)


def test_rules_hold_for_the_transparent_way_too(ruled: Router) -> None:
    dev, deadline = Principal("ann", groups=("dev",)), time.time() + 5
    with pytest.raises(ServerUnknown):
        ruled.route(CallServer("git", "tools/list", deadline, principal=Principal("eve")))
    with pytest.raises(ServerUnknown):
        ruled.route(CallServer("git", "tools/call", deadline, principal=dev, tool="log"))
    assert isinstance(
        ruled.route(CallServer("git", "tools/call", deadline, principal=dev, tool="push"))[1], Call
    )


def test_a_caller_with_a_session_of_its_own_goes_to_the_worker_that_keeps_it(
    router: Router, fleet: Fleet, names: Names
) -> None:
    names.update("time", listing("time", "now"))
    for worker in ("w1", "w2", "w3"):
        fleet.update(worker, Worker(worker, {"time": Held("ready", time.time())}))

    def placed(session: str) -> str:
        client = Client("2025-11-25", session=session)
        by_name, _ = router.route(ExecuteTool("time__now", soon(), client=client))
        by_server, _ = router.route(CallServer("time", "tools/call", soon(), client=client))
        assert by_name == by_server
        return by_name

    before = {str(number): placed(str(number)) for number in range(100)}
    assert set(before.values()) == {f"nexus.v1.worker.w{number}" for number in (1, 2, 3)}
    fleet.update("w2", None)
    for session, kept in before.items():
        assert placed(session) == kept or kept == "nexus.v1.worker.w2"


def test_without_a_connector_a_caller_with_a_session_of_its_own_hears_why(router: Router) -> None:
    with pytest.raises(ServerUnavailable, match='no connector holds server "time"'):
        router.route(CallServer("time", "tools/call", soon()))
