"""Which levels a call counts to, and whose counters they are."""

from __future__ import annotations

import tomllib
import tracemalloc
from typing import Any

import pytest

from libs.common.config import Config
from libs.common.identity import ANONYMOUS, Principal, Tier
from services.router.limits.limit import SECOND
from services.router.limits.rules import Facts, Rules

ANN = Principal("ann", "https://login.example", ("dev", "ops"), tier="authenticated", address="192.0.2.1")
BOB = Principal("bob", "https://login.example", tier="authenticated", address="192.0.2.2")

EVERYTHING = """
[server.rate_limits]
enabled = true
global = { limit = 1000, interval = "60s" }
per_ip = { limit = 100, interval = "60s" }
per_user = { limit = 90, interval = "60s" }
per_group.dev = { limit = 80, interval = "60s" }
tiers.anonymous = { limit = 60, interval = "60s" }
tiers.authenticated = { limit = 300, interval = "60s" }
[mcp.servers.git]
name = "git"
url = "https://git.example"
[mcp.servers.git.rate_limits]
limit = 50
interval = "60s"
per_user.groups.dev = { limit = 40, interval = "60s" }
per_group.ops = { limit = 45, interval = "60s" }
tools.log = { limit = 10, interval = "1h", per_user = { limit = 3, interval = "60s" } }
tools.show = { per_group = { dev = { limit = 2, interval = "60s" } } }
[mcp.servers.time]
name = "time"
cmd = ["time"]
"""


def rules(text: str = EVERYTHING) -> Rules:
    return Rules(Config.model_validate(tomllib.loads(text)))


def scopes(made: Rules, facts: Facts) -> dict[str, int]:
    return {level.scope: level.limit.limit for level in made.levels(facts)}


def key(made: Rules, facts: Facts, scope: str) -> str:
    return next(level.key for level in made.levels(facts) if level.scope == scope)


GATEWAY = {"global": 1000, "ip": 100, "tier": 300}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(ANONYMOUS), {"global": 1000, "ip": 100, "tier": 60, "user": 90}),
        (Facts(BOB), {**GATEWAY, "user": 90}),
        (Facts(ANN), {**GATEWAY, "user": 90, "group": 80}),
        (Facts(BOB, "time", "now"), {**GATEWAY, "user": 90}),
        (Facts(BOB, "git"), {**GATEWAY, "user": 90, "server": 50}),
        (Facts(BOB, "git", "log"), {**GATEWAY, "user": 90, "server": 50, "tool": 10, "tool/user": 3}),
        (
            Facts(ANN, "git", "show"),
            {
                **GATEWAY, "user": 90, "group": 80, "server": 50, "server/user": 40, "server/group": 45,
                "tool/group": 2,
            },
        ),
        (Facts(BOB, "nobody", "log"), {**GATEWAY, "user": 90}),
    ],
)  # fmt: skip
def test_a_call_counts_to_every_level_that_fits(facts: Facts, expected: dict[str, int]) -> None:
    assert scopes(rules(), facts) == expected


def test_intervals_are_taken_over_and_smooth_is_for_all() -> None:
    (level,) = (each for each in rules().levels(Facts(BOB, "git", "log")) if each.scope == "tool")
    assert (level.limit.window, level.limit.burst) == (3600 * SECOND, 0)
    smooth = rules(EVERYTHING.replace("enabled = true", 'enabled = true\nmode = "smooth"'))
    assert all(each.limit.burst for each in smooth.levels(Facts(ANN, "git", "log")))


