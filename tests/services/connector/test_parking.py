"""Calls of a real child that asks while it works, held until the client has answered with a new request."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from msgspec import Raw
from msgspec.structs import replace

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import decode, raw
from libs.common.errors import CallFailed, NexusError
from libs.common.identity import Principal
from libs.common.messages.calls import Call, Client, HoldCall
from services.connector import parking
from tests.broker import Broker
from tests.services.connector.parts import child
from tests.services.connector.world import Connector, connecting, use, watching

pytestmark = pytest.mark.anyio

ELICIT, SAMPLE, ROOTS = "elicitation/create", "sampling/createMessage", "roots/list"
ASKABLE = Client("2026-07-28", Raw(b'{"elicitation":{},"roots":{}}'))
OVER = "the call this answers is over or unknown"
ANN = Principal("ann")
ACCEPT = {"action": "accept", "content": {"name": "Ann"}}


@pytest.fixture
async def connector(broker: Broker) -> AsyncIterator[Connector]:
    async with connecting(broker) as connector, watching(broker) as watcher:
        connector.keep(child())
        await watcher.until(watcher.is_ready)
        yield connector


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[rpc.Client]:
    async with rpc.Client(bus) as client:
        yield client


def asking(*methods: str, seconds: float = 10, client: Client = ASKABLE, **more: Any) -> Call:
    params = raw({"name": "ask", "arguments": {"methods": methods, **more}})
    return Call("child", "tools/call", time.time() + seconds, params, principal=ANN, client=client)


def answering(call: Call, asked: Any, **answers: Any) -> Call:
    more = {"inputResponses": answers, "requestState": asked["requestState"]}
    return replace(call, deadline=time.time() + 10, params=raw({**decode(call.params), **more}))


async def send(client: rpc.Client, call: Call, subject: str = "") -> Any:
    with anyio.fail_after(15):
        subject = subject or subjects.call("child")
        return decode(await client.request(subject, call, deadline=call.deadline))


async def resume(client: rpc.Client, call: Call) -> Any:
    return await send(client, call, subjects.worker("w1"))


async def held(client: rpc.Client, asked: Any, *, principal: Principal = ANN, end: bool = False) -> Any:
    """What an edge is told of a held call."""
    wish = HoldCall("w1", time.time() + 5, raw(asked["requestState"]), principal, end)
    return decode(await client.request(subjects.worker("w1"), wish, deadline=wish.deadline))


async def refusal(client: rpc.Client, call: Call) -> str:
    with pytest.raises(CallFailed) as caught:
        await resume(client, call)
    assert caught.value.failure().code == -32602
    return caught.value.message


def told(result: Any) -> Any:
    """What the child was answered, in order."""
    return json.loads(result["content"][0]["text"])


async def until_stopped(client: rpc.Client, calls: int = 1) -> None:
    with anyio.fail_after(10):
        while await use(client, "cancelled") != str(calls):
            await anyio.sleep(0.05)


async def test_a_question_ends_the_request_and_its_answer_goes_on_with_the_call(
    connector: Connector, client: rpc.Client
) -> None:
    call = asking(ELICIT)
    asked = await send(client, call)
    assert asked["resultType"] == "input_required"
    assert asked["inputRequests"] == {"q1": {"method": ELICIT, "params": {"message": "Who?"}}}
    assert asked["_meta"] == {"nexus/worker": "w1"}
    assert connector.pool.pick("child").running == 1
    (reply,) = told(await resume(client, answering(call, asked, q1=ACCEPT)))
    assert reply["result"] == ACCEPT
    assert connector.pool.pick("child").running == 0


async def test_a_server_may_ask_again_and_an_old_state_is_worth_nothing_then(
    connector: Connector, client: rpc.Client
) -> None:
    call = asking(ELICIT, ROOTS)
    first = await send(client, call)
    second = await resume(client, answering(call, first, q1=ACCEPT))
    assert second["inputRequests"]["q2"]["method"] == ROOTS
    assert await refusal(client, answering(call, first, q1=ACCEPT)) == OVER
    replies = told(await resume(client, answering(call, second, q2={"roots": []})))
    assert [reply["result"] for reply in replies] == [ACCEPT, {"roots": []}]
    assert await refusal(client, answering(call, second, q2={"roots": []})) == OVER


async def test_what_the_client_did_not_declare_is_refused_at_once(
    connector: Connector, client: rpc.Client
) -> None:
    for call in (asking(SAMPLE), asking(ELICIT, client=Client()), asking("no/such")):
        (reply,) = told(await send(client, call))
        assert reply["error"]["code"] == -32601


@pytest.mark.parametrize("answers", [{}, {"q1": None}, {"q1": "yes"}, {"other": ACCEPT}])
async def test_a_question_without_an_answer_is_refused(
    connector: Connector, client: rpc.Client, answers: Any
) -> None:
    call = asking(ELICIT)
    (reply,) = told(await resume(client, answering(call, await send(client, call), **answers)))
    assert reply["error"]["message"] == "the client did not answer"


async def test_on_a_pipe_with_two_calls_under_way_nobody_is_asked(
    connector: Connector, client: rpc.Client
) -> None:
    other = Call("child", "tools/call", time.time() + 10, raw({"name": "slow"}))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, client, other)
        with anyio.fail_after(5):
            while connector.pool.pick("child").running == 0:
                await anyio.sleep(0.01)
        (reply,) = told(await send(client, asking(ELICIT)))
        assert reply["error"]["code"] == -32601
        tasks.cancel_scope.cancel()
    await until_stopped(client)
    (reply,) = told(await send(client, asking(ELICIT)))
    assert reply["error"]["code"] == -32601, "the child may still ask for the call that was cancelled"


async def test_only_who_began_a_call_goes_on_with_it(connector: Connector, client: rpc.Client) -> None:
    call = asking(ELICIT)
    asked = await send(client, call)
    right = answering(call, asked, q1=ACCEPT)
    renamed = raw({**decode(right.params), "name": "echo"})
    for wrong in (
        replace(right, principal=Principal("mallory")),
        replace(right, server="other"),
        replace(right, method="prompts/get"),
        replace(right, params=renamed),
        answering(call, {"requestState": "nexus-parked.forged"}, q1=ACCEPT),
    ):
        assert await refusal(client, wrong) == OVER
    assert told(await resume(client, right))[0]["result"] == ACCEPT


async def test_answers_that_are_no_object_leave_the_call_as_it_was(
    connector: Connector, client: rpc.Client
) -> None:
    call = asking(ELICIT)
    right = answering(call, await send(client, call), q1=ACCEPT)
    wrong = replace(right, params=raw({**decode(right.params), "inputResponses": 7}))
    assert await refusal(client, wrong) == "inputResponses must be an object"
    assert told(await resume(client, right))[0]["result"] == ACCEPT


async def test_a_call_that_nobody_answers_is_cancelled_downstream(
    connector: Connector, client: rpc.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "PATIENCE", 0.05)
    call = asking(ELICIT)
    asked = await send(client, call)
    await until_stopped(client)
    assert await refusal(client, answering(call, asked, q1=ACCEPT)) == OVER


async def test_the_time_of_a_request_counts_while_nobody_is_asked(
    connector: Connector, client: rpc.Client
) -> None:
    call = replace(asking(seconds=0.5), params=raw({"name": "slow"}))
    with pytest.raises(NexusError) as caught:
        await send(client, call)
    assert caught.value.executed == "unknown"
    await until_stopped(client)


async def test_a_cancel_ends_a_call_that_has_gone_on(connector: Connector, client: rpc.Client) -> None:
    call = replace(asking(), params=raw({"name": "slow"}))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, client, call)
        with anyio.fail_after(5):
            while connector.pool.pick("child").running == 0:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    await until_stopped(client)


@pytest.mark.parametrize("bound", ["PARKED_MAX", "PARKED_BYTES", "QUESTIONS_BYTES"])
async def test_beyond_the_bound_nobody_is_asked(
    connector: Connector, client: rpc.Client, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(parking, bound, 0)
    (reply,) = told(await send(client, asking(ELICIT)))
    assert reply["error"]["message"] == "too many questions wait for an answer"


async def test_a_question_is_refused_that_is_too_much_beside_an_open_one(
    connector: Connector, client: rpc.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "QUESTIONS_BYTES", 120)
    call = asking(ELICIT, ROOTS, together=True)
    asked = await send(client, call)
    assert [each["method"] for each in asked["inputRequests"].values()] == [ELICIT]
    refused, taken = told(await resume(client, answering(call, asked, q1=ACCEPT)))
    assert (taken["result"], refused["error"]["code"]) == (ACCEPT, -32603)


async def test_questions_that_come_together_are_asked_together(
    connector: Connector, client: rpc.Client
) -> None:
    call = asking(ELICIT, ROOTS, together=True)
    asked = await send(client, call)
    assert [each["method"] for each in asked["inputRequests"].values()] == [ELICIT, ROOTS]
    replies = told(await resume(client, answering(call, asked, q1=ACCEPT, q2={"roots": []})))
    assert [reply["result"] for reply in replies] == [ACCEPT, {"roots": []}]


async def test_a_server_hears_the_error_that_the_client_answered_with(
    connector: Connector, client: rpc.Client
) -> None:
    call, error = asking(ELICIT), {"code": -32042, "message": "not now", "data": [1.5]}
    refused = answering(call, await send(client, call), q1={"nexus/refused": error})
    (reply,) = told(await resume(client, refused))
    assert reply["error"] == error


@pytest.mark.parametrize(
    ("question", "params", "required"),
    [
        (SAMPLE, {}, {"sampling": {}}),
        (ELICIT, {"mode": "url"}, {"elicitation": {"url": {}}}),
    ],
)
@pytest.mark.parametrize("capabilities", [b'{"elicitation":{},"roots":{}}', b"{}"])
async def test_a_modern_client_is_told_which_capability_a_failed_call_wanted(
    connector: Connector,
    client: rpc.Client,
    question: str,
    params: Any,
    required: Any,
    capabilities: bytes,
) -> None:
    declared = Client("2026-07-28", Raw(capabilities))
    with pytest.raises(CallFailed) as caught:
        await send(client, asking(question, client=declared, params=params, must=True))
    failure = caught.value.failure()
    assert (failure.code, failure.http) == (-32021, 400)
    assert decode(failure.data) == {"requiredCapabilities": required, "executed": "yes"}
    assert told(await send(client, asking(question, client=declared, params=params)))


async def test_a_client_with_a_session_sees_what_the_server_made_of_the_refusal(
    connector: Connector, client: rpc.Client
) -> None:
    result = await send(client, asking(SAMPLE, client=Client("2025-11-25"), must=True))
    assert result["isError"] is True


async def test_an_address_is_asked_for_only_where_the_client_can_open_it(
    connector: Connector, client: rpc.Client
) -> None:
    call = asking(ELICIT, params={"mode": "url", "url": "https://x.example"})
    (reply,) = told(await send(client, call))
    assert reply["error"]["code"] == -32602
    able = Client("2026-07-28", Raw(b'{"elicitation":{"url":{}}}'))
    asked = await send(client, replace(call, client=able))
    assert asked["inputRequests"]["q1"]["params"]["mode"] == "url"


async def test_a_call_waits_as_long_as_its_edge_says_so(
    connector: Connector, client: rpc.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "VIGIL", 0.5)
    call = asking(ELICIT, client=Client("2025-11-25", ASKABLE.capabilities))
    asked = await send(client, call)
    until = time.monotonic() + 2 * parking.VIGIL
    while time.monotonic() < until:
        assert await held(client, asked) == {"over": False}
    await until_stopped(client)
    assert await refusal(client, answering(call, asked, q1=ACCEPT)) == OVER


async def test_an_edge_ends_a_call_whose_client_is_gone(connector: Connector, client: rpc.Client) -> None:
    call = asking(ELICIT)
    asked = await send(client, call)
    with pytest.raises(CallFailed, match=OVER):
        await held(client, asked, principal=Principal("mallory"), end=True)
    await held(client, asked, end=True)
    await until_stopped(client)
    with pytest.raises(CallFailed, match=OVER) as caught:
        await held(client, asked)
    assert caught.value.executed == "unknown"


async def test_an_edge_learns_that_a_held_call_is_over(connector: Connector, client: rpc.Client) -> None:
    asked = await send(client, asking(ELICIT))
    with pytest.raises(CallFailed):
        await use(client, "crash")
    assert await held(client, asked) == {"over": True}


async def test_a_drain_gives_parked_calls_up(connector: Connector, client: rpc.Client) -> None:
    call = asking(ELICIT)
    asked = await send(client, call)
    await connector.answering.close()
    await until_stopped(client)
    assert await refusal(client, answering(call, asked, q1=ACCEPT)) == OVER


async def test_a_server_that_dies_while_it_waits_is_a_lost_call(
    broker: Broker, connector: Connector, client: rpc.Client
) -> None:
    call = asking(ELICIT)
    asked = await send(client, call)
    with pytest.raises(CallFailed):
        await use(client, "crash")
    with pytest.raises(CallFailed) as caught:
        await resume(client, answering(call, asked, q1=ACCEPT))
    assert caught.value.executed == "unknown"
