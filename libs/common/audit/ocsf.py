"""Events as canonical JSON (RFC 8785) in the shape of OCSF 1.8.0, put together from ready-made parts. Pure.

Members are written in their sorted order; numbers are integers; no text has control characters. So what is
written is canonical, and a hash over it can be checked by anybody who parses and sorts it again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from libs.common import log
from libs.common.audit.events import KINDS, Event, Outcome, Payload
from libs.common.audit.form import API, AUTHENTICATION, FINDING, form_of
from libs.common.audit.text import LONG, clean, listed, quoted
from libs.common.identity import Principal

EVENT_MAX = 16 * 1024
"""Bytes of an event, whatever a caller sends."""
HASH_SIZE = len('"hash":"",') + 64
KEYS_MAX = 1024
FIELDS_MAX = 4096
KEPT_MAX = 1_000
"""Bytes of arguments whose member names are remembered."""
FACTS_MAX = 8 * 1024
BARE = 64
"""Characters kept of each text of an event that would be too long."""
WHO = ("tenant", "app", "address", "user_agent", "path", "session", "token")
WHAT = ("operation", "server", "tool", "definition", "rule", "call", "message")

_sorted = msgspec.json.Encoder(order="sorted").encode


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
    opening, duration, status, correlation, sequence, uid, time, end = form_of(event, stamp.provider)
    kind = KINDS[event.code].uid
    seq = b"%d" % stamp.seq
    parts = [opening]
    if event.duration:
        parts.append(b'"duration":%d,' % event.duration)
    if kind == FINDING:
        title = quoted(log.clean(event.message) or event.code, LONG)
        parts.append(b'"finding_info":{"title":%b,"uid":"%b"},' % (title, stamp.uid.encode()))
    parts.append(duration)
    if event.status and kind in (API, AUTHENTICATION):
        parts.append(b'"http_response":{"code":%d},' % event.status)
    if event.message:
        parts.append(b'"message":%b,' % quoted(log.clean(event.message), LONG))
    parts.append(status)
    if event.call:
        parts.append(b'"correlation_uid":%b,' % quoted(event.call))
    parts += (correlation, seq, sequence, stamp.uid.encode(), uid, _status(event, kind, stamp.now))
    if event.trace and kind == API:
        parts.append(_trace(event, stamp.now))
    parts.append(time)
    if event.args is not None:
        parts.append(b'"args":%b,' % _payload(event.args))
    parts.append(b'"chain":{')
    place = b'"prev":"%b","seq":%b,"uid":"%b"}' % (stamp.prev.encode(), seq, stamp.chain.encode())
    return b"".join(parts), b"".join((place, _more(event), end))


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


def _status(event: Event, kind: int, now: int) -> bytes:
    success = event.success
    if success is False:
        failed = event.outcome.failed if event.outcome is not None else ""
        code = "denied" if event.decision == "denied" else failed or "failed"
        return b'"status_code":"%b","status_id":%d,"time":%d,' % (
            code.encode(),
            1 if kind == FINDING else 2,
            now,
        )
    return b'"status_id":%d,"time":%d,' % (1 if success else 0, now)


def _trace(event: Event, now: int) -> bytes:
    _, trace, span, _ = event.trace.split("-", 3)
    times = b'"end_time":%d,"start_time":%d' % (now, now - event.duration)
    return b'"trace":{"span":{%b,"uid":%b},"uid":%b},' % (times, quoted(span), quoted(trace))


def _payload(payload: Payload) -> bytes:
    if not payload.keys and not payload.fields:
        return b'{"bytes":%d,"hmac":"%b"}' % (payload.size, payload.digest.encode())
    fields = b'"fields":%b,' % _fields(payload.fields) if payload.fields else b""
    keys = (_keys if payload.size <= KEPT_MAX else _keys.__wrapped__)(payload.keys)
    return b'{"bytes":%d,%b"hmac":"%b","keys":%b}' % (payload.size, fields, payload.digest.encode(), keys)


@lru_cache(maxsize=1_000)
def _keys(keys: tuple[str, ...]) -> bytes:
    return listed(keys, 64, KEYS_MAX)


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
    parts: list[bytes] = []
    if event.deadline:
        parts.append(b',"deadline":%d' % int(event.deadline * 1000))
    if event.facts:
        parts.append(b',"facts":%b' % _object(event.facts))
    if event.outcome is not None:
        parts.append(_outcome(event.outcome))
    if event.limit:
        parts.append(b',"ratelimit":%b' % _object(event.limit))
    if event.result is not None:
        parts.append(b',"result":%b' % _payload(event.result))
    return b"".join(parts)


@lru_cache(maxsize=1_000)
def _outcome(outcome: Outcome) -> bytes:
    return b',"outcome":{"executed":"%b","jsonrpc":%d,"tool":"%b","transport":"%b"}' % (
        outcome.executed.encode(),
        outcome.jsonrpc,
        outcome.tool.encode(),
        outcome.transport.encode(),
    )


def _object(value: object) -> bytes:
    """JSON of facts, their texts clean and without secrets; too long a one is left out, and says so."""
    encoded = _sorted(_tidy(value))
    return encoded if len(encoded) <= FACTS_MAX else b'{"dropped":"%d bytes"}' % len(encoded)


def _tidy(value: object) -> object:
    match value:
        case str():
            return clean(log.clean(value))
        case float():
            return round(value)
        case dict():
            return {clean(str(key), 64): _tidy(each) for key, each in value.items()}
        case list() | tuple():
            return [_tidy(each) for each in value]
        case _:
            return value