@pytest.mark.parametrize(
    ("scope", "one", "other", "shared"),
    [
        ("global", Facts(ANN), Facts(BOB), True),
        ("server", Facts(ANN, "git", "log"), Facts(BOB, "git", "show"), True),
        ("tool", Facts(ANN, "git", "log"), Facts(BOB, "git", "log"), True),
        ("user", Facts(ANN), Facts(BOB), False),
        ("user", Facts(ANN), Facts(ANN, "git", "log"), True),
        ("user", Facts(Principal("ann", "https://other.example", tier="authenticated")), Facts(ANN), False),
        (
            "user",
            Facts(Principal("b", "a|", tier="premium")),
            Facts(Principal("|b", "a", tier="premium")),
            False,
        ),
        ("tool/user", Facts(ANN, "git", "log"), Facts(BOB, "git", "log"), False),
        ("ip", Facts(ANN), Facts(BOB), False),
        ("ip", Facts(ANN), Facts(Principal("bob", address="192.0.2.1")), True),
        ("tier", Facts(ANN), Facts(BOB), False),
    ],
)
def test_who_shares_a_counter(scope: str, one: Facts, other: Facts, shared: bool) -> None:
    made = rules()
    assert (key(made, one, scope) == key(made, other, scope)) is shared


def test_callers_without_a_name_are_users_by_their_address() -> None:
    made = rules()
    here, there = (Facts(Principal(address=address)) for address in ("192.0.2.1", "192.0.2.9"))
    for scope in ("user", "tier"):
        assert key(made, here, scope) != key(made, there, scope)


@pytest.mark.parametrize(("tier", "limit"), [("premium", 999), ("authenticated", 300), ("anonymous", 60)])
def test_the_tier_of_a_caller_has_its_own_limit(tier: Tier, limit: int) -> None:
    made = rules(EVERYTHING + '[server.rate_limits.tiers.premium]\nlimit = 999\ninterval = "60s"\n')
    assert scopes(made, Facts(Principal("ann", tier=tier)))["tier"] == limit


def test_of_several_groups_the_most_generous_is_the_users_own() -> None:
    groups = 'free = { limit = 100, interval = "1h" }, big = { limit = 10, interval = "60s" }'
    made = rules(
        EVERYTHING.replace(
            'per_user = { limit = 90, interval = "60s" }', f"per_user = {{ groups = {{ {groups} }} }}"
        )
    )
    for held, limit in ((("free",), 100), (("free", "big"), 10), (("big", "free", "free"), 10), ((), None)):
        assert scopes(made, Facts(Principal("ann", groups=held))).get("user") == limit


def test_a_group_that_is_claimed_twice_counts_once() -> None:
    levels = rules().levels(Facts(Principal("ann", groups=("dev", "dev"))))
    assert [each.scope for each in levels].count("group") == 1


OFF = [
    "",
    "[server.rate_limits]\nenabled = true\n",
    "[server.rate_limits]\nenabled = true\nper_user = { max_in_flight = 3 }\n",
    EVERYTHING.replace("enabled = true", "enabled = false"),
]


@pytest.mark.parametrize("text", OFF)
def test_nothing_to_count_is_known_beforehand(text: str) -> None:
    made = rules(text)
    assert not made
    assert made.levels(Facts(ANN, "git", "log")) == ()


@pytest.mark.parametrize(
    "text", [EVERYTHING, '[mcp.servers.a]\nname="a"\ncmd=["a"]\nrate_limits={limit=1,interval=1}']
)
def test_limits_of_a_server_need_no_table_of_the_gateway(text: str) -> None:
    assert rules(text)


def test_levels_are_remembered_and_not_without_end() -> None:
    made = rules()
    facts = Facts(ANN, "git", "log")
    assert made.levels(facts) is made.levels(facts)
    for number in range(5000):
        made.levels(Facts(Principal(f"u{number}")))
    assert made.cached.cache_info().currsize <= 4096


@pytest.mark.parametrize("text", ["x" * 5000, "a:b{c}\r\n*", "\x00"])
def test_what_a_caller_is_called_never_reaches_a_key(text: str) -> None:
    facts: Any = Facts(Principal(text, text, (text,), address=text), "git", "log")
    assert all(len(level.key) == 32 and level.key.isalnum() for level in rules().levels(facts))


def test_names_that_callers_make_up_are_not_kept() -> None:
    made = rules()
    tracemalloc.start()
    for number in range(100):
        assert "tool" not in scopes(made, Facts(ANN, "git", f"{number}" * 100_000))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2 * 1024 * 1024
