"""The tasks extension on the path of one server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from httpx import Response
from msgspec import Raw
from msgspec.structs import replace

from libs.common.codec import decode, raw
from libs.common.errors import InvalidParams, ResultInvalid
from libs.common.identity import Principal
from libs.common.messages.calls import CallServer, ExecuteTool
from libs.common.seal import Keyring
from services.edge.tasks import EXTENSION, ID_MAX, Tickets, renamed
from tests.services.edge.conftest import KEY, LEGACY, Edge, modern_body, modern_headers, running
from tests.services.edge.stub import DEMO

pytestmark = pytest.mark.anyio

PATH = "/mcp/demo"
DECLARED: dict[str, Any] = {
    "io.modelcontextprotocol/clientCapabilities": {"extensions": {EXTENSION: {}, "com.example/other": {}}}
}
ALICE, BOB = Principal("alice"), Principal("bob")


@pytest.fixture
async def tasks() -> AsyncIterator[Edge]:
    """An edge before a server that knows tasks, and an extension that nobody carries."""
    capabilities = raw({"tools": {}, "extensions": {EXTENSION: {"x": 1}, "com.example/other": {}}})
    async with running() as edge:
        edge.catalog.listings["demo"] = replace(DEMO, version="2026-07-28", capabilities=capabilities)
        yield edge


async def start(edge: Edge) -> Any:
    return (await edge.modern("tools/call", PATH, DECLARED, name="job")).json()["result"]


async def ask(
    edge: Edge, method: str, ticket: str, name: str | None = None, meta: Any = DECLARED, **headers: str
) -> Response:
    sent = modern_headers(method, ticket if name is None else name, **headers)
    return await edge.http.post(PATH, json=modern_body(method, meta=meta, taskId=ticket), headers=sent)


def last(edge: Edge) -> CallServer:
    call = edge.gateway.seen[-1]
    assert isinstance(call, CallServer)
    return call


async def test_only_modern_clients_see_the_extension(tasks: Edge) -> None:
    modern = (await tasks.modern("server/discover", PATH)).json()["result"]
    assert modern["capabilities"]["extensions"] == {EXTENSION: {"x": 1}}
    legacy = (await tasks.initialize(PATH)).json()["result"]
    assert "extensions" not in legacy["capabilities"]


async def test_a_task_has_an_id_that_its_server_does_not_know(tasks: Edge) -> None:
    task = await start(tasks)
    assert (task["resultType"], task["status"]) == ("task", "working")
    assert "t-1" not in task["taskId"]


async def test_the_server_is_asked_for_its_own_id(tasks: Edge) -> None:
    ticket = (await start(tasks))["taskId"]
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        assert (await ask(tasks, method, ticket)).status_code == 200
        assert decode(last(tasks).params)["taskId"] == "t-1"


async def test_somebody_else_is_told_that_there_is_no_such_task(tasks: Edge) -> None:
    ticket = (await start(tasks))["taskId"]
    calls = len(tasks.gateway.seen)
    for known, user in ((ticket, "mallory"), ("t-1", "anonymous"), (ticket[:-2], "anonymous")):
        answer = await ask(tasks, "tasks/get", known, **{"x-test-user": user})
        error = answer.json()["error"]
        assert (error["code"], error["message"]) == (-32602, "there is no such task")
    assert len(tasks.gateway.seen) == calls


async def test_a_client_that_does_not_declare_the_extension_gets_no_task(tasks: Edge) -> None:
    answer = await ask(tasks, "tasks/get", "whatever", meta={})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32021
    assert answer.json()["error"]["data"] == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}


@pytest.mark.parametrize("name", ["", "another"])
async def test_the_header_must_name_the_task(tasks: Edge, name: str) -> None:
    answer = await ask(tasks, "tasks/get", "one", name)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_a_server_hears_only_of_extensions_that_are_carried(tasks: Edge) -> None:
    await start(tasks)
    assert decode(last(tasks).client.capabilities) == {"extensions": {EXTENSION: {}}}
    await tasks.modern("tools/call", meta=DECLARED, name="execute", arguments={"name": "demo__echo"})
    execute = tasks.gateway.seen[-1]
    assert isinstance(execute, ExecuteTool)
    assert decode(execute.client.capabilities) == {"extensions": {}}


async def test_what_a_legacy_client_says_of_extensions_is_not_passed_on(tasks: Edge) -> None:
    begun = await tasks.initialize(PATH, capabilities={"extensions": {EXTENSION: {}}, "roots": {}})
    headers = {**LEGACY, "mcp-session-id": begun.headers["mcp-session-id"]}
    await tasks.legacy(headers, "tools/call", PATH, name="echo")
    assert decode(last(tasks).client.capabilities) == {"roots": {}}


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_a_client_with_a_session_cannot_name_a_task_by_the_id_of_the_server(
    tasks: Edge, method: str
) -> None:
    answer = await tasks.legacy(await tasks.session(PATH), method, PATH, taskId="t-1")
    assert answer.json()["error"]["code"] == -32601
    assert tasks.gateway.seen == []


async def test_a_server_without_tasks_is_not_asked_for_any(edge: Edge) -> None:
    answer = await ask(edge, "tasks/get", "one")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, -32601)
    assert edge.gateway.seen == []


@asynccontextmanager
async def listening(
    edge: Edge, tickets: Any, meta: Any = DECLARED, **headers: str
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The events of one stream of `subscriptions/listen`."""
    wanted = {"taskIds": tickets, "toolsListChanged": True}
    body = modern_body("subscriptions/listen", "l-1", meta=meta, notifications=wanted)
    sent = modern_headers("subscriptions/listen", **headers)
    with anyio.fail_after(10):
        async with edge.http.stream("POST", PATH, json=body, headers=sent) as answer:
            assert answer.status_code == 200
            yield events(answer)


