"""Events as canonical JSON (RFC 8785) in the shape of OCSF 1.8.0, put together from ready-made parts. Pure.

Members are written in their sorted order; numbers are integers; no text has control characters. So what is
written is canonical, and a hash over it can be checked by anybody who parses and sorts it again.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from libs.common.audit.events import KINDS, Decision, Event, Kind, Payload
from libs.common.audit.parties import actor, requested, source, user
from libs.common.audit.text import LONG, clean, listed, quoted
from libs.common.identity import Principal

OCSF = "1.8.0"
EVENT_MAX = 16 * 1024
"""Bytes of an event, whatever a caller sends."""
HASH_SIZE = len('"hash":"",') + 64
KEYS_MAX = 1024
FIELDS_MAX = 4096
FACTS_MAX = 8 * 1024

BARE = 64
"""Characters kept of each text of an event that would be too long."""
WHO = ("tenant", "app", "address", "user_agent", "path", "session", "token")
WHAT = ("operation", "server", "tool", "definition", "rule", "call", "message")

_sorted = msgspec.json.Encoder(order="sorted").encode
_PRODUCT = b'"product":{"name":"Nexus","vendor_name":"Nexus","version":%b}' % quoted(version("nexus-gateway"))
_ACTIONS: dict[Decision, tuple[int, int]] = {"allowed": (1, 1), "denied": (2, 2), "": (3, 17)}
"""OCSF's action and disposition: allowed, denied and blocked, observed and logged."""
API, AUTHENTICATION, FINDING, LIFECYCLE = 6003, 3002, 2004, 6002


class Stamp(NamedTuple):
    """An event's place: its id, its time in ms since the epoch, and where it stands in which chain."""

    uid: str
    now: int
    chain: str
    seq: int
    prev: str
    provider: str


def render(event: Event, stamp: Stamp) -> tuple[bytes, bytes]:
    """The event but for its hash, which belongs between the two parts; at most 16 KiB in all.

    The hash itself is the SHA-256 of the two together.
    """
    head, tail = _rendered(event, stamp)
    if len(head) + len(tail) > EVENT_MAX - HASH_SIZE:
        head, tail = _rendered(_bare(event), stamp)
    return head, tail


def _rendered(event: Event, stamp: Stamp) -> tuple[bytes, bytes]:
    kind = KINDS[event.code]
    caller = kind.uid in (API, AUTHENTICATION)
    action, disposition = _ACTIONS[event.decision]
    head = (
        b'{"action_id":%d,"activity_id":%d,"activity_name":"%b",'
        % (action, kind.activity, kind.activity_name.encode()),
        actor(event) if caller else b"",
        _api(event) if kind.uid == API else b"",
        _app(event) if kind.uid == LIFECYCLE else b"",
        b'"category_uid":%d,"class_uid":%d,"disposition_id":%d,' % (kind.category, kind.uid, disposition),
        b'"duration":%d,' % event.duration if event.duration else b"",
        _finding(event, stamp) if kind.uid == FINDING else b"",
        requested(event.user_agent, event.path) if caller else b"",
        b'"http_response":{"code":%d},' % event.status if caller and event.status else b"",
        b'"message":%b,' % quoted(event.message, LONG) if event.message else b"",
        _context(event) if kind.uid == API and event.tool else b"",
        _metadata(event, stamp, kind),
        b'"policy":{"uid":%b},' % quoted(event.rule) if event.rule else b"",
        _resources(event) if event.tool and kind.uid in (API, FINDING) else b"",
        b'"service":{"name":"nexus"},' if kind.uid == AUTHENTICATION else b"",
        b'"severity_id":%d,' % _severity(event, kind),
        source(event.address or event.principal.address) if caller else b"",
        _status(event, kind, stamp),
        _trace(event, stamp) if event.trace and kind.uid == API else b"",
        b'"type_uid":%d,"unmapped":{"nexus":{' % kind.type_uid,
        b'"args":%b,' % _payload(event.args) if event.args is not None else b"",
        b'"chain":{',
    )
    place = b'"prev":"%b","seq":%d,"uid":"%b"}' % (stamp.prev.encode(), stamp.seq, stamp.chain.encode())
    return b"".join(head), b"".join((place, _more(event), b"}}", _user(event, kind), b"}"))


def _bare(event: Event) -> Event:
    """The event with every text short, and without the content of lists: digests and sizes stay."""
    texts = {name: clean(getattr(event, name), BARE) for name in WHO + WHAT}
    who = event.principal
    principal = Principal(
        clean(who.subject, BARE), clean(who.issuer, BARE), client=clean(who.client, BARE), tier=who.tier
    )
    args, result = (
        each if each is None else Payload(each.size, each.digest) for each in (event.args, event.result)
    )
    facts = None if event.facts is None else {"dropped": "too long"}
    return replace(event, principal=principal, args=args, result=result, facts=facts, **texts)


def _severity(event: Event, kind: Kind) -> int:
    severity = event.severity or kind.severity
    return max(severity, 3) if event.decision == "denied" else severity


def _api(event: Event) -> bytes:
    server = b',"service":{"name":%b}' % quoted(event.server) if event.server else b""
    return b'"api":{"operation":%b%b},' % (quoted(event.operation or event.code), server)


