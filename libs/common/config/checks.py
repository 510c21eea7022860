"""Rules between keys, which no single value can break."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from libs.common.config.access import check_access
from libs.common.config.admission import check_admission
from libs.common.config.grants import check_auth, check_delegated
from libs.common.config.headers import check_rules
from libs.common.config.report import Key, Mistake
from libs.common.config.sinks import check_sinks
from libs.common.naming import RESERVED, SEPARATOR, is_server

EXAMPLE = '[mcp.servers.time]\ncmd = ["uvx", "mcp-server-time"]'

_SERVERS = ("mcp", "servers")
_NAME = (
    "is no name for a server: 1 to 32 of A-Z a-z 0-9 _ -, a letter or digit first, "
    "no two underscores in a row, none at the end"
)

_PINNED = "is no tool of a configured server; write its name as `search` shows it: server__tool"


def check_document(document: dict[str, Any]) -> list[Mistake]:
    """What is wrong between keys of a resolved document, however wrong its single values are."""
    server, access = _table(document, "server"), check_access(document)
    found = [*_downstreams(document), *_pinned(document), *_servers(document), *_paths(document)]
    rules = check_rules(("mcp", "headers"), _table(document, "mcp").get("headers"))
    return [*found, *check_admission(server), *access, *rules, *check_sinks(document)]


def sound_servers(document: dict[str, Any]) -> dict[str, Any]:
    """The document with servers whose kind is known, each with its name as a key; the others are reported."""
    mcp = document.get("mcp")
    if not isinstance(mcp, dict) or not isinstance(mcp.get("servers"), dict):
        return document
    servers = {
        name: {**server, "name": name}
        for name, server in sorted(mcp["servers"].items())
        if isinstance(server, dict) and ("cmd" in server) != ("url" in server)
    }
    return {**document, "mcp": {**mcp, "servers": servers}}


def _table(value: Any, *names: str) -> dict[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _downstreams(document: dict[str, Any]) -> Iterator[Mistake]:
    mcp = _table(document, "mcp")
    if mcp.get("enabled") is False:
        yield Mistake(("mcp", "enabled"), "true: there is nothing to serve otherwise", "false")
    elif "servers" not in mcp or mcp["servers"] == {}:
        yield Mistake(
            _SERVERS, "", problem=f"no downstream server is configured; the smallest one is\n\n{EXAMPLE}\n"
        )


def _pinned(document: dict[str, Any]) -> Iterator[Mistake]:
    mcp, servers = _table(document, "mcp"), list(_table(document, *_SERVERS))
    pinned = mcp.get("pinned")
    for number, name in enumerate(pinned if isinstance(pinned, list) else ()):
        server, _, tool = name.partition(SEPARATOR) if isinstance(name, str) else ("", "", "")
        if isinstance(name, str) and (not tool or server not in servers):
            near = get_close_matches(server, servers, n=1)
            hint = f'did you mean "{near[0]}{SEPARATOR}…"?' if near else None
            yield Mistake(("mcp", "pinned", number), "", hint=hint, problem=_PINNED)


def _servers(document: dict[str, Any]) -> Iterator[Mistake]:
    for name, server in _table(document, *_SERVERS).items():
        key = (*_SERVERS, name)
        if not is_server(name):
            yield Mistake(key, "", problem=_NAME)
        if name in RESERVED:
            yield Mistake(key, "", problem="is no name for a server: clients of MCP 2024-11-05 use its path")
        if not isinstance(server, dict):
            yield Mistake(
                key, "a table with `cmd` (a child process) or `url` (a server over HTTP)", "no table"
            )
            continue
        yield from _kind(key, server)
        yield from _sharing(key, server)
        yield from _tls((*key, "tls"), _table(server, "tls"))
        yield from check_auth((*key, "auth"), _table(server, "auth"))
        yield from check_rules((*key, "headers"), server.get("headers"))
        yield from check_delegated(key, server, oauth="oauth" in _table(document, "server"))


def _kind(key: Key, server: dict[str, Any]) -> Iterator[Mistake]:
    if "name" in server:
        yield Mistake((*key, "name"), "", problem="unknown key; the name of a server is that of its table")
    both = "`cmd` (a child process) or `url` (a server over HTTP)"
    if "cmd" in server and "url" in server:
        yield Mistake(key, f"either {both}, not the two together", "both")
    elif "cmd" not in server and "url" not in server:
        near = next((near for word in server for near in get_close_matches(word, ("cmd", "url"))), None)
        yield Mistake(key, both, "neither", f'did you mean "{near}"?' if near else None)


def _sharing(key: Key, server: dict[str, Any]) -> Iterator[Mistake]:
    if server.get("sharing", "shared") == "shared":
        if "max_sessions" in server:
            yield Mistake((*key, "max_sessions"), "", problem='bounds nothing where sharing is "shared"')
    elif "instances" in server:
        yield Mistake(
            (*key, "instances"), "", problem='is for sharing = "shared"; callers have one each here'
        )


def _tls(key: Key, tls: dict[str, Any]) -> Iterator[Mistake]:
    if "ca_bundle" in tls and "root_ca_cert_path" in tls:
        yield Mistake(
            (*key, "ca_bundle"), "", problem="means the same as root_ca_cert_path; remove one of the two"
        )
    certificate, private = "client_cert_path" in tls, "client_key_path" in tls
    if certificate != private:
        missing = "client_key_path" if certificate else "client_cert_path"
        yield Mistake((*key, missing), "", problem="is missing: a client certificate and its key go together")


def _paths(document: dict[str, Any]) -> Iterator[Mistake]:
    health, metrics = _table(document, "server", "health"), _table(document, "server", "metrics")
    path = _table(document, "mcp").get("path", "/mcp")
    live, measured = health.get("path", "/health"), metrics.get("path", "/metrics")
    if live in ("/ready", "/metrics"):
        yield Mistake(
            ("server", "health", "path"), "", problem='"/ready" and "/metrics" have a meaning of their own'
        )
    if measured in ("/ready", live):
        why = 'is that of server.health.path, or "/ready", which have a meaning of their own'
        yield Mistake(("server", "metrics", "path"), "", problem=why)
    if not isinstance(path, str) or not path.startswith("/"):
        return
    shared = health.get("enabled") is not False and "listen" not in health
    if shared and (_under(live, path) or _under("/ready", path)):
        why = 'clashes with server.health.path or with "/ready": the path and all below it are for servers'
        yield Mistake(("mcp", "path"), "", problem=why)
    if shared and metrics.get("enabled") is True and _under(measured, path):
        why = "clashes with mcp.path: the path and all below it are for servers"
        yield Mistake(("server", "metrics", "path"), "", problem=why)
    if _under(path, "/.well-known"):
        yield Mistake(("mcp", "path"), "", problem='clashes with "/.well-known", which serves metadata')


def _under(path: object, root: str) -> bool:
    return isinstance(path, str) and (path == root or path.startswith(f"{root.rstrip('/')}/"))
