"""What is sent again and what is not, over a real bus with a router that answers as it is told."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

import anyio
import pytest
from msgspec import Raw
from nats.aio.msg import Msg

from libs.common import rpc, subjects
from libs.common.bus import Bus
from libs.common.codec import decode
from libs.common.errors import (
    BusUnavailable,
    CallFailed,
    DownstreamLost,
    Draining,
    InternalFault,
    NexusError,
    NotSent,
    Overloaded,
    Refused,
    ServerUnavailable,
    ServerUnknown,
    WorkerLost,
)
from libs.common.fleet import Fleet
from libs.common.messages.calls import (
    CallServer,
    ClientReply,
    ExecuteTool,
    HoldCall,
    NotifyServer,
    Request,
    SearchTools,
)
from libs.common.messages.catalog import Held, State, Worker
from services.edge import dispatch as module
from services.edge.dispatch import Dispatch
from tests.broker import Broker

pytestmark = pytest.mark.anyio

DONE = Raw(b'{"done":true}')
DOWN = ServerUnavailable("nobody holds it")


class Router:
    """Answers one request after the other from a list; the last answer is for all that follow."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.answers: list[Raw | NexusError] = []
        self.asked = 0
        self.repeated: list[bool] = []
        self.on_asked: Callable[[int], None] = lambda asked: None

    async def on_request(self, msg: Msg) -> None:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        self.repeated.append(bool(decode(msg.data).get("again")))
        self.on_asked(self.asked)
        await rpc.respond(self._bus, msg.reply, answer)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(["git"])


@pytest.fixture
async def router(other: Bus) -> Router:
    router = Router(other)
    await other.subscribe(subjects.REQUEST, router.on_request, queue="router")
    await other.settled()
    return router


@pytest.fixture
async def dispatch(bus: Bus, fleet: Fleet) -> AsyncIterator[Dispatch]:
    async with rpc.Client(bus) as client:
        yield Dispatch(bus, client, fleet)


def hold(fleet: Fleet, state: State, **facts: float) -> None:
    fleet.update("w1", Worker("w1", {"git": Held(state, time.time(), **facts)}))  # type: ignore[arg-type]


def execute(seconds: float = 10) -> ExecuteTool:
    return ExecuteTool("git__log", time.time() + seconds)


async def send(dispatch: Dispatch, message: Request) -> bytes:
    with anyio.fail_after(15):
        return bytes(await dispatch.request(message))


async def test_what_no_router_has_had_is_no_repetition(dispatch: Dispatch, fleet: Fleet, other: Bus) -> None:
    router = Router(other)
    router.answers = [DOWN, DONE]
    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, dispatch, execute())
            while not fleet._listeners:
                await anyio.sleep(0.01)
            await other.subscribe(subjects.REQUEST, router.on_request, queue="router")
    assert router.repeated == [False, True]


async def test_an_answer_is_passed_on_and_asked_for_once(dispatch: Dispatch, router: Router) -> None:
    router.answers = [DONE]
    assert await send(dispatch, execute()) == bytes(DONE)
    assert router.asked == 1


async def test_what_is_sent_again_says_so(dispatch: Dispatch, router: Router) -> None:
    router.answers = [DOWN, DOWN, Draining("going away"), DONE]
    assert await send(dispatch, execute()) == bytes(DONE)
    assert router.repeated == [False, True, True, True]


@pytest.mark.parametrize("error", [Draining("going away"), NotSent("the pipe is broken")])
async def test_a_proven_no_is_sent_once_more(dispatch: Dispatch, router: Router, error: NexusError) -> None:
    router.answers = [error, DONE]
    assert await send(dispatch, execute()) == bytes(DONE)
    assert router.asked == 2
    router.answers, router.asked = [error], 0
    with pytest.raises(CallFailed, match=error.message):
        await send(dispatch, execute())
    assert router.asked == 2


