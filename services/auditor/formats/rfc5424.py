"""Syslog messages of RFC 5424, framed by octet counting (RFC 6587 §3.4.1, RFC 5425 §4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from services.auditor.formats.severity import severity_of
from services.auditor.formats.view import View

FACILITIES = {
    "kern": 0,
    "user": 1,
    "daemon": 3,
    "auth": 4,
    "syslog": 5,
    "authpriv": 10,
    "audit": 13,
    "alert": 14,
    **{f"local{number}": 16 + number for number in range(8)},
}
NIL = "-"

_ESCAPED = re.compile(r'(["\\\]])')
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]|[\ud800-\udfff]")
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
_VALUE_MAX = 1024
_PARAMETERS = (
    ("uid", "metadata.uid"),
    ("event", "metadata.event_code"),
    ("call", "metadata.correlation_uid"),
    ("tenant", "metadata.tenant_uid"),
    ("user", "actor.user.uid", "user.uid"),
    ("chain", "unmapped.nexus.chain.uid"),
    ("seq", "metadata.sequence"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What is the same in every message of one sink. `element` is the SD-ID, `name@enterprise-number`."""

    facility: int
    host: str
    app: str
    element: str
    process: str = NIL


def syslog_message(header: Header, view: View, text: str) -> bytes:
    """One message in UTF-8, not framed; `text` becomes its MSG part, unchanged and without a BOM.

    MSGID is the event's code. The structured data repeats what an event is found by, its values cut to
    1,024 characters and control characters in them replaced, since relays write them into lines.
    """
    priority = header.facility * 8 + severity_of(view.number("severity_id")).syslog
    names = (
        (header.host, 255),
        (header.app, 48),
        (header.process, 128),
        (view.text("metadata.event_code"), 32),
    )
    middle = " ".join(printable(value, longest) for value, longest in names)
    head = f"<{priority}>1 {timestamp(view.number('time'))} {middle}"
    return f"{head} {_structured(header.element, view)} {text}".encode(errors="replace")


def framed(message: bytes) -> bytes:
    """The message after its length in octets and a space."""
    return b"%d %b" % (len(message), message)


def printable(text: str, longest: int) -> str:
    """Text as a header field: printable ASCII without spaces, cut, `-` if nothing is left."""
    return _UNPRINTABLE.sub("_", text)[:longest] or NIL


def parameter_value(text: str) -> str:
    """Text as a PARAM-VALUE: quote, backslash and closing bracket escaped, control characters replaced."""
    return _ESCAPED.sub(r"\\\1", _CONTROL.sub("\ufffd", text[:_VALUE_MAX]))


def timestamp(milliseconds: int | None) -> str:
    """Milliseconds since the epoch as RFC 5424 has them, in UTC; `-` for none that a date can hold."""
    try:
        moment = datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return NIL
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if milliseconds else NIL


def _structured(element: str, view: View) -> str:
    found = ((name, view.text(*paths)) for name, *paths in _PARAMETERS)
    parameters = "".join(f' {name}="{parameter_value(value)}"' for name, value in found if value)
    return f"[{element}{parameters}]"
