"""The end of a call whose process died before it could tell it. Pure."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from libs.common.audit.events import Decision, Event, Outcome
from libs.common.codec import UNREADABLE
from libs.common.identity import Principal

MESSAGE = "the process that ran the call died or lost its connection before it could tell what came of it"
_ACTIONS = {"1": "allowed", "2": "denied"}
OUTCOME = Outcome(transport="failed", executed="unknown")


def ended(call: str, data: bytes | None) -> Event:
    """The `completed` for a `requested`; without its bytes only the call is known."""
    try:
        asked: Any = msgspec.json.decode(data or b"{}")
    except UNREADABLE:
        asked = {}
    if not isinstance(asked, dict):
        asked = {}
    actor, request = _table(asked, "actor"), _table(asked, "http_request")
    resource: Any = next(iter(_list(asked, "resources")), None)
    return Event(
        code="mcp.tool.call.completed",
        principal=_principal(actor, _text(asked, "src_endpoint", "ip")),
        tenant=_text(asked, "metadata", "tenant_uid"),
        app=_text(actor, "app_name"),
        user_agent=_text(request, "user_agent"),
        path=_text(request, "url", "path"),
        session=_text(actor, "session", "uid"),
        token=_text(asked, "unmapped", "nexus", "token_hash"),
        trace=_trace(asked),
        operation=_text(asked, "api", "operation"),
        server=_text(asked, "api", "service", "name"),
        tool=_text(resource, "name"),
        definition=_text(resource, "uid"),
        decision=cast("Decision", _ACTIONS.get(str(asked.get("action_id")), "")),
        rule=_text(asked, "policy", "uid"),
        outcome=OUTCOME,
        call=call,
        message=MESSAGE,
    )


def _principal(actor: dict[str, Any], address: str) -> Principal:
    user = _table(actor, "user")
    groups = tuple(_text(each, "name") for each in _list(user, "groups"))
    return Principal(
        subject=_text(user, "uid"),
        issuer=_text(actor, "session", "issuer"),
        groups=groups,
        client=_text(actor, "app_uid"),
        address=address,
    )


def _trace(asked: dict[str, Any]) -> str:
    trace, span = _text(asked, "trace", "uid"), _text(asked, "trace", "span", "uid")
    return f"00-{trace}-{span}-00" if trace and span else ""


def _table(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _list(value: dict[str, Any], name: str) -> list[Any]:
    found = value.get(name)
    return found if isinstance(found, list) else []


def _text(value: Any, *names: str) -> str:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
