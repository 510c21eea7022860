from __future__ import annotations

import pytest

from libs.common.identity import ANONYMOUS, Principal
from libs.common.policy import decide


@pytest.mark.parametrize("principal", [ANONYMOUS, Principal("ann", "https://login.example", ("dev",))])
@pytest.mark.parametrize("tool", ["", "log"])
def test_without_rules_everybody_may_use_everything(principal: Principal, tool: str) -> None:
    decision = decide(principal, "git", tool)
    assert (decision.allowed, decision.rule) == (True, "no rule applies")


def test_a_subject_is_unique_within_its_issuer_only() -> None:
    keys = {Principal("ann", issuer).key for issuer in ("", "https://a.example", "https://b.example")}
    assert len(keys) == 3
