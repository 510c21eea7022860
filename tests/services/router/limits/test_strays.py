from __future__ import annotations

from structlog.testing import capture_logs

from services.router.limits.strays import Strays


def test_a_limit_on_a_tool_that_does_not_exist_is_said_once_and_again_when_it_changes() -> None:
    strays = Strays({"git": frozenset({"log", "serch"})})
    with capture_logs() as logs:
        strays.check("git", frozenset({"log", "search"}))
        strays.check("git", frozenset({"log", "search", "more"}))
        strays.check("time", frozenset({"now"}))
        strays.check("git", frozenset({"search"}))
        strays.check("git", frozenset({"log", "serch"}))
    assert [log["tools"] for log in logs] == [["serch"], ["log", "serch"]]
