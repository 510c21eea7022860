"""What stands around the whole application for browsers: CORS (Fetch standard) and a guard against CSRF."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.edge.auth.resource import WELL_KNOWN

Forged = Callable[[Scope], None]
"""Told of a request without the header."""


def _ignored(scope: Scope) -> None:
    """Nobody is told."""


@dataclass(frozen=True, slots=True)
class Cors:
    """`("*",)` allows all. Origins are `scheme://host[:port]`, or patterns with `*` and `?` in them."""

    origins: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    credentials: bool = False
    max_age: int = 0
    private_network: bool = False

    def admits(self, origin: str) -> bool:
        """Whether pages of this origin may call at all."""
        pattern = _regex(self.origins)
        return "*" in self.origins or origin.lower() in self.origins or _matches(pattern, origin.lower())


class Browsers:
    """The application behind CORS and the CSRF header. Metadata that everybody may read is beside both."""

    def __init__(self, app: ASGIApp, cors: Cors | None, csrf: str | None, forged: Forged = _ignored) -> None:
        self._open = app
        guarded = app if csrf is None else Csrf(app, csrf, forged)
        self._app = guarded if cors is None else _cors(guarded, cors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        beside = path == WELL_KNOWN or path.startswith(f"{WELL_KNOWN}/")
        await (self._open if beside else self._app)(scope, receive, send)


class Csrf:
    """403 for requests without the header, whatever its value; a preflight cannot have it."""

    def __init__(self, app: ASGIApp, header: str, forged: Forged = _ignored) -> None:
        self._app = app
        self._forged = forged
        self._name = header.lower().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        checked = scope["type"] == "http" and scope["method"] != "OPTIONS"
        missing = checked and all(name != self._name for name, _ in scope["headers"])
        if missing:
            self._forged(scope)
        await (Response(status_code=403) if missing else self._app)(scope, receive, send)


def _cors(app: ASGIApp, cors: Cors) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=[each for each in cors.origins if each == "*" or not _is_pattern(each)],
        allow_origin_regex=_regex(cors.origins),
        allow_methods=cors.methods,
        allow_headers=cors.headers,
        allow_credentials=cors.credentials,
        expose_headers=cors.exposed,
        max_age=cors.max_age,
        allow_private_network=cors.private_network,
    )


def _is_pattern(origin: str) -> bool:
    return origin != "*" and any(mark in origin for mark in "*?")


def _regex(origins: Iterable[str]) -> str | None:
    """`*` is any part of a host name or port, never across the end of one."""
    patterns = [
        re.escape(each).replace(r"\*", r"[A-Za-z0-9.-]*").replace(r"\?", r"[A-Za-z0-9-]")
        for each in origins
        if _is_pattern(each)
    ]
    return "|".join(patterns) or None


def _matches(pattern: str | None, origin: str) -> bool:
    return pattern is not None and re.fullmatch(pattern, origin) is not None
