"""The gateway as a client of the suite's servers: every scenario a revision requires, as expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import outward, suite, verdict

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.system,
    pytest.mark.timeout(outward.PATIENCE + 120),
    pytest.mark.skipif(
        not suite.PROGRAM.exists(), reason="the suite is missing: python tests/conformance/install.py"
    ),
]


@pytest.mark.parametrize("revision", suite.REVISIONS)
async def test_every_scenario_of_a_revision_ends_as_expected(revision: str, tmp_path: Path) -> None:
    found = await outward.collect([revision], tmp_path)
    assert verdict.complaints(found, verdict.read(outward.EXPECTED)) == []
    assert sum(scenario.passed for scenario in found[revision, outward.TARGET] if scenario.scored) > 200
