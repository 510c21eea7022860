"""`[server.cors]` and `[server.csrf]`: every key, and what is no value for it."""

from __future__ import annotations

import pytest

from tests.libs.common.config.conftest import TIME, Read, Wrong

ALL = """
[server.cors]
allow_origins = ["https://App.example.com/path", "https://*.example.com"]
allow_methods = ["GET", "POST"]
allow_headers = "authorization"
expose_headers = ["mcp-session-id"]
allow_credentials = true
max_age = "10m"
allow_private_network = true

[server.csrf]
enabled = true
header_name = "X-Guard"
"""


def test_every_key_is_read(read: Read) -> None:
    server = read(ALL + TIME).server
    assert server.cors is not None
    assert server.cors.model_dump() == {
        "allow_origins": ("https://app.example.com", "https://*.example.com"),
        "allow_methods": ("GET", "POST", "OPTIONS"),
        "allow_headers": ("authorization",),
        "expose_headers": ("mcp-session-id",),
        "allow_credentials": True,
        "max_age": 600.0,
        "allow_private_network": True,
    }
    assert server.csrf.model_dump() == {"enabled": True, "header_name": "X-Guard"}


def test_what_is_not_set_is_not_allowed(read: Read) -> None:
    cors = read(f"[server.cors]\n{TIME}").server.cors
    assert cors is not None
    assert (cors.allow_origins, cors.allow_methods, cors.allow_headers) == ((), (), ())


@pytest.mark.parametrize("name", ["allow_origins", "allow_methods", "allow_headers", "expose_headers"])
def test_a_wildcard_does_not_go_with_credentials(wrong: Wrong, name: str) -> None:
    (line,) = wrong(f'[server.cors]\nallow_credentials = true\n{name} = "*"\n{TIME}')
    assert line.startswith(f"server.cors.{name}: cannot be")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("allow_origins", '"example.com"'),
        ("allow_origins", '["ftp://example.com"]'),
        ("allow_origins", '"https://*.example.com/path"'),
        ("allow_methods", '["get"]'),
        ("allow_headers", '["not a header"]'),
        ("max_age", '"soon"'),
        ("unknown", "1"),
    ],
)
def test_what_is_no_value_is_named(wrong: Wrong, key: str, value: str) -> None:
    (line,) = wrong(f"[server.cors]\n{key} = {value}\n{TIME}")
    assert line.startswith(f"server.cors.{key}")
