"""Rules for the headers of requests to servers over HTTP: set, send on, take away, rename."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Tag

from libs.common.config.report import Key, Mistake
from libs.common.config.table import Table
from libs.common.config.values import HeaderName, HeaderValue, expected

_CREDENTIALS = "it carries credentials"
_FRAMING = "it belongs to one connection, or to the form of the body"
_PROTOCOL = "it is for the gateway alone to set and to read"
_ORIGIN = "it says where a request comes from, which no client may"
_CLOSED = {
    "authorization": _CREDENTIALS,
    "cookie": _CREDENTIALS,
    "set-cookie": _CREDENTIALS,
    "host": _FRAMING,
    "transfer-encoding": _FRAMING,
    "connection": _FRAMING,
    "te": _FRAMING,
    "trailer": _FRAMING,
    "upgrade": _FRAMING,
    "keep-alive": _FRAMING,
    "expect": _FRAMING,
    "accept": _PROTOCOL,
    "accept-encoding": _PROTOCOL,
    "last-event-id": _PROTOCOL,
    "traceparent": _PROTOCOL,
    "tracestate": _PROTOCOL,
    "forwarded": _ORIGIN,
    "x-real-ip": _ORIGIN,
}
_CLOSED_BELOW = {
    "proxy-": _CREDENTIALS,
    "content-": _FRAMING,
    "mcp-": _PROTOCOL,
    "x-forwarded-": _ORIGIN,
    "x-nexus-": _PROTOCOL,
}
"""The same for all names that begin so."""


def _open(name: str) -> str:
    # Some readers take an underscore for a hyphen (CGI).
    lower = name.lower().replace("_", "-")
    below = next((why for start, why in _CLOSED_BELOW.items() if lower.startswith(start)), None)
    why = _CLOSED.get(lower, below)
    if why is not None:
        raise expected(f'another header: {why}, so that only "insert" may name it')
    return name


OpenName = Annotated[HeaderName, AfterValidator(_open)]
"""A header that clients may fill and rules may take away."""


class InsertHeader(Table):
    """A header that every request to a server carries."""

    rule: Literal["insert"]
    name: HeaderName
    value: HeaderValue


class ForwardHeader(Table):
    """A header of the client's request, sent on under this name or another."""

    rule: Literal["forward"]
    name: OpenName
    rename: OpenName | None = None
    default: HeaderValue | None = None
    """What is sent where the client sent none."""


class RemoveHeader(Table):
    """A header that is not sent, although an earlier rule or the gateway itself sets it."""

    rule: Literal["remove"]
    name: OpenName


class RenameHeader(Table):
    """Another name for what earlier rules set."""

    rule: Literal["rename"]
    name: OpenName
    to: OpenName


RULES = ("insert", "forward", "remove", "rename")
RULE_TAGS = tuple(f"<{rule}>" for rule in RULES)
"""Tags of the kinds, as pydantic puts them into the place of a mistake."""


def _kind(value: Any) -> str:
    rule = value.get("rule") if isinstance(value, dict) else getattr(value, "rule", None)
    return f"<{rule}>" if rule in RULES else RULE_TAGS[0]


HeaderRule = Annotated[
    Annotated[InsertHeader, Tag("<insert>")]
    | Annotated[ForwardHeader, Tag("<forward>")]
    | Annotated[RemoveHeader, Tag("<remove>")]
    | Annotated[RenameHeader, Tag("<rename>")],
    Discriminator(_kind),
]


def forwarded(rules: Iterable[HeaderRule]) -> frozenset[str]:
    """The headers of clients that some rule sends on, lower-case."""
    return frozenset(rule.name.lower() for rule in rules if isinstance(rule, ForwardHeader))


def check_rules(key: Key, rules: object) -> Iterator[Mistake]:
    """Rules of a kind that there is none of, with all there are."""
    for number, rule in enumerate(rules if isinstance(rules, list) else ()):
        kind = rule.get("rule", RULES[0]) if isinstance(rule, dict) else RULES[0]
        if kind not in RULES:
            # Not shown: it may have come from a variable.
            yield Mistake((*key, number, "rule"), " or ".join(f'"{each}"' for each in RULES))
