"""The suite's client mode: how its summary is read, and that every known failure has a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance import outward, suite, verdict
from tests.conformance.suite import Check, Scenario

SUMMARY = """
=== SUITE SUMMARY ===

✓ tools_call: 2 passed, 0 failed
✗ auth/basic-cimd: 13 passed, 0 failed, 1 warnings
✗ auth/dpop: 1 passed, 2 failed

Total: 16 passed, 2 failed, 1 warnings

Not scored for 2026-07-28: 1 scenario(s) run, 1 failing. These do not affect conformance.
  ✗ auth/dpop (extension)
"""


def saved(folder: Path, name: str, *checks: tuple[str, str]) -> None:
    place = folder / f"{name}-2026-11-21T05-18-40-436Z"
    place.mkdir(parents=True)
    told = [{"id": identity, "name": identity, "status": status} for identity, status in checks]
    (place / "checks.json").write_text(json.dumps(told))


def test_a_summary_is_read_with_the_checks_of_each_scenario(tmp_path: Path) -> None:
    saved(tmp_path, "tools_call", ("called", "SUCCESS"))
    saved(tmp_path, "auth/basic-cimd", ("cimd", "WARNING"))
    saved(tmp_path, "auth/dpop", ("proof", "FAILURE"), ("nonce", "FAILURE"))
    plain, cimd, dpop = outward.parse(SUMMARY, tmp_path)
    assert plain == Scenario("tools_call", 2, 0, scored=True, faults=())
    assert cimd.faults == (Check("cimd", warning=True, reason="cimd"),)
    assert not dpop.scored
    assert dpop.failures == {"proof", "nonce"}


def test_a_run_that_broke_off_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did not come to its end"):
        outward.parse("Error: no such command", tmp_path)


def test_every_known_failure_has_a_reason_and_a_revision_that_is_run() -> None:
    for each in verdict.read(outward.EXPECTED):
        assert each.reason
        assert each.revision in suite.REVISIONS
        assert each.targets == {outward.TARGET}
