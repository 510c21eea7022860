from __future__ import annotations

import itertools
import tracemalloc

import pytest

from libs.common.identity import Principal
from libs.common.policy import Policy, Rule, Rules


def caller(*groups: str, scopes: tuple[str, ...] = ()) -> Principal:
    return Principal("alice", groups=groups, scopes=scopes)


def rule(allow: set[str] | None = None, deny: set[str] | None = None, scopes: tuple[str, ...] = ()) -> Rule:
    return Rule(None if allow is None else frozenset(allow), frozenset(deny or ()), scopes)


def test_without_rules_everybody_may_everything() -> None:
    policy = Policy({"git": Rules()})
    assert policy.allows(caller(), "git", "push")
    assert policy.allows(caller("x"), "other")
    assert not policy.personal


@pytest.mark.parametrize(
    ("allow", "deny", "groups", "allowed"),
    [
        (None, None, (), True),
        (set(), None, ("dev",), False),
        ({"dev"}, None, (), False),
        ({"dev"}, None, ("dev",), True),
        ({"dev"}, None, ("ops", "dev"), True),
        ({"dev"}, None, ("ops",), False),
        (None, {"dev"}, (), True),
        (None, {"dev"}, ("dev",), False),
        (None, {"dev"}, ("ops", "dev"), False),
        ({"dev", "ops"}, {"ops"}, ("dev",), True),
        ({"dev", "ops"}, {"ops"}, ("dev", "ops"), False),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_deny_wins_over_allow_and_no_list_means_everybody(
    allow: set[str] | None, deny: set[str] | None, groups: tuple[str, ...], allowed: bool
) -> None:
    policy = Policy({"git": Rules(rule(allow, deny))})
    assert policy.allows(caller(*groups), "git") is allowed
    assert policy.allows(caller(*groups), "git", "log") is allowed
    assert policy.allows(caller(*groups), "git", "readme", "prompt") is allowed


def test_the_lists_of_a_tool_take_the_place_of_the_servers() -> None:
    policy = Policy(
        {"git": Rules(rule({"dev"}), {"push": rule({"ops"}), "log": rule(), "pull": rule(deny={"dev"})})}
    )
    assert not policy.allows(caller("dev"), "git", "push")
    assert policy.allows(caller("ops"), "git", "push")
    assert policy.allows(caller(), "git", "log")
    assert not policy.allows(caller("dev"), "git", "pull")
    assert not policy.allows(caller("ops"), "git", "other")


def test_a_rule_of_scopes_alone_leaves_the_lists_of_the_server() -> None:
    push = Rule(scopes=("write",), lists=False)
    policy = Policy({"git": Rules(rule({"dev"}, scopes=("read",)), {"push": push})})
    assert not policy.allows(caller("ops", scopes=("read", "write")), "git", "push")
    assert policy.decide(caller("dev", scopes=("read",)), "git", "push").missing == ("read", "write")
    assert policy.decide(caller("dev", scopes=("write", "read")), "git", "push").missing == ()
    assert policy.decide(caller("dev", scopes=("read",)), "git", "log").missing == ()


def test_each_table_of_scopes_speaks_for_itself_and_the_lacking_one_decides() -> None:
    push = Rule(scopes=("write",), lists=False)
    policy = Policy({"git": Rules(rule(scopes=("read",)), {"push": push})})
    server, tool = "mcp.servers.git.required_scopes", "mcp.servers.git.tools.push.required_scopes"
    decision = policy.decide(caller(scopes=("read",)), "git", "push")
    assert [(step.rule, step.allowed) for step in decision.steps[1:]] == [(server, True), (tool, False)]
    assert decision.rule == tool
    assert policy.decide(caller(scopes=("write",)), "git", "push").rule == server


def test_who_is_denied_is_not_told_of_scopes() -> None:
    policy = Policy({"git": Rules(rule({"dev"}, scopes=("read",)))})
    decision = policy.decide(caller("ops"), "git", "log")
    assert (decision.allowed, decision.missing) == (False, ())


def test_patterns_apply_in_their_order_after_exact_names() -> None:
    tools = {"delete_*": rule({"ops"}), "*": rule(set()), "delete_branch": rule({"dev"})}
    policy = Policy({"git": Rules(rule(), tools)})
    assert policy.allows(caller("dev"), "git", "delete_branch")
    assert not policy.allows(caller("dev"), "git", "delete_tag")
    assert policy.allows(caller("ops"), "git", "delete_tag")
    assert not policy.allows(caller("ops"), "git", "log")


def test_prompts_and_resources_follow_the_server_not_a_tool_of_the_same_name() -> None:
    policy = Policy({"git": Rules(rule(), {"log": rule(set())})})
    assert not policy.allows(caller(), "git", "log")
    assert policy.allows(caller(), "git", "log", "prompt")
    assert policy.allows(caller(), "git", "log", "resource")


def test_every_decision_names_the_rule_behind_it() -> None:
    policy = Policy({"git": Rules(rule({"dev"}, {"ops"}), {"push": rule({"ops"}, scopes=("write",))})})
    assert policy.decide(caller("dev", "ops"), "git").rule == "mcp.servers.git.deny"
    assert policy.decide(caller("dev"), "git", "push").rule == "mcp.servers.git.tools.push.allow"
    steps = policy.decide(caller("ops"), "git", "push").steps
    assert [step.allowed for step in steps] == [True, False]
    assert "lacks write" in steps[-1].said


def test_names_that_match_no_tool_are_found() -> None:
    policy = Policy({"git": Rules(rule(), {"psuh": rule(), "delete_*": rule(), "log": rule()})})
    assert policy.unknown_tools("git", ["push", "log"]) == ["psuh", "delete_*"]
    assert policy.unknown_tools("other", ["push"]) == []


def test_a_decision_depends_on_groups_and_scopes_alone() -> None:
    policy = Policy({"git": Rules(rule({"dev"}))})
    answers = {
        policy.allows(Principal(subject, issuer, ("dev",)), "git")
        for subject, issuer in itertools.product(("a", "b"), ("x", "y"))
    }
    assert answers == {True}


def test_callers_that_rules_do_not_tell_apart_stand_on_the_same_ground() -> None:
    ruled = Policy({"git": Rules(Rule(frozenset({"dev"})))})
    ada, bob = Principal("ada", groups=("dev",)), Principal("bob", groups=("dev",))
    assert ruled.ground(ada) == ruled.ground(bob) != ruled.ground(Principal("eve"))
    assert Policy(closed=True).ground(ada) is Policy().ground(Principal("eve")) is None


def test_names_that_callers_make_up_are_not_kept() -> None:
    policy = Policy({"git": Rules(tools={"log*": rule(deny={"dev"})})})
    tracemalloc.start()
    for number in range(100):
        assert not policy.allows(caller("dev"), "git", f"log{number}" * 25_000)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2 * 1024 * 1024
