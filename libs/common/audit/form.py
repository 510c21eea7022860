"""What repeats from one event to the next, written once and remembered. Pure.

The gaps between the parts of a form are what differs each time: sizes, codes, ids, times.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from typing import NamedTuple

from libs.common.audit.events import KINDS, Code, Decision, Event, Kind
from libs.common.audit.parties import actor, requested, source, user
from libs.common.audit.text import quoted
from libs.common.identity import Principal

OCSF = "1.8.0"
REMEMBERED = 4_000
"""Forms that are kept: a caller with his program, and what he asks of which tool."""
KEPT_MAX = 1_000
"""Characters of all texts in a form that is kept: anybody may send any, and never the same again."""
API, AUTHENTICATION, FINDING, LIFECYCLE = 6003, 3002, 2004, 6002

_PRODUCT = b'"name":"Nexus","vendor_name":"Nexus","version":%b' % quoted(version("nexus-gateway"))
_ACTIONS: dict[Decision, tuple[int, int]] = {"allowed": (1, 1), "denied": (2, 2), "": (3, 17)}
"""OCSF's action and disposition: allowed, denied and blocked, observed and logged."""


class Form(NamedTuple):
    """Parts of an event's JSON, in their order, each named after what is put before it."""

    opening: bytes
    duration: bytes
    status: bytes
    correlation: bytes
    sequence: bytes
    uid: bytes
    time: bytes
    nexus: bytes
    """Behind everything else."""


def form_of(event: Event, provider: str) -> Form:
    """The form of an event that `provider` (a worker) writes."""
    key = (
        event.code,
        event.decision,
        event.severity,
        event.principal,
        event.app,
        event.session,
        event.address,
        event.user_agent,
        event.path,
        event.operation,
        event.server,
        event.tool,
        event.definition,
        event.rule,
        event.tenant,
        event.token,
        bool(event.trace),
        provider,
    )
    return _form(*key) if _short(event) else _form.__wrapped__(*key)


def _short(event: Event) -> bool:
    who = event.principal
    length = len(event.user_agent) + len(event.app) + len(event.path) + len(event.tool) + len(event.rule)
    length += len(event.operation) + len(event.tenant) + len(event.token) + len(event.definition)
    length += len(event.address) + len(who.subject) + len(who.issuer) + len(who.client)
    return length <= KEPT_MAX and len(who.groups) <= 16


@lru_cache(maxsize=REMEMBERED)
def _form(
    code: Code,
    decision: Decision,
    severity: int,
    principal: Principal,
    app: str,
    session: str,
    address: str,
    user_agent: str,
    path: str,
    operation: str,
    server: str,
    tool: str,
    definition: str,
    rule: str,
    tenant: str,
    token: str,
    traced: bool,
    provider: str,
) -> Form:
    kind = KINDS[code]
    action, disposition = _ACTIONS[decision]
    caller, called = kind.uid in (API, AUTHENTICATION), kind.uid == API and tool
    opening = (
        b'{"action_id":%d,"activity_id":%d,' % (action, kind.activity),
        b'"activity_name":"%b",' % kind.activity_name.encode(),
        actor(principal, app, session) if caller else b"",
        _api(operation or code, server) if kind.uid == API else b"",
        _app(server) if kind.uid == LIFECYCLE else b"",
        b'"category_uid":%d,"class_uid":%d,"disposition_id":%d,' % (kind.category, kind.uid, disposition),
    )
    context = b'"message_context":{"ai_role_id":99,"service":{"name":%b}},' % quoted(server or "nexus")
    sequence = (
        b'"event_code":"%b","log_provider":%b,"product":{%b},' % (code.encode(), quoted(provider), _PRODUCT),
        b'"profiles":[%b],"sequence":' % _profiles(kind, called=bool(called), traced=traced),
    )
    time = (
        b'","version":"%b"},' % OCSF.encode(),
        b'"policy":{"uid":%b},' % quoted(rule) if rule else b"",
        _resources(tool, definition) if tool and kind.uid in (API, FINDING) else b"",
        b'"service":{"name":"nexus"},' if kind.uid == AUTHENTICATION else b"",
        b'"severity_id":%d,' % max(severity or kind.severity, 3 if decision == "denied" else 1),
        source(address or principal.address) if caller else b"",
    )
    end = (
        b',"token_hash":%b' % quoted(token) if token else b"",
        b"}}",
        b',"user":%b' % user(principal) if kind.uid == AUTHENTICATION else b"",
        b"}",
    )
    return Form(
        opening=b"".join(opening),
        duration=requested(user_agent, path) if caller else b"",
        status=(context if called else b"") + b'"metadata":{',
        correlation=b"".join(sequence),
        sequence=(b',"tenant_uid":%b' % quoted(tenant) if tenant else b"") + b',"uid":"',
        uid=b"".join(time),
        time=b'"type_uid":%d,"unmapped":{"nexus":{' % kind.type_uid,
        nexus=b"".join(end),
    )


def _api(operation: str, server: str) -> bytes:
    service = b',"service":{"name":%b}' % quoted(server) if server else b""
    return b'"api":{"operation":%b%b},' % (quoted(operation), service)


def _app(server: str) -> bytes:
    named = b'"name":%b,"vendor_name":"downstream"' % quoted(server) if server else _PRODUCT
    return b'"app":{%b},' % named


def _profiles(kind: Kind, *, called: bool, traced: bool) -> bytes:
    names = [b'"ai_operation"'] if called else []
    names.append(b'"security_control"')
    if traced and kind.uid == API:
        names.append(b'"trace"')
    return b",".join(names)


def _resources(tool: str, definition: str) -> bytes:
    pin = b',"uid":%b' % quoted(definition) if definition else b""
    return b'"resources":[{"name":%b,"type":"tool"%b}],' % (quoted(tool), pin)
