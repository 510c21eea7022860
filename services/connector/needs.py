"""What a client must have declared to be asked a question, and what becomes of calls that ask in vain."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from msgspec import Raw

from libs.common.codec import UNREADABLE, members
from libs.common.errors import NULL, CapabilityMissing, DownstreamError
from libs.common.messages.calls import EMPTY, Call, Client
from services.connector.handshake import MODERN
from services.connector.questions import INVALID, UNKNOWN, Question

ELICITATION, URL, SAMPLING, ROOTS = "elicitation", "elicitation.url", "sampling", "roots"
_NEEDS = {"elicitation/create": ELICITATION, "sampling/createMessage": SAMPLING, "roots/list": ROOTS}
_ASKING = frozenset({"tools/call", "prompts/get", "resources/read"})


def may_ask(call: Call) -> bool:
    """Whether a request like this may be answered by a question."""
    return call.method in _ASKING and not call.notify


class Offer:
    """What one client may be asked for the sake of one call."""

    __slots__ = ("_declared", "_missed", "_modern")

    def __init__(self, client: Client) -> None:
        self._declared = _declared(client)
        self._missed: set[str] = set()
        self._modern = client.version == MODERN

    def __bool__(self) -> bool:
        return bool(self._declared)

    def admits(self, question: Question) -> bool:
        """Whether the client can answer it; if not, the server is told so, as by the client itself."""
        need = _needed(question)
        if need in self._declared:
            return True
        if need is not None:
            self._missed.add(need)
        code = INVALID if need == URL else UNKNOWN
        question.refuse(code, f"the client of this call has not declared {need or question.method[:64]}")
        return False

    def refuse(self, question: Question) -> None:
        """Take a question of a call whose client can answer none."""
        self.admits(question)

    async def judge(self, work: Awaitable[Raw]) -> Raw:
        """The result of `work`.

        For a modern client, failing after a question it could not be asked is `CapabilityMissing`; clients
        with sessions get what the server made of the refusal.
        """
        try:
            result = await work
        except DownstreamError as error:
            if self._missed and self._modern:
                raise _missing(self._missed) from error
            raise
        if self._missed and self._modern and _failed(result):
            raise _missing(self._missed)
        return result


def _declared(client: Client) -> frozenset[str]:
    if client.capabilities == EMPTY:
        return frozenset()
    try:
        declared = members(client.capabilities)
        modes = members(declared.get(ELICITATION, EMPTY))
    except UNREADABLE:
        return frozenset()
    found = frozenset(declared) & frozenset(_NEEDS.values())
    return found | {URL} if "url" in modes else found


def _needed(question: Question) -> str | None:
    """The capability it is for; None if no client can answer it."""
    try:
        mode = members(members(question.message).get("params", EMPTY)).get("mode", NULL)
    except UNREADABLE:
        return None
    if question.method == "elicitation/create" and bytes(mode) == b'"url"':
        return URL
    return _NEEDS.get(question.method)


def _missing(needs: Iterable[str]) -> CapabilityMissing:
    names = sorted(needs)
    required: dict[str, object] = {name: {} for name in names if name != URL}
    if URL in names:
        required[ELICITATION] = {"url": {}}
    said = f"the server asked for what this client has not declared: {', '.join(names)}"
    return CapabilityMissing(said, requiredCapabilities=required)


def _failed(result: Raw) -> bool:
    if b"isError" not in bytes(result):
        return False
    try:
        return bytes(members(result).get("isError", NULL)) == b"true"
    except UNREADABLE:
        return False
