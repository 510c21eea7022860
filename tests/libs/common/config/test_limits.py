from __future__ import annotations

import pytest

from libs.common.config import Rate
from tests.libs.common.config.conftest import TIME, Read, Wrong

SERVER = '[mcp.servers.db]\nurl = "https://db.example"\n'
LIMITS = "server.rate_limits"


def on(keys: str) -> str:
    return f"{LIMITS} = {{ enabled = true, {keys} }}"


def test_without_the_table_nothing_is_limited(read: Read) -> None:
    config = read(TIME)
    assert config.server.rate_limits is None
    assert config.mcp.servers["time"].rate_limits is None


def test_the_storage_has_these_defaults(read: Read) -> None:
    limits = read(f"[{LIMITS}]\nenabled = true\n{TIME}").server.rate_limits
    assert limits
    assert limits.storage.model_dump() == {
        "type": "memory",
        "url": None,
        "key_prefix": "nexus:rate_limit:",
        "response_timeout": 1,
        "connection_timeout": 5,
        "call_timeout": 0.25,
        "pool": {
            "max_size": 16,
            "min_idle": 0,
            "timeout_create": 5,
            "timeout_wait": 5,
            "timeout_recycle": 300,
        },
        "tls": None,
    }
    assert (limits.mode, limits.on_storage_error) == ("exact", "local-share")


def test_every_level_is_taken_over(read: Read) -> None:
    config = read(
        f"""
        [{LIMITS}]
        enabled = true
        mode = "smooth"
        on_storage_error = "deny"
        global = {{ limit = 1000, interval = "60s" }}
        per_ip = {{ limit = 100, interval = "1m" }}
        per_user = {{ limit = 9, interval = 1, max_in_flight = 4, groups.a = {{ limit = 1, interval = 1 }} }}
        per_group.a = {{ limit = 5, interval = "1s" }}
        tiers.premium = {{ limit = 1000, interval = "1m" }}
        {SERVER}
        [mcp.servers.db.rate_limits]
        limit = 30
        interval = "0.5s"
        max_in_flight = 2
        [mcp.servers.db.rate_limits.tools]
        "search code" = {{ limit = 30, interval = "60s" }}
        create.per_group.x = {{ limit = 3, interval = "6s" }}
        """
    )
    limits, server = config.server.rate_limits, config.mcp.servers["db"].rate_limits
    assert limits
    assert server
    assert (limits.overall, limits.per_ip) == (Rate(limit=1000, interval=60), Rate(limit=100, interval=60))
    assert limits.per_user
    assert (limits.per_user.limit, limits.per_user.interval, limits.per_user.max_in_flight) == (9, 1, 4)
    assert limits.per_user.groups == {"a": Rate(limit=1, interval=1)}
    assert (limits.per_group["a"].limit, limits.tiers.premium) == (5, Rate(limit=1000, interval=60))
    assert (server.limit, server.interval, server.max_in_flight) == (30, 0.5, 2)
    assert server.tools["search code"].limit == 30
    assert server.tools["create"].per_group == {"x": Rate(limit=3, interval=6)}


