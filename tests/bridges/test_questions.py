"""What servers ask while they work reaches the client that called, and no other."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.bridges.clients import CALLERS, Given, Outcome
from tests.bridges.conftest import Bridge
from tests.bridges.matrix import Cell, proves
from tests.conformance.fixture.probes import TOKEN
from tests.system.wire import Message

pytestmark = pytest.mark.anyio

OFFERED: Message = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
REFUSED = -32601


def token_of(question: Message) -> str:
    """Whose question it is: the fixture puts the caller's token into each."""
    params = question["params"]
    match question["method"]:
        case "elicitation/create":
            return str(params["message"])
        case "sampling/createMessage":
            return str(params["messages"][0]["content"]["text"])
        case _:
            return str(params["_meta"][TOKEN])


def answer(question: Message, token: str) -> Message:
    """An answer that only the caller with this token gives."""
    match question["method"]:
        case "elicitation/create":
            page = question["params"]["mode"] == "url"
            return {"action": "accept"} if page else {"action": "accept", "content": {"word": token}}
        case "sampling/createMessage":
            return {"role": "assistant", "content": {"type": "text", "text": token}, "model": "m"}
        case _:
            return {"roots": [{"uri": f"file:///{token}"}]}


def answered(kind: str, result: Any) -> str:
    """The token that the server was answered with; a page has none, it is only opened."""
    match kind:
        case "elicitation":
            return str(result["content"]["word"])
        case "sampling":
            return str(result["content"]["text"])
        case "roots":
            return str(result["roots"][0]["uri"]).removeprefix("file:///")
        case _:
            return str(result["action"])


async def together(bridge: Bridge, cell: Cell, kind: str) -> dict[str, tuple[Outcome, list[str]]]:
    """Twenty clients at once on one server, which asks all of them: outcomes, and tokens asked for."""
    got: dict[str, tuple[Outcome, list[str]]] = {}

    async def call(token: str) -> None:
        client = await bridge.client(cell, **OFFERED)
        asked: list[str] = []

        def reply(question: Message) -> Message:
            asked.append(token_of(question))
            return answer(question, token)

        arguments = {"kind": kind, "token": token, "meeting": f"{kind} {cell}", "size": CALLERS}
        got[token] = await client.call("probe_ask", Given(reply=reply), **arguments), asked

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for number in range(CALLERS):
                group.start_soon(call, f"{kind}-{number}")
    return got


def check_own(kind: str, token: str, outcome: Outcome, asked: list[str]) -> None:
    """Asked its own question once, and the server got its own answer."""
    assert asked == [token]
    assert outcome.said["token"] == token
    expected = "accept" if kind == "url" else token
    assert answered(kind, outcome.said["answer"]) == expected


async def all_get_their_own(bridge: Bridge, cell: Cell, kind: str) -> None:
    for token, (outcome, asked) in (await together(bridge, cell, kind)).items():
        check_own(kind, token, outcome, asked)


async def all_are_refused(bridge: Bridge, cell: Cell, kind: str) -> None:
    """Nothing on a pipe says which call a question is for: with several under way, it is nobody's."""
    for outcome, asked in (await together(bridge, cell, kind)).values():
        assert asked == []
        assert outcome.error["code"] == REFUSED


async def one_alone_gets_its_own(bridge: Bridge, cell: Cell, kind: str = "elicitation") -> None:
    client = await bridge.client(cell, **OFFERED)
    asked: list[str] = []

    def reply(question: Message) -> Message:
        asked.append(token_of(question))
        return answer(question, "alone")

    with anyio.fail_after(20):
        outcome = await client.call("probe_ask", Given(reply=reply), kind=kind, token="alone")
    check_own(kind, "alone", outcome, asked)


CERTAIN = "?M-* ?L-http"
UNCERTAIN = "?L-stdio ?L-sse"


@proves("elicitation form", cells=CERTAIN)
async def test_twenty_people_at_once_are_asked_their_own_question(bridge: Bridge, cell: Cell) -> None:
    await all_get_their_own(bridge, cell, "elicitation")


@proves("elicitation url", cells=CERTAIN)
async def test_twenty_people_at_once_are_sent_to_their_own_page(bridge: Bridge, cell: Cell) -> None:
    await all_get_their_own(bridge, cell, "url")


@proves("sampling", cells=CERTAIN)
async def test_twenty_models_at_once_are_given_their_own_prompt(bridge: Bridge, cell: Cell) -> None:
    await all_get_their_own(bridge, cell, "sampling")


@proves("roots", cells=CERTAIN)
async def test_twenty_clients_at_once_tell_their_own_roots(bridge: Bridge, cell: Cell) -> None:
    await all_get_their_own(bridge, cell, "roots")


@proves("elicitation form", cells=UNCERTAIN)
async def test_a_person_is_asked_only_while_their_call_is_the_only_one(bridge: Bridge, cell: Cell) -> None:
    await all_are_refused(bridge, cell, "elicitation")
    await one_alone_gets_its_own(bridge, cell, "elicitation")