@pytest.mark.parametrize(
    "error",
    [
        WorkerLost("gone"),
        DownstreamLost("gone"),
        InternalFault("a bug"),
        Overloaded("full"),
        Refused("over"),
        ServerUnknown("no such server"),
        BusUnavailable("away"),
    ],
)
async def test_nothing_else_is_ever_sent_again(
    dispatch: Dispatch, router: Router, fleet: Fleet, error: NexusError
) -> None:
    hold(fleet, "ready")
    router.answers = [error, DONE]
    with pytest.raises(CallFailed, match=error.message):
        await send(dispatch, execute())
    assert router.asked == 1


async def test_an_unknown_outcome_of_the_second_attempt_is_final(
    dispatch: Dispatch, router: Router, fleet: Fleet
) -> None:
    hold(fleet, "starting")
    for first in (DOWN, Draining("going away")):
        router.answers, router.asked = [first, WorkerLost("gone"), DONE], 0
        with pytest.raises(CallFailed, match="gone"):
            await send(dispatch, execute())
        assert router.asked == 2


@pytest.mark.parametrize("state", ["starting", "standby", "ready"])
async def test_a_call_waits_for_a_server_that_is_coming_back(
    dispatch: Dispatch, router: Router, fleet: Fleet, state: State
) -> None:
    hold(fleet, state)
    router.answers = [DOWN, DOWN, DOWN, DONE]
    router.on_asked = lambda asked: hold(fleet, state)
    assert await send(dispatch, execute()) == bytes(DONE)
    assert router.asked == 4


async def test_news_of_the_fleet_ends_the_wait_at_once(
    dispatch: Dispatch, router: Router, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 5.0)
    hold(fleet, "starting")
    router.answers = [DOWN, DONE]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, dispatch, execute())
        with anyio.fail_after(4):
            while not fleet._listeners:
                await anyio.sleep(0.01)
            hold(fleet, "ready")
            while router.asked < 2:
                await anyio.sleep(0.01)
    assert fleet._listeners == []


@pytest.mark.parametrize("kind", ["tool", "call", "notification"])
async def test_a_server_that_failed_for_long_is_given_up_at_once(
    dispatch: Dispatch, router: Router, fleet: Fleet, kind: str
) -> None:
    soon = time.time() + 10
    messages: dict[str, Request] = {
        "tool": execute(),
        "call": CallServer("git", "ping", soon),
        "notification": NotifyServer("git", "x", soon),
    }
    hold(fleet, "failed", back_at=time.time() + 60)
    router.answers = [DOWN, DONE]
    with pytest.raises(CallFailed, match="nobody holds it"):
        await send(dispatch, messages[kind])
    assert router.asked == 1


async def test_a_server_that_crashed_and_is_back_soon_is_waited_for(
    dispatch: Dispatch, router: Router, fleet: Fleet
) -> None:
    hold(fleet, "failed", back_at=time.time() + 1)
    router.answers = [DOWN, DONE]
    assert await send(dispatch, execute()) == bytes(DONE)


async def test_a_server_nobody_has_held_for_long_is_given_up_at_once(bus: Bus, router: Router) -> None:
    fleet = Fleet(["git"], clock=lambda: time.time() - 60)
    router.answers = [DOWN, DONE]
    async with rpc.Client(bus) as client:
        for name in ("git__log", "nobody__log"):
            router.asked = 0
            with pytest.raises(CallFailed):
                await send(Dispatch(bus, client, fleet), ExecuteTool(name, time.time() + 10))
            assert router.asked == 1


async def test_the_wait_ends_before_the_deadline(dispatch: Dispatch, router: Router, fleet: Fleet) -> None:
    hold(fleet, "starting")
    router.answers = [DOWN]
    started = time.monotonic()
    with pytest.raises(CallFailed, match="nobody holds it"):
        await send(dispatch, execute(seconds=1))
    assert time.monotonic() - started < 1.5
    assert router.asked > 1