def _app(event: Event) -> bytes:
    if event.server:
        return b'"app":{"name":%b,"vendor_name":"downstream"},' % quoted(event.server)
    return b'"app":{%b},' % _PRODUCT.removeprefix(b'"product":{').removesuffix(b"}")


def _finding(event: Event, stamp: Stamp) -> bytes:
    title = quoted(event.message or event.code, LONG)
    return b'"finding_info":{"title":%b,"uid":"%b"},' % (title, stamp.uid.encode())


def _context(event: Event) -> bytes:
    """Where an AI's message goes, as the profile `ai_operation` has it."""
    name = quoted(event.server or "nexus")
    return b'"message_context":{"ai_role_id":99,"service":{"name":%b}},' % name


def _metadata(event: Event, stamp: Stamp, kind: Kind) -> bytes:
    profiles = [b'"ai_operation"'] if kind.uid == API and event.tool else []
    profiles.append(b'"security_control"')
    if event.trace and kind.uid == API:
        profiles.append(b'"trace"')
    return b'"metadata":{%b"event_code":"%b","log_provider":%b,%b,"profiles":[%b],"sequence":%d,%b%b},' % (
        b'"correlation_uid":%b,' % quoted(event.call) if event.call else b"",
        event.code.encode(),
        quoted(stamp.provider),
        _PRODUCT,
        b",".join(profiles),
        stamp.seq,
        b'"tenant_uid":%b,' % quoted(event.tenant) if event.tenant else b"",
        b'"uid":"%b","version":"%b"' % (stamp.uid.encode(), OCSF.encode()),
    )


def _resources(event: Event) -> bytes:
    pin = b',"uid":%b' % quoted(event.definition) if event.definition else b""
    return b'"resources":[{"name":%b,"type":"tool"%b}],' % (quoted(event.tool), pin)


def _status(event: Event, kind: Kind, stamp: Stamp) -> bytes:
    success = event.success
    status = 0 if success is None else 1 if success or kind.uid == FINDING else 2
    if success is False:
        failed = event.outcome.failed if event.outcome is not None else ""
        code = "denied" if event.decision == "denied" else failed or "failed"
        return b'"status_code":"%b","status_id":%d,"time":%d,' % (code.encode(), status, stamp.now)
    return b'"status_id":%d,"time":%d,' % (status, stamp.now)


def _trace(event: Event, stamp: Stamp) -> bytes:
    _, trace, span, _ = event.trace.split("-", 3)
    times = b'"end_time":%d,"start_time":%d' % (stamp.now, stamp.now - event.duration)
    return b'"trace":{"span":{%b,"uid":%b},"uid":%b},' % (times, quoted(span), quoted(trace))


def _payload(payload: Payload) -> bytes:
    fields = keys = b""
    if payload.fields:
        fields = b'"fields":%b,' % _fields(payload.fields)
    digest = b'"hmac":"%b"' % payload.digest.encode()
    if payload.keys:
        keys = b',"keys":%b' % listed(payload.keys, 64, KEYS_MAX)
    return b'{"bytes":%d,%b%b%b}' % (payload.size, fields, digest, keys)


def _fields(fields: tuple[tuple[str, str], ...]) -> bytes:
    """A list and no object: names of strangers are values here, so that sorting is no matter of theirs."""
    parts: list[bytes] = []
    room = FIELDS_MAX
    for name, value in fields:
        part = b'{"name":%b,"value":%b}' % (quoted(name, 64), quoted(value))
        room -= len(part)
        if room < 0:
            break
        parts.append(part)
    return b"[%b]" % b",".join(parts)


def _more(event: Event) -> bytes:
    outcome = event.outcome
    said = b""
    if outcome is not None:
        said = b',"outcome":{"executed":"%b","jsonrpc":%d,"tool":"%b","transport":"%b"}' % (
            outcome.executed.encode(),
            outcome.jsonrpc,
            outcome.tool.encode(),
            outcome.transport.encode(),
        )
    return b"".join(
        (
            b',"deadline":%d' % int(event.deadline * 1000) if event.deadline else b"",
            b',"facts":%b' % _object(event.facts) if event.facts else b"",
            said,
            b',"ratelimit":%b' % _object(event.limit) if event.limit else b"",
            b',"result":%b' % _payload(event.result) if event.result is not None else b"",
            b',"token_hash":%b' % quoted(event.token) if event.token else b"",
        )
    )


def _object(value: object) -> bytes:
    """JSON of facts, their texts clean; one that is too long is left out, and says so."""
    encoded = _sorted(_tidy(value))
    return encoded if len(encoded) <= FACTS_MAX else b'{"dropped":"%d bytes"}' % len(encoded)


def _tidy(value: object) -> object:
    match value:
        case str():
            return clean(value)
        case float():
            return round(value)
        case dict():
            return {clean(str(key), 64): _tidy(each) for key, each in value.items()}
        case list() | tuple():
            return [_tidy(each) for each in value]
        case _:
            return value


def _user(event: Event, kind: Kind) -> bytes:
    return b',"user":%b' % user(event.principal) if kind.uid == AUTHENTICATION else b""
