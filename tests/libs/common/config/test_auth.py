"""The kinds of `auth` of a server: what each needs, and what does not go together."""

from __future__ import annotations

import pytest

from libs.common.config import ClientCredentials, HttpServer, OperatorLogin, TokenAuth
from tests.libs.common.config.conftest import Read, Wrong

URL = '[mcp.servers.a]\nurl = "https://x.example"\n'
MACHINE = f'{URL}auth.type = "client-credentials"\nauth.client_id = "me"\n'
LOGIN = f'{URL}auth.type = "oauth"\n'
SECRET = "hunter2hunter2"


def auth(read: Read, text: str) -> object:
    server = read(text).mcp.servers["a"]
    assert isinstance(server, HttpServer)
    return server.auth


def test_a_token_alone_needs_no_type(read: Read) -> None:
    assert isinstance(auth(read, f'{URL}auth.token = "t"'), TokenAuth)


def test_the_kind_of_secret_says_how_a_client_proves_who_it_is(read: Read) -> None:
    found = auth(read, f'{MACHINE}auth.client_secret = "s"')
    assert isinstance(found, ClientCredentials)
    assert found.method == "client_secret_basic"
    found = auth(read, f'{MACHINE}auth.private_key = "k"')
    assert isinstance(found, ClientCredentials)
    assert found.method == "private_key_jwt"
    posted = f'{MACHINE}auth.client_secret = "s"\nauth.token_endpoint_auth_method = "client_secret_post"'
    found = auth(read, posted)
    assert isinstance(found, ClientCredentials)
    assert found.method == "client_secret_post"


def test_a_login_needs_nothing_else(read: Read) -> None:
    assert isinstance(auth(read, LOGIN), OperatorLogin)
    full = f'{LOGIN}auth.client_id = "me"\nauth.client_secret = "s"\nauth.scopes = ["a", "b"]'
    found = auth(read, full)
    assert isinstance(found, OperatorLogin)
    assert found.scopes == ("a", "b")


WRONG = [
    (
        f'{URL}auth.type = "forward"\nsharing = "per-principal"',
        'sharing: does not go with auth.type = "forward": each token has a session of its own',
    ),
    (f'{URL}auth.type = "forward"', "auth.type: is for callers with a token: set [server.oauth]"),
    (
        f'{URL}auth.type = "token-exchange"',
        "auth: needs either client_secret or private_key",
    ),
    (
        f'{URL}auth.type = "token-exchange"\nauth.client_id = "me"\nauth.client_secret = "s"',
        "auth.issuer: is missing, and token_url too: tokens of callers are sent to nobody",
    ),
    (
        f'{URL}auth.type = "oauht"',
        'auth.type: is one of "client-credentials", "oauth", "forward", "token-exchange"; a token alone',
    ),
    (f"{URL}auth.type = 1", "auth.type: is"),
    (MACHINE, "auth: needs either client_secret or private_key"),
    (f'{MACHINE}auth.client_secret = "s"\nauth.private_key = "k"', "auth: needs either"),
    (
        f'{MACHINE}auth.client_secret = "s"\nauth.token_endpoint_auth_method = "private_key_jwt"',
        "auth.token_endpoint_auth_method: does not go with the kind of secret",
    ),
    (f'{URL}auth.type = "client-credentials"\nauth.client_secret = "s"', "auth.client_id: is missing"),
    (f'{LOGIN}auth.client_secret = "s"', "auth.client_id: is missing: a client_secret belongs"),
    (
        f'{LOGIN}auth.client_id = "me"\nauth.client_metadata_url = "https://x.example/c"',
        "auth.client_metadata_url: is a client_id of its own",
    ),
    (f'{LOGIN}auth.scopes = ["a b"]', "auth.scopes[0]: found"),
    (f'{LOGIN}auth.token = "t"', "auth.token: unknown key"),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_does_not_go_together_is_told(wrong: Wrong, text: str, said: str) -> None:
    lines = wrong(text)
    assert any(line.startswith(f"mcp.servers.a.{said}") for line in lines), lines


@pytest.mark.parametrize("key", ["client_secret", "private_key"])
def test_a_secret_of_a_client_is_in_no_error(wrong: Wrong, read: Read, key: str) -> None:
    assert SECRET not in "\n".join(wrong(f'{MACHINE}auth.{key} = ["{SECRET}"]'))
    assert SECRET not in repr(read(f'{MACHINE}auth.{key} = "{SECRET}"'))
