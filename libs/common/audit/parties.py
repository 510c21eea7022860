"""Who acts, and from where, as members of an event's JSON. Pure."""

from __future__ import annotations

import ipaddress

from libs.common.audit.text import LONG, listed, quoted
from libs.common.identity import Principal

GROUPS_MAX = 2048
"""Bytes of a caller's groups."""


def actor(principal: Principal, app: str, session: str) -> bytes:
    """The member `actor`: the principal, its session, and the program it uses."""
    apps = b'"app_name":%b,' % quoted(app) if app else b""
    apps += b'"app_uid":%b,' % quoted(principal.client) if principal.client else b""
    issuer = b'"issuer":%b' % quoted(principal.issuer) if principal.issuer else b""
    number = b'"uid":%b' % quoted(session) if session else b""
    opened = b",".join(filter(None, (issuer, number)))
    sessions = b'"session":{%b},' % opened if opened else b""
    return b'"actor":{%b%b"user":%b},' % (apps, sessions, user(principal))


def user(principal: Principal) -> bytes:
    """The object `user` of a principal."""
    groups = b'"groups":%b,' % _groups(principal.groups) if principal.groups else b""
    return b'{%b"uid":%b}' % (groups, quoted(principal.subject))


def _groups(groups: tuple[str, ...]) -> bytes:
    names = listed(groups, 128, GROUPS_MAX)
    return b'[{"name":%b}]' % names[1:-1].replace(b'","', b'"},{"name":"')


def requested(user_agent: str, path: str) -> bytes:
    """The member `http_request`, empty if nothing is known of it."""
    if not user_agent and not path:
        return b""
    url = b'"url":{"path":%b}' % quoted(path) if path else b""
    agent = b'"user_agent":%b' % quoted(user_agent, LONG) if user_agent else b""
    return b'"http_request":{%b},' % b",".join(filter(None, (url, agent)))


def source(address: str) -> bytes:
    """The member `src_endpoint`: an address, or that there is none."""
    try:
        ip = str(ipaddress.ip_address(address))
    except ValueError:
        return b'"src_endpoint":{"name":"unknown"},'
    return b'"src_endpoint":{"ip":"%b"},' % ip.encode()