@proves("elicitation url", cells=UNCERTAIN)
async def test_a_page_is_shown_only_while_its_call_is_the_only_one(bridge: Bridge, cell: Cell) -> None:
    await all_are_refused(bridge, cell, "url")
    await one_alone_gets_its_own(bridge, cell, "url")


@proves("sampling", cells=UNCERTAIN)
async def test_a_model_is_asked_only_while_its_call_is_the_only_one(bridge: Bridge, cell: Cell) -> None:
    await all_are_refused(bridge, cell, "sampling")
    await one_alone_gets_its_own(bridge, cell, "sampling")


@proves("roots", cells=UNCERTAIN)
async def test_roots_are_told_only_while_the_call_is_the_only_one(bridge: Bridge, cell: Cell) -> None:
    await all_are_refused(bridge, cell, "roots")
    await one_alone_gets_its_own(bridge, cell, "roots")


def declining(question: Message) -> Message:
    return {"action": "decline"}


def failing(question: Message) -> Message:
    return {"code": -1, "message": "the user has gone home"}


@proves("elicitation form")
async def test_a_person_may_decline(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell, **OFFERED)
    given = Given(reply=declining)
    outcome = await client.call("probe_ask", given, kind="elicitation", token="any")
    assert outcome.said["answer"]["action"] == "decline"


@proves("sampling", cells="L?-*")
async def test_the_refusal_of_a_client_ends_the_call(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell, **OFFERED)
    outcome = await client.call("probe_ask", Given(reply=failing), kind="sampling", token="any")
    assert outcome.error["message"]


@proves("sampling", cells="LL-*")
async def test_a_server_goes_on_after_the_refusal_of_a_client(bridge: Bridge, cell: Cell) -> None:
    """A call that still waited for the answer would leave every later question in doubt."""
    client = await bridge.client(cell, **OFFERED)
    await client.call("probe_ask", Given(reply=failing), kind="sampling", token="any")
    await one_alone_gets_its_own(bridge, cell)


@proves("elicitation url", cells="LM-*")
async def test_a_client_older_than_pages_declines_them_unasked(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell, "2025-06-18", elicitation={})
    outcome = await client.call("probe_ask", kind="url", token="any")
    assert outcome.said["answer"]["action"] == "decline"
    assert outcome.asked == []


@proves("elicitation url", cells="LL-*")
async def test_a_client_older_than_pages_is_not_asked_for_one(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell, "2025-06-18", elicitation={})
    outcome = await client.call("probe_ask", kind="url", token="any")
    assert outcome.error["code"] == -32602
    assert outcome.asked == []


@proves("url error", cells="ML-*")
async def test_an_error_that_wants_a_page_opened_is_a_question_to_a_modern_client(
    bridge: Bridge, cell: Cell
) -> None:
    """The code does not exist in its era; once the page was opened, it asks again and gets what there is."""
    opened: list[str] = []

    def reply(question: Message) -> Message:
        opened.append(question["params"]["url"])
        raise Opened

    client = await bridge.client(cell, **OFFERED)
    with pytest.raises(Opened):
        await client.call("probe_address", Given(reply=reply), token="mine")
    assert opened == ["https://example.com/mine"]


class Opened(Exception):
    """The page was opened; the fixture would ask for it for ever."""


@proves("url error", cells="ML-*")
async def test_a_modern_client_without_pages_gets_a_failed_tool(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell)
    outcome = await client.call("probe_address", token="mine")
    assert outcome.result["isError"]
    assert "a page has to be opened first" in outcome.result["content"][0]["text"]


@proves("url error", cells="LL-*")
async def test_an_error_that_wants_a_page_opened_passes_between_sessions(bridge: Bridge, cell: Cell) -> None:
    client = await bridge.client(cell, **OFFERED)
    outcome = await client.call("probe_address", token="mine")
    assert outcome.error["code"] == -32042
    assert outcome.error["data"]["elicitations"][0]["elicitationId"] == "mine"


@proves("cancellation", cells="LL-*")
async def test_a_call_is_cancelled_at_the_server_while_its_client_is_asked(
    bridge: Bridge, cell: Cell
) -> None:
    client = await bridge.client(cell.beside("left"), **OFFERED)
    asked = anyio.Event()

    async def cancel() -> None:
        await asked.wait()
        await client.notify("notifications/cancelled", {"requestId": 9})

    def never(question: Message) -> None:
        asked.set()

    token = f"cancelled while asked {cell}"
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            given = Given(number=9, reply=never)
            outcome = await client.call("probe_ask", given, kind="elicitation", token=token)
    assert outcome.message is None
    other = await bridge.client(cell.beside("left"))
    assert token in (await other.call("probe_until", state="cancelled", tokens=[token])).said
