"""The text of nats.conf: for the broker of a local run, and for compose.

Run as a module, it prints the one that `deploy/nats/nats.conf` holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from libs.common.grants import READER, ROLES, Grant, reader_grant, user_grant

USERS = (*ROLES, READER)
"""Who has a password: every role, and the reader of audit events."""
MAX_PAYLOAD = 9 * 1024 * 1024
"""Bytes of one message on the bus: a downstream's largest result and its envelope."""

_HEAD = """\
server_name: nexus
listen: {listen}
max_payload: {max_payload}
jetstream {{ store_dir: {store} }}
"""
_USER = """\
    {{
      user: {role}
      password: {password}
      permissions {{
        publish {{ allow: {publish} }}
        subscribe {{ allow: {subscribe} }}
      }}
    }}
"""
_NOTE = """\
# Made by `make deploy/nats/nats.conf` from libs/common/grants.py; edit that instead.
# The passwords are variables of the server's environment.
"""


def local_text(port: int, store: Path, passwords: Mapping[str, str]) -> str:
    """For loopback only; port -1 lets the server choose a free one."""
    quoted = {role: json.dumps(password) for role, password in passwords.items()}
    return _head(f"127.0.0.1:{port}", str(store)) + "logtime: false\n" + _users(quoted)


def compose_text() -> str:
    """For the container: every interface of its private network, health on loopback."""
    names = {user: f"${variable(user)}" for user in USERS}
    return _NOTE + _head("0.0.0.0:4222", "/data") + 'http: "127.0.0.1:8222"\n' + _users(names)


def variable(user: str) -> str:
    """The environment variable that holds the password of `user` in compose."""
    return f"NATS_{user.upper().replace('-', '_')}_PASSWORD"


def reader_text(name: str, tenant: str = "") -> str:
    """One more reader of audit events; `tenant` as it stands in a subject."""
    return _user(name, f"${variable(name)}", reader_grant(name, tenant))


def _head(listen: str, store: str) -> str:
    return _HEAD.format(listen=json.dumps(listen), max_payload=MAX_PAYLOAD, store=json.dumps(store))


def _users(passwords: Mapping[str, str]) -> str:
    users = "".join(_user(user, password, _grant(user)) for user, password in passwords.items())
    return f"authorization {{\n  users = [\n{users}  ]\n}}\n"


def _grant(user: str) -> Grant:
    return reader_grant(user) if user == READER else user_grant(user)


def _user(role: str, password: str, grant: Grant) -> str:
    return _USER.format(
        role=role, password=password, publish=_lines(grant.publish), subscribe=_lines(grant.subscribe)
    )


def _lines(patterns: tuple[str, ...]) -> str:
    inside = "".join(f"          {json.dumps(pattern)}\n" for pattern in dict.fromkeys(patterns))
    return f"[\n{inside}        ]"


if __name__ == "__main__":
    print(compose_text(), end="")
