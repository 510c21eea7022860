"""Who acts and from where, as JSON: the parts of an event that repeat from one to the next. Pure.

What is remembered is small: a text of a stranger that is long is written anew each time.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from libs.common.audit.events import Event
from libs.common.audit.text import LONG, listed, quoted
from libs.common.identity import Principal

REMEMBERED = 2_000
"""Callers, addresses and programs whose JSON is kept."""
KEPT_MAX = 256
"""Characters of a text that is remembered."""
GROUPS_MAX = 2048


def actor(event: Event) -> bytes:
    """The member `actor`: the principal, its session, and the program it uses."""
    principal = event.principal
    small = len(principal.subject) + len(event.app) <= KEPT_MAX and len(principal.groups) <= 16
    write = _actor if small else _actor.__wrapped__
    return write(
        principal.subject,
        principal.issuer,
        principal.groups,
        principal.client,
        event.app,
        event.session,
    )


@lru_cache(maxsize=REMEMBERED)
def _actor(subject: str, issuer: str, groups: tuple[str, ...], client: str, app: str, session: str) -> bytes:
    apps = b'"app_name":%b,' % quoted(app) if app else b""
    apps += b'"app_uid":%b,' % quoted(client) if client else b""
    named = b'"issuer":%b' % quoted(issuer) if issuer else b""
    number = b'"uid":%b' % quoted(session) if session else b""
    opened = b",".join(filter(None, (named, number)))
    sessions = b'"session":{%b},' % opened if opened else b""
    return b'"actor":{%b%b"user":%b},' % (apps, sessions, _named(subject, groups))


def user(principal: Principal) -> bytes:
    """The object `user` of a principal."""
    return _named(principal.subject, principal.groups)


def _named(subject: str, groups: tuple[str, ...]) -> bytes:
    parts = b'"groups":%b,' % _groups(groups) if groups else b""
    return b'{%b"uid":%b}' % (parts, quoted(subject))


def _groups(groups: tuple[str, ...]) -> bytes:
    names = listed(groups, 128, GROUPS_MAX)
    return b'[{"name":%b}]' % names[1:-1].replace(b'","', b'"},{"name":"')


def requested(user_agent: str, path: str) -> bytes:
    """The member `http_request`, empty if nothing is known of it."""
    if not user_agent and not path:
        return b""
    return (_requested if len(user_agent) + len(path) <= KEPT_MAX else _requested.__wrapped__)(
        user_agent, path
    )


@lru_cache(maxsize=REMEMBERED)
def _requested(user_agent: str, path: str) -> bytes:
    url = b'"url":{"path":%b}' % quoted(path) if path else b""
    agent = b'"user_agent":%b' % quoted(user_agent, LONG) if user_agent else b""
    return b'"http_request":{%b},' % b",".join(filter(None, (url, agent)))


@lru_cache(maxsize=REMEMBERED)
def source(address: str) -> bytes:
    """The member `src_endpoint`: an address, or that there is none."""
    try:
        ip = str(ipaddress.ip_address(address))
    except ValueError:
        return b'"src_endpoint":{"name":"unknown"},'
    return b'"src_endpoint":{"ip":"%b"},' % ip.encode()
