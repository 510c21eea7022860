"""An audit event as a line of ArcSight's Common Event Format, version 0."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import itemgetter

from services.auditor.formats.severity import severity_of
from services.auditor.formats.view import View

VENDOR, PRODUCT = "Nexus", "MCP Gateway"

_BREAK = re.compile("\r\n|[\n\x0b\x0c\x85\u2028\u2029]")
"""Everything that some reader takes for the end of a line; CR alone has an escape of its own."""
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufffe\uffff]|[\ud800-\udfff]")
_HEADER = str.maketrans({"\\": "\\\\", "|": "\\|", "\n": " ", "\r": " ", "\t": " "})
_VALUE = str.maketrans({"\\": "\\\\", "=": "\\=", "\n": "\\n", "\r": "\\r"})

_KEYS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("externalId", 40, ("metadata.uid",)),
    ("reason", 1023, ("status_code",)),
    ("suid", 1023, ("actor.user.uid", "user.uid")),
    ("sourceServiceName", 1023, ("actor.app_name", "actor.app_uid")),
    ("requestClientApplication", 1023, ("http_request.user_agent",)),
    ("request", 1023, ("http_request.url.path",)),
    ("destinationServiceName", 1023, ("api.service.name", "app.name")),
    ("msg", 1023, ("message", "finding_info.title")),
)
"""CEF key, longest value in characters as the format's dictionary has it, OCSF paths."""
_LABELLED: tuple[tuple[str, str, int, str], ...] = (
    ("cs1", "tool", 4000, "resources.0.name"),
    ("cs2", "rule", 4000, "policy.uid"),
    ("cs3", "call", 4000, "metadata.correlation_uid"),
    ("cs4", "trace", 4000, "trace.uid"),
    ("cs5", "tenant", 4000, "metadata.tenant_uid"),
    ("cs6", "executed", 4000, "unmapped.nexus.outcome.executed"),
    ("flexString1", "operation", 1023, "api.operation"),
    ("flexString2", "chain", 1023, "unmapped.nexus.chain.uid"),
)
_COUNTED: tuple[tuple[str, str, str], ...] = (
    ("cn1", "httpStatus", "http_response.code"),
    ("cn2", "durationMs", "duration"),
    ("cn3", "sequence", "metadata.sequence"),
)


def cef_line(view: View) -> str:
    """The event as one line: `CEF:0|vendor|product|version|event|name|severity|key=value …`.

    Values are cut to the lengths of the format's dictionary. Characters it has no escape for (control
    characters, lone surrogates) become U+FFFD; every kind of line break is written as `\\n` or `\\r`.
    """
    severity = severity_of(view.number("severity_id"))
    code = view.text("metadata.event_code")
    name = view.text("activity_name") or code
    fields = (VENDOR, PRODUCT, view.text("metadata.product.version"), code, f"{name} {view.status}")
    head = "|".join(header_value(each) for each in fields)
    body = " ".join(f"{key}={extension_value(value)}" for key, value in _extension(view))
    return f"CEF:0|{head}|{severity.cef}|{body}"


def header_value(text: str) -> str:
    """Text as a header field: backslash and pipe escaped, line breaks as spaces."""
    return _clean(text).translate(_HEADER)


def extension_value(text: str) -> str:
    """Text as the value of a key: backslash, equals sign and line breaks escaped."""
    return _clean(text).translate(_VALUE)


def _clean(text: str) -> str:
    return _CONTROL.sub("\ufffd", _BREAK.sub("\n", text))


def _extension(view: View) -> Iterator[tuple[str, str]]:
    if (time := view.number("time")) is not None:
        yield "rt", str(time)
    yield from filter(itemgetter(1), (("act", view.action), ("outcome", view.status)))
    for key, longest, paths in _KEYS:
        if value := view.text(*paths):
            yield key, value[:longest]
    yield from _source(view.text("src_endpoint.ip"))
    for key, label, longest, path in _LABELLED:
        if value := view.text(path):
            yield from ((key, value[:longest]), (f"{key}Label", label))
    for key, label, path in _COUNTED:
        if (number := view.number(path)) is not None:
            yield from ((key, str(number)), (f"{key}Label", label))


def _source(address: str) -> Iterator[tuple[str, str]]:
    """`src` holds IPv4 only; an IPv6 source has a key of its own."""
    if ":" in address:
        yield from (("c6a2", address), ("c6a2Label", "Source IPv6 Address"))
    elif address:
        yield "src", address
