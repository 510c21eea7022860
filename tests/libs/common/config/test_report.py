from __future__ import annotations

from pathlib import Path

import pytest

from libs.common.config import load
from libs.common.errors import ConfigError
from tests.libs.common.config.conftest import TIME, Wrong

FIVE = """
[server]
listen_address = "localhost:8000"
helth = { enabled = false }

[mcp.servers.git]
cmd = "git-mcp"
stderr = "inherrit"

[mcp.servers.api]
url = "https://api.example/mcp"
tls = { verify_certs = "yes" }
"""
STREAMS = '"null", "inherit", "pipe" or { file = "/path/to/log" }'
ADDRESSES = 'such as "127.0.0.1:8000" or "[::1]:8000" (host names are not looked up)'
FIVE_FOUND = [
    'mcp.servers.api.tls.verify_certs: found "yes", expected true or false',
    'mcp.servers.git.cmd: found "git-mcp", expected an array',
    f'mcp.servers.git.stderr: found "inherrit", expected {STREAMS}; did you mean "inherit"?',
    'server.helth: unknown key; did you mean "health"?',
    f'server.listen_address: found "localhost:8000", expected an IP address and a port, {ADDRESSES}',
]


def test_five_mistakes_in_one_file_are_all_reported_with_their_facts(tmp_path: Path) -> None:
    path = tmp_path / "nexus.toml"
    path.write_text(FIVE)
    with pytest.raises(ConfigError) as caught:
        load(path, env={})
    head, *lines = str(caught.value).splitlines()
    assert head == "5 mistakes in the configuration"
    assert [line.removeprefix(f"{path}: ") for line in lines] == FIVE_FOUND
    assert all(line.startswith(str(path)) for line in lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server = 1", "server: found 1, expected a table"),
        (
            "server.listen_address = 8000",
            "server.listen_address: found 8000, expected an IP address and a port",
        ),
        ('server.listen_address = "127.0.0.1"', "expected an IP address and a port"),
        ('server.listen_address = "127.0.0.1:65536"', "expected an IP address and a port"),
        ('server.listen_address = "::1:80"', "expected an IP address and a port"),
        ('server.listen_address = "[127.0.0.1]:80"', "expected an IP address and a port"),
        ("server.health.enabled = 1", "server.health.enabled: found 1, expected true or false"),
        (
            'server.health.path = "health"',
            'server.health.path: found "health", expected a path that begins with',
        ),
        ("server.health = true", "server.health: found true, expected a table"),
        ('server.tls.key = "/k"', "server.tls.certificate: is missing: this key is required"),
        (
            'server.tls = { certificate = "", key = 5 }',
            'server.tls.certificate: found "", expected the path of a file',
        ),
        (
            'server.tls = { certificate = "/c", key = 5 }',
            "server.tls.key: found 5, expected text: the path of a file",
        ),
        ("server.max_body_size = 0", "server.max_body_size: found 0, expected a number of bytes"),
        ("server.max_body_size = true", "server.max_body_size: found true, expected a number of bytes"),
        (
            'server.max_body_size = "4 apples"',
            'found "4 apples", expected a number of bytes, or text such as "4MiB"',
        ),
        ("server.drain_timeout = -1", "server.drain_timeout: found -1, expected a duration such as"),
        (
            "server.drain_timeout = 1979-05-27",
            "server.drain_timeout: found 1979-05-27, expected a duration such as",
        ),
        ('server.allowed_hosts = "a"', 'server.allowed_hosts: found "a", expected an array'),
        (
            'server.allowed_hosts = ["a", "http://b"]',
            'server.allowed_hosts[1]: found "http://b", expected a host name',
        ),
        ('server.allowed_origins = ["*"]', 'server.allowed_origins[0]: found "*", expected an origin'),
        (
            'server.allowed_origins = ["https://a/b"]',
            "expected an origin: scheme, host and port without a path",
        ),
        ("mcp.call_timeout = 0", "mcp.call_timeout: found 0, expected a duration longer than zero"),
        ('mcp.call_timeout = "soon"', 'mcp.call_timeout: found "soon", expected a duration such as "30s"'),
        (
            "mcp.enable_structured_content = 0",
            "mcp.enable_structured_content: found 0, expected true or false",
        ),
        ("mcp.headers = {}", "mcp.headers: found a table, expected an array"),
        ('nats.url = "http://x"', "nats.url: found <secret>, expected the URL of a NATS server"),
        ('audit.signing_key = "x"', "audit.signing_key: found <secret>, expected base64 of 32 random bytes"),
        ('seal.keys = "x"', "seal.keys: found <secret>, expected an array"),
        ('seal.keys = ["c2hvcnQ="]', "seal.keys[0]: found <secret>, expected base64 of 32 random bytes"),
        ('seal.keys = ["not base64!"]', "seal.keys[0]: found <secret>, expected base64 of 32 random bytes"),
    ],
)
def test_a_wrong_value_is_shown_beside_what_was_expected(wrong: Wrong, text: str, said: str) -> None:
    lines = wrong(f"{text}\n{TIME}")
    assert said in lines[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("serve.x = 1", 'serve: unknown key; did you mean "server"?'),
        ("[servers.x]", 'servers: unknown key; did you mean "mcp.servers"?'),
        ("mcp.listen_address = 1", 'mcp.listen_address: unknown key; did you mean "server.listen_address"?'),
        (
            "mcp.servers.time.token = 1",
            'mcp.servers.time.token: unknown key; did you mean "mcp.servers.time.auth.token"?',
        ),
        ("server.oath = {}", 'server.oath: unknown key; did you mean "oauth"?'),
        ("zzz = 1", "zzz: unknown key"),
        ('"a b"."c.d" = 1', '"a b": unknown key'),
    ],
)
def test_an_unknown_key_gets_the_nearest_known_one(wrong: Wrong, text: str, said: str) -> None:
    assert wrong(f'mcp.servers.time.cmd = ["x"]\n{text}\n') == [said]


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="there is no such file; create it, or name another one with --config"
    ) as it:
        load(tmp_path / "none.toml", env={})
    assert "[mcp.servers." in str(it.value)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, env={})


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b'a = "\xff"')
    with pytest.raises(ConfigError, match="not UTF-8 text at byte 5"):
        load(tmp_path / "x.toml", env={})


