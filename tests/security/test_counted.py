"""Names of callers and tools as parts of keys in a shared storage: F4."""

from __future__ import annotations

import itertools
import re
import tomllib

from libs.common.config import Config
from libs.common.identity import Principal
from services.router.limits.rules import Facts, Rules

CONFIG = """
[server.rate_limits]
enabled = true
per_user = { limit = 5, interval = "60s" }
[mcp.servers.git]
name = "git"
cmd = ["git"]
[mcp.servers.git.rate_limits]
per_user = { limit = 5, interval = "60s" }
tools.log = { per_user = { limit = 5, interval = "60s" } }
tools."x:log" = { per_user = { limit = 5, interval = "60s" } }
"""
HOSTILE = ("a", "a:tool:x", "a|x", "{a}", "}{", "a\x00b", "a\r\nDEL k", "*", "ü", "a" * 10_000_000)
KEY = re.compile(r"[0-9a-f]{32}\Z")


def keys(rules: Rules, subject: str, issuer: str, tool: str) -> set[str]:
    principal = Principal(subject, issuer, tier="authenticated")
    levels = rules.levels(Facts(principal, "git", tool))
    assert {level.scope for level in levels} >= {"user", "server/user"}
    assert all(KEY.match(level.key) for level in levels)
    return {f"{level.scope}:{level.key}" for level in levels}


def test_f4_no_name_reaches_the_counter_of_another() -> None:
    rules = Rules(Config.model_validate(tomllib.loads(CONFIG)))
    pairs = [(subject, issuer) for subject in HOSTILE for issuer in ("", "idp", "idp|a")]
    seen = [keys(rules, subject, issuer, "") for subject, issuer in pairs]
    for one, other in itertools.combinations(seen, 2):
        assert not one & other


def test_f4_where_one_name_ends_and_the_next_begins_is_never_in_doubt() -> None:
    rules = Rules(Config.model_validate(tomllib.loads(CONFIG)))
    assert not keys(rules, "a:x", "idp", "log") & keys(rules, "a", "idp", "x:log")
    assert not keys(rules, "x", "idp|a", "log") & keys(rules, "a|x", "idp", "log")