def test_limits_of_groups_need_no_limit_beside_them(read: Read) -> None:
    text = f"""{SERVER}
    [mcp.servers.db.rate_limits.per_user.groups.free]
    limit = 100
    interval = "3600s"
    [mcp.servers.db.rate_limits.per_user.groups.enterprise]
    limit = 10000
    interval = "3600s"
    """
    rates = read(text).mcp.servers["db"].rate_limits
    assert rates
    assert rates.per_user
    assert rates.per_user.groups["enterprise"] == Rate(limit=10_000, interval=3600)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"[{LIMITS}]\nglobal = {{ limit = 1, interval = 1 }}", f"{LIMITS}.enabled: is missing"),
        (on("global = { limit = 1 }"), f"{LIMITS}.global.interval: is missing"),
        (on("per_user = { limit = 1 }"), "per_user.interval: is missing: `limit`"),
        (on("per_ip = { limit = 0, interval = 1 }"), "per_ip.limit: found 0, ex"),
        (on("per_ip = { limit = 1, interval = 0 }"), "longer than zero"),
        (on('storage = { type = "redis" }'), "storage.url: is missing: give the URL"),
        (on('storage = { type = "reddis" }'), 'did you mean "redis"?'),
        (on("glob = 1"), 'unknown key; did you mean "global"?'),
        (on('on_storage_error = "open"'), '"local-share" or "allow" or "deny"'),
        (f'{SERVER}rate_limits = {{ interval = "1s" }}', "rate_limits.limit: is missing: `limit`"),
        (f"{SERVER}rate_limits = {{ tools.x = {{ limit = 1 }} }}", "tools.x.interval: is missing: `limit`"),
        (f"{SERVER}rate_limits = {{ per_user = {{ limit = 1 }} }}", "s.per_user.interval: is missing"),
    ],
)  # fmt: skip
def test_a_mistake_in_limits_is_named(wrong: Wrong, text: str, line: str) -> None:
    (said,) = wrong(f"{text}\n{TIME}")
    assert line in said


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ('url = "http://x"', "expected the URL of a Redis or Valkey"),
        ('key_prefix = "a b"', "key_prefix: found"),
        ('key_prefix = "a{}"', "key_prefix: found"),
        ('tls = { enabled = true, client_cert_path = "/c" }', "tls.client_key_path: is missing"),
        ("tls = { insecure = true }", "tls.enabled: is missing"),
        ('url = "rediss://x"\ntls = { enabled = false }', "tls.enabled: contradicts the URL"),
        ("pool.max_size = 0", "pool.max_size: found 0, expected"),
        ("pool.min_idle = -1", "pool.min_idle: found -1"),
    ],
)
def test_a_mistake_in_the_storage_is_named(wrong: Wrong, given: str, line: str) -> None:
    url = "" if "url" in given else 'url = "redis://x"\n'
    text = f'[{LIMITS}]\nenabled = true\n[{LIMITS}.storage]\ntype = "redis"\n{url}{given}\n{TIME}'
    (said,) = wrong(text)
    assert line in said


def test_a_variable_switches_the_tiers_on(read: Read) -> None:
    env = {"MCP_RATE_LIMIT_ENABLED": "true", "NEXUS_MCP_RATE_LIMIT_PREMIUM": "20 per 5 seconds"}
    limits = read(TIME, env=env).server.rate_limits
    assert limits
    assert limits.enabled
    assert limits.tiers.anonymous == Rate(limit=60, interval=60)
    assert limits.tiers.authenticated == Rate(limit=300, interval=60)
    assert limits.tiers.premium == Rate(limit=20, interval=5)
    assert limits.storage.type == "memory"


@pytest.mark.parametrize("variable", ["NEXUS_REDIS_URL", "DRAGONFLY_URL"])
def test_a_variable_names_the_storage(read: Read, variable: str) -> None:
    text = f"[{LIMITS}]\nenabled = true\ntiers.anonymous = {{ limit = 7, interval = 1 }}\n{TIME}"
    env = {variable: "redis://r:1/2", "NEXUS_MCP_RATE_LIMIT_AUTHENTICATED": "3/s"}
    limits = read(text, env=env).server.rate_limits
    assert limits
    assert (limits.storage.type, limits.storage.secret().get_secret_value()) == ("redis", "redis://r:1/2")
    assert limits.tiers.anonymous == Rate(limit=7, interval=1)
    assert limits.tiers.authenticated == Rate(limit=3, interval=1)


def test_limits_of_a_server_alone_are_counted_where_the_variable_says(read: Read) -> None:
    text = f"{SERVER}rate_limits = {{ limit = 1, interval = 1 }}"
    limits = read(text, env={"NEXUS_REDIS_URL": "redis://r"}).server.rate_limits
    assert limits
    assert (limits.enabled, limits.storage.type) == (True, "redis")


def test_variables_change_nothing_where_nothing_is_limited(read: Read) -> None:
    env = {"NEXUS_REDIS_URL": "redis://r", "NEXUS_MCP_RATE_LIMIT_ANONYMOUS": "1/s"}
    assert read(TIME, env=env).server.rate_limits is None


@pytest.mark.parametrize("rate", ["many", "5", "0/second", "5/fortnight", "-1/s", "5/0 s"])
def test_a_variable_that_is_no_rate_is_a_mistake_and_not_shown(wrong: Wrong, rate: str) -> None:
    env = {"MCP_RATE_LIMIT_ENABLED": "1", "NEXUS_MCP_RATE_LIMIT_ANONYMOUS": rate}
    (line,) = wrong(TIME, env=env)
    assert line.startswith("server.rate_limits.tiers.anonymous")
    assert f'"{rate}"' not in line


def test_the_url_of_the_storage_is_a_secret(read: Read) -> None:
    text = f'[{LIMITS}]\nenabled = true\nstorage = {{ type = "redis", url = "redis://:hunter2@x" }}\n{TIME}'
    assert "hunter2" not in repr(read(text))