async def test_the_wait_is_bounded_whatever_the_deadline(
    dispatch: Dispatch, router: Router, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMEBACK", 0.6)
    hold(fleet, "starting")
    router.answers = [DOWN]
    started = time.monotonic()
    with pytest.raises(CallFailed):
        await send(dispatch, execute(seconds=100))
    assert time.monotonic() - started < 2


async def test_a_search_waits_for_a_router(bus: Bus, other: Bus, fleet: Fleet) -> None:
    router = Router(other)
    router.answers = [DONE]
    answers: list[bytes] = []
    async with rpc.Client(bus) as client, anyio.create_task_group() as tasks:
        dispatch = Dispatch(bus, client, fleet)

        async def search() -> None:
            answers.append(await send(dispatch, SearchTools(time.time() + 10, "x")))

        tasks.start_soon(search)
        with anyio.fail_after(5):
            while not fleet._listeners:
                await anyio.sleep(0.01)
        await other.subscribe(subjects.REQUEST, router.on_request, queue="router")
    assert answers == [bytes(DONE)]


async def test_a_caller_that_leaves_while_waiting_leaves_nothing(
    dispatch: Dispatch, router: Router, fleet: Fleet
) -> None:
    hold(fleet, "starting")
    router.answers = [DOWN]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, dispatch, execute())
        with anyio.fail_after(5):
            while not fleet._listeners:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert fleet._listeners == []


async def test_a_cancel_and_a_reply_reach_the_other_replicas(dispatch: Dispatch, other: Bus) -> None:
    heard: dict[str, bytes] = {}

    async def hear(msg: Msg) -> None:
        heard[msg.subject] = msg.data

    for subject in (subjects.CANCEL, subjects.edge("e2")):
        await other.subscribe(subject, hear)
    await other.settled()
    await dispatch.cancel_elsewhere("s1", Raw(b'"id-1"'), "not needed")
    await dispatch.reply_elsewhere("e2", ClientReply("s1", "t1", Raw(b"{}")))
    with anyio.fail_after(5):
        while len(heard) < 2:
            await anyio.sleep(0.01)
    cancel = decode(heard["nexus.v1.cancel"])
    assert cancel == {"session": "s1", "request": "id-1", "reason": "not needed"}
    assert decode(heard["nexus.v1.edge.e2"])["token"] == "t1"


async def test_without_a_bus_calls_are_refused_and_cancels_are_dropped(
    dispatch: Dispatch, bus: Bus, broker: Broker
) -> None:
    broker.stop(kill=True)
    with anyio.fail_after(5):
        while bus.connected:
            await anyio.sleep(0.01)
    with pytest.raises(BusUnavailable) as caught:
        await send(dispatch, execute())
    assert caught.value.executed == "no"
    await dispatch.cancel_elsewhere("s1", Raw(b"1"), "")
    await dispatch.reply_elsewhere("e2", ClientReply("s1", "t1"))


@pytest.mark.parametrize("error", [DOWN, Draining("going away")])
async def test_what_one_worker_holds_is_sent_to_nobody_else(
    dispatch: Dispatch, router: Router, fleet: Fleet, error: NexusError
) -> None:
    hold(fleet, "ready")
    router.answers = [error, DONE]
    soon = time.time() + 5
    for message in (CallServer("git", "tools/call", soon, worker="w1"), HoldCall("w1", soon, Raw(b'"s"'))):
        router.asked = 0
        with pytest.raises(WorkerLost, match="the worker that held this call is gone") as caught:
            await send(dispatch, message)
        assert caught.value.executed == "unknown"
        assert router.asked == 1


async def test_without_a_router_nothing_is_known_of_the_worker_that_holds_a_call(
    bus: Bus, other: Bus, fleet: Fleet
) -> None:
    router = Router(other)
    router.answers = [DONE]
    answers: list[bytes] = []
    held = HoldCall("w1", time.time() + 10, Raw(b'"held-1"'))
    async with rpc.Client(bus) as client, anyio.create_task_group() as tasks:
        dispatch = Dispatch(bus, client, fleet)

        async def send_held() -> None:
            answers.append(await send(dispatch, held))

        tasks.start_soon(send_held)
        with anyio.fail_after(5):
            while not fleet._listeners:
                await anyio.sleep(0.01)
        await other.subscribe(subjects.REQUEST, router.on_request, queue="router")
    assert answers == [bytes(DONE)]