async def events(answer: Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def test_a_client_hears_of_its_tasks_under_the_ids_it_knows(tasks: Edge) -> None:
    ticket = (await start(tasks))["taskId"]
    async with listening(tasks, [ticket, "t-1", ticket[:-2]]) as heard:
        acknowledged = await anext(heard)
        assert tasks.gateway.filters == [{"taskIds": ["t-1"], "toolsListChanged": True}]
        assert acknowledged["params"]["notifications"] == {"taskIds": [ticket], "toolsListChanged": True}
        assert (await anext(heard))["method"] == "notifications/tools/list_changed"
        (listen,) = tasks.gateway.listens
        for task in ("t-2", "t-1"):
            listen.tell("notifications/tasks", taskId=task, status="completed", result={"content": []})
        news = await anext(heard)
    assert news["method"] == "notifications/tasks"
    assert news["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "l-1"
    assert {**news["params"], "_meta": None} == {
        "taskId": ticket,
        "status": "completed",
        "result": {"content": []},
        "_meta": None,
    }


async def test_nobody_listens_to_the_task_of_another(tasks: Edge) -> None:
    ticket = (await start(tasks))["taskId"]
    async with listening(tasks, [ticket], **{"x-test-user": "mallory"}) as heard:
        assert (await anext(heard))["params"]["notifications"]["taskIds"] == []
        assert tasks.gateway.filters == [{"taskIds": [], "toolsListChanged": True}]
        (listen,) = tasks.gateway.listens
        listen.tell("notifications/tasks", taskId="t-1", status="completed")
        listen.tell("notifications/tasks", taskId=["t-1"], status="completed")
        listen.tell("notifications/prompts/list_changed")
        assert (await anext(heard))["method"] == "notifications/tools/list_changed"
        assert (await anext(heard))["method"] == "notifications/prompts/list_changed"


@pytest.mark.parametrize("named", ["t-1", {"t-1": 1}, None, ["x"] * 101])
async def test_an_odd_list_of_tasks_is_refused(tasks: Edge, named: Any) -> None:
    wanted = {"taskIds": named}
    answer = await tasks.modern("subscriptions/listen", PATH, DECLARED, notifications=wanted)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


async def test_a_client_that_does_not_declare_the_extension_hears_of_no_task(tasks: Edge) -> None:
    answer = await tasks.modern("subscriptions/listen", PATH, notifications={"taskIds": []})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32021)


async def test_a_server_without_tasks_is_not_asked_to_tell_of_any(edge: Edge) -> None:
    edge.gateway.release.set()
    wanted = {"taskIds": ["t-1"], "toolsListChanged": True}
    await edge.modern("subscriptions/listen", PATH, notifications=wanted)
    assert edge.gateway.filters == [{"toolsListChanged": True}]


def test_a_ticket_is_good_for_one_principal_on_one_path() -> None:
    tickets = Tickets(Keyring([KEY]))
    issued = tickets.issue(raw({"resultType": "task", "taskId": "t-1"}), ALICE, PATH)
    ticket = decode(issued)["taskId"]
    assert tickets.redeem(ticket, ALICE, PATH) == "t-1"
    for principal, route in ((BOB, PATH), (ALICE, "/mcp/other")):
        with pytest.raises(InvalidParams):
            tickets.redeem(ticket, principal, route)


@pytest.mark.parametrize("task", [None, 1, "x" * (ID_MAX + 1)])
def test_a_task_without_a_usable_id_is_an_error(task: object) -> None:
    with pytest.raises(ResultInvalid, match="without an id"):
        Tickets(Keyring([KEY])).issue(raw({"resultType": "task", "taskId": task}), ALICE, PATH)


def test_a_result_that_only_speaks_of_tasks_is_left_as_it_is() -> None:
    result = Raw(b'{"content": [{"kind": "task" }], "resultType": "complete"}')
    assert Tickets(Keyring([KEY])).issue(result, ALICE, PATH) is result


def test_the_state_of_a_task_comes_under_the_id_of_the_client() -> None:
    assert decode(renamed(raw({"taskId": "t-1", "status": "working"}), "sealed")) == {
        "taskId": "sealed",
        "status": "working",
    }
    assert decode(renamed(raw({"resultType": "complete"}), "sealed")) == {"resultType": "complete"}
