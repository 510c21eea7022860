from __future__ import annotations

import pytest

from libs.common.errors import HeaderMismatch, HostRefused, InvalidRequest, NexusError, OriginRefused
from services.edge.guard import admit
from services.edge.headers import read_headers

HOSTS = frozenset({"gateway.example.com"})
ORIGINS = frozenset({"https://app.example.com"})


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1:1",
        "10.1.2.3:8000",
        "[::1]:8000",
        "[2001:db8::1]",
        "gateway.example.com",
        "Gateway.Example.com:443",
    ],
)
def test_a_served_host_is_admitted_with_any_port(host: str) -> None:
    admit(host, None, HOSTS, ORIGINS)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.com",
        "localhost.evil.com",
        "gateway.example.com.evil.com",
        "127.0.0.1.evil.com",
        "user@localhost",
        "localhost/",
        "localhost:80:80",
        "localhost:123456",
        "[::1",
        "[::1].evil",
        "[evil]",
        "localhost, evil.com",
        "localhost\n",
        "127.1",
    ],
)
def test_any_other_host_is_refused(host: str | None) -> None:
    with pytest.raises(HostRefused) as refused:
        admit(host, None, HOSTS, ORIGINS)
    assert refused.value.http == 421


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("localhost:8000", "http://localhost:3000"),
        ("localhost:8000", "http://127.0.0.1:3000"),
        ("[::1]:8000", "http://127.0.0.1:5173"),
        ("10.1.2.3:8000", "http://10.1.2.3:8000"),
        ("gateway.example.com", "https://gateway.example.com"),
        ("gateway.example.com:443", "https://GATEWAY.example.com"),
        ("gateway.example.com", "https://app.example.com"),
        ("10.1.2.3", "https://App.example.com"),
    ],
)
def test_a_page_of_the_same_or_an_allowed_origin_may_call(host: str, origin: str) -> None:
    admit(host, origin, HOSTS, ORIGINS)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost", ""),
        ("localhost", "null"),
        ("localhost", "http://evil.com"),
        ("localhost", "http://localhost.evil"),
        ("localhost", "http://localhost/path"),
        ("localhost", "http://localhost/"),
        ("localhost", "http://localhost http://evil.com"),
        ("localhost", "http://localhost, http://evil.com"),
        ("localhost", "http://[::1].evil"),
        ("localhost", "http://[::1]evil"),
        ("localhost", "file://localhost"),
        ("localhost", "http://user@localhost"),
        ("localhost", "localhost"),
        ("10.1.2.3:8000", "http://localhost:8000"),
        ("10.1.2.3:8000", "http://10.1.2.3:9000"),
        ("gateway.example.com", "http://app.example.com"),
        ("gateway.example.com", "https://app.example.com:8443"),
        ("gateway.example.com", "http://localhost"),
    ],
)
def test_any_other_page_is_refused(host: str, origin: str) -> None:
    with pytest.raises(OriginRefused) as refused:
        admit(host, origin, HOSTS, ORIGINS)
    assert refused.value.http == 403


def test_header_values_lose_their_outer_white_space_only() -> None:
    assert read_headers([(b"mcp-name", b"\t a b \t")]) == {"mcp-name": "a b"}


def test_headers_that_are_lists_are_joined() -> None:
    assert read_headers([(b"accept", b"a/b"), (b"accept", b"c/d")]) == {"accept": "a/b, c/d"}


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (b"mcp-method", HeaderMismatch),
        (b"mcp-name", HeaderMismatch),
        (b"mcp-protocol-version", HeaderMismatch),
        (b"mcp-param-region", HeaderMismatch),
        (b"mcp-session-id", InvalidRequest),
        (b"authorization", InvalidRequest),
        (b"content-type", InvalidRequest),
        (b"content-length", InvalidRequest),
        (b"host", InvalidRequest),
        (b"origin", InvalidRequest),
    ],
)
def test_a_header_that_can_be_there_once_is_refused_twice(name: bytes, error: type[NexusError]) -> None:
    with pytest.raises(error, match="more than once"):
        read_headers([(name, b"1"), (name, b"1")])


def test_a_header_name_with_an_underscore_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="underscores"):
        read_headers([(b"mcp_session_id", b"1")])


def test_two_framings_of_one_body_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="not both"):
        read_headers([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")])
