"""What the suite found, read and held against what is known to fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance import suite, verdict
from tests.conformance.suite import Check, Scenario
from tests.conformance.targets import TARGETS
from tests.conformance.verdict import Expected

KEY = ("2026-07-28", "http")
HERE = Path(__file__).parent


def scenario(*failures: str, scored: bool = True) -> Scenario:
    faults = tuple(Check(name, warning=False, reason="it failed") for name in failures)
    return Scenario("caching", 1, len(failures), scored, faults)


def known(*checks: str) -> Expected:
    return Expected(KEY[0], "caching", frozenset({"http"}), frozenset(checks), "not done yet")


def test_a_failure_that_nobody_expects_is_told() -> None:
    said = verdict.complaints({KEY: [scenario("hints", "scope")]}, [known("scope")])
    assert said == ["unexpected: 2026-07-28 http: caching:hints"]


def test_a_known_failure_is_no_complaint() -> None:
    assert verdict.complaints({KEY: [scenario("hints")]}, [known("hints")]) == []
    assert verdict.complaints({KEY: [scenario("hints")]}, [known()]) == []


def test_an_expectation_that_nothing_meets_any_more_is_stale() -> None:
    said = verdict.complaints({KEY: [scenario("hints")]}, [known("hints", "scope")])
    assert said == ["stale: 2026-07-28 http: caching:scope passes now"]
    assert verdict.complaints({KEY: [scenario()]}, [known()]) != []


def test_what_was_not_run_is_not_stale() -> None:
    assert verdict.complaints({("2025-11-25", "http"): []}, [known("hints")]) == []
    other = replace(scenario(), name="ping")
    assert verdict.complaints({KEY: [other]}, [known("hints")]) == []


def test_a_failure_that_does_not_count_for_conformance_is_told_too() -> None:
    assert verdict.complaints({KEY: [scenario("hints", scored=False)]}, []) != []


def test_a_pattern_stands_for_every_scenario_it_matches() -> None:
    every = replace(known(), scenario="cach*")
    assert verdict.complaints({KEY: [scenario("hints")]}, [every]) == []
    assert verdict.complaints({KEY: [scenario()]}, [every]) != []


def test_every_known_failure_has_a_reason_and_a_place_that_is_run() -> None:
    for each in verdict.read(HERE / "expected.toml"):
        assert each.reason
        assert each.revision in suite.REVISIONS
        assert each.targets <= TARGETS.keys()


def test_an_expectation_without_a_reason_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "expected.toml"
    file.write_text('[[expected]]\nrevision = "2026-07-28"\nscenario = "caching"\ntargets = ["http"]\n')
    with pytest.raises(ValueError, match="needs a reason"):
        verdict.read(file)


SUMMARY = """
=== SUMMARY ===
✓ ping: 2 passed, 0 failed
✗ tasks-lifecycle: 8 passed, 1 failed

Total: 10 passed, 1 failed

Not scored for 2026-07-28: 1 scenario(s) run, 1 failing. These do not affect conformance.
  ✗ tasks-lifecycle (extension)
"""


def test_a_summary_is_read_with_the_checks_that_were_saved(tmp_path: Path) -> None:
    saved = tmp_path / "server-tasks-lifecycle-2026-11-21T05-18-40-436Z"
    saved.mkdir()
    checks = [
        {"id": "cancel", "name": "Cancel", "status": "FAILURE", "errorMessage": "no ack"},
        {"id": "get", "name": "Get", "status": "SUCCESS"},
        {"id": "retry", "name": "Retry", "status": "WARNING"},
    ]
    (saved / "checks.json").write_text(json.dumps(checks))
    ping, tasks = suite.parse(SUMMARY, tmp_path)
    assert ping == Scenario("ping", 2, 0, scored=True, faults=())
    assert not tasks.scored
    assert tasks.faults == (Check("cancel", warning=False, reason="no ack"), Check("retry", True, "Retry"))
    assert tasks.failures == {"cancel"}


def test_a_run_that_broke_off_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did not come to its end"):
        suite.parse("Error: connect ECONNREFUSED", tmp_path)