def test_a_syntax_error_has_its_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[mcp]\nenabled = tru\n")
    with pytest.raises(
        ConfigError, match=r"x\.toml: the file is not TOML at line 2, column 11: Invalid value"
    ):
        load(tmp_path / "x.toml", env={})


@pytest.mark.parametrize("text", ["", "[mcp]", "[mcp.servers]", "[server]"])
def test_a_file_without_servers_gets_a_small_example(wrong: Wrong, text: str) -> None:
    lines = wrong(text)
    assert lines[0].startswith("mcp.servers: no downstream server is configured")
    assert "[mcp.servers.time]" in lines


def test_a_gateway_with_nothing_enabled_is_refused(wrong: Wrong) -> None:
    assert wrong(f"mcp.enabled = false\n{TIME}") == [
        "mcp.enabled: found false, expected true: there is nothing to serve otherwise"
    ]


@pytest.mark.parametrize(
    "text",
    [
        'mcp.path = "/health"',
        'mcp.path = "/ready"',
        'mcp.path = "/"',
        'mcp.path = "/.well-known/mcp"',
        'mcp.path = "/m"\nserver.health.path = "/m"',
        'mcp.path = "/m"\nserver.health.path = "/m/health"',
    ],
)
def test_the_path_of_mcp_must_be_free(wrong: Wrong, text: str) -> None:
    assert "mcp.path: clashes with" in wrong(f"{text}\n{TIME}")[0]


@pytest.mark.parametrize("health", ["enabled = false", 'listen = "127.0.0.1:0"'])
def test_a_health_path_on_no_listener_or_another_clashes_with_nothing(health: str, tmp_path: Path) -> None:
    path = tmp_path / "nexus.toml"
    path.write_text(f'mcp.path = "/health"\nserver.health.{health}\n{TIME}')
    assert load(path, env={}).mcp.path == "/health"


@pytest.mark.parametrize(
    "path", ["mcp", "", "/mcp/", "//mcp", "/m cp", "/mcp?x", "/a/../b", "/{x}", "/mcp#a"]
)
def test_the_path_of_mcp_is_a_plain_absolute_path(wrong: Wrong, path: str) -> None:
    assert wrong(f'mcp.path = "{path}"\n{TIME}')[0].startswith(
        f'mcp.path: found "{path}", expected a path that'
    )


@pytest.mark.parametrize("path", ["/ready", "/health"])
def test_metrics_take_no_path_with_another_meaning(wrong: Wrong, path: str) -> None:
    assert wrong(f'server.metrics.path = "{path}"\n{TIME}')[0].startswith("server.metrics.path: is that of")


def test_metrics_beside_mcp_are_not_below_it(wrong: Wrong) -> None:
    text = f'server.metrics = {{ enabled = true, path = "/mcp/metrics" }}\n{TIME}'
    assert wrong(text)[0].startswith("server.metrics.path: clashes with mcp.path")


@pytest.mark.parametrize("path", ["/ready", "/metrics"])
def test_liveness_takes_no_path_with_another_meaning(wrong: Wrong, path: str) -> None:
    assert wrong(f'server.health.path = "{path}"\n{TIME}')[0].startswith("server.health.path: ")
