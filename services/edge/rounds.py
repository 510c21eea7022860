"""A modern server's `input_required`, worked off with a legacy client (MCP 2026-07-28, multi-round trips)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import Decoder

from libs.common.codec import UNREADABLE, decode, decoder, raw
from libs.common.errors import NULL, InvalidRequest, ResultInvalid
from libs.common.messages.calls import EMPTY, REFUSED, Client
from services.edge.parked import is_held
from services.edge.questions import Reply

ROUNDS_MAX = 10
REQUESTS_MAX = 16
"""Questions of one round."""
PAUSE_FIRST = 0.05
PAUSE_MAX = 1.0
"""Seconds before a server that asked nothing is asked again."""

Ask = Callable[[str, Raw], Awaitable[Reply]]
Answers = dict[str, Raw]
"""What the client said to each question, by name."""
Hold = Callable[[Raw | UnsetType, Coroutine[Any, Any, Answers]], Awaitable[Answers]]
"""Awaits the answers to what was asked with this state, and minds whoever waits for them."""
Again = Callable[[dict[str, Any]], Awaitable[Raw]]
"""Sends the request once more, with these members added to its params."""

_NEEDS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
_WITHOUT_URLS = ("2025-06-18",)
_DECLINED = raw({"action": "decline"})


class _Question(Struct):
    method: str
    params: Raw = EMPTY


class InputRequired(Struct, rename="camel"):
    """A result that asks for more first."""

    result_type: str = ""
    input_requests: dict[str, _Question] = {}
    request_state: Raw | UnsetType = UNSET


_required: Decoder[InputRequired] = decoder(InputRequired)


def required(result: Raw) -> InputRequired | None:
    """What a result asks for, if it asks. Raises `ResultInvalid` for a question nobody can read."""
    if b"input_required" not in bytes(result):
        return None
    try:
        parsed = _required.decode(result)
    except UNREADABLE as error:
        raise ResultInvalid(f"the server asks for input in a way that cannot be read: {error}") from None
    return parsed if parsed.result_type == "input_required" else None


async def complete(result: Raw, client: Client, ask: Ask, again: Again, hold: Hold) -> Raw:
    """The final result, after at most ten rounds of questions.

    Raises `ResultInvalid` if the server asks for what the client does not offer, or does not come to an end;
    `InvalidRequest` if the client refuses. A call that is held gets the refusal itself.
    """
    pause = PAUSE_FIRST
    for _ in range(ROUNDS_MAX):
        wanted = required(result)
        if wanted is None:
            return result
        more: dict[str, Any] = {}
        if wanted.input_requests:
            more["inputResponses"] = await hold(wanted.request_state, _answers(wanted, client, ask))
        else:
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_MAX)
        if wanted.request_state is not UNSET:
            more["requestState"] = wanted.request_state
        result = await again(more)
    raise ResultInvalid(f"the server asked for input {ROUNDS_MAX} times and did not come to an end")


async def _answers(wanted: InputRequired, client: Client, ask: Ask) -> Answers:
    questions = wanted.input_requests
    if len(questions) > REQUESTS_MAX:
        raise ResultInvalid(f"the server asks more than {REQUESTS_MAX} questions at once")
    for question in questions.values():
        _check_offered(question.method, client)
    refused = _passed_on if is_held(wanted.request_state) else _raised
    asking = [asyncio.ensure_future(_answer(each, client, ask, refused)) for each in questions.values()]
    try:
        return dict(zip(questions, await asyncio.gather(*asking), strict=True))
    finally:
        # One that is refused ends the call; nobody waits for the others then.
        for each in asking:
            each.cancel()


async def _answer(question: _Question, client: Client, ask: Ask, refused: Callable[[str, Raw], Raw]) -> Raw:
    if question.method == "elicitation/create" and client.version in _WITHOUT_URLS and _is_url(question):
        return _DECLINED
    reply = await ask(question.method, question.params)
    return reply.result if reply.error == NULL else refused(question.method, reply.error)


def _passed_on(_: str, error: Raw) -> Raw:
    return raw({REFUSED: error})


def _raised(method: str, _: Raw) -> Raw:
    raise InvalidRequest(f"the client refused {method}")


def _check_offered(method: str, client: Client) -> None:
    needed = _NEEDS.get(method)
    if needed is None or needed not in decode(client.capabilities):
        raise ResultInvalid(f"the server asks for {method[:64]!r}, which this client does not offer")


def _is_url(question: _Question) -> bool:
    params = decode(question.params)
    return isinstance(params, dict) and params.get("mode") == "url"
