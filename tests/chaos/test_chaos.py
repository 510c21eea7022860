"""A short run of what `make chaos-audit` does for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.run import Plan, run

pytestmark = [pytest.mark.anyio, pytest.mark.system]

PLAN = Plan(seed=7, calls=400, clients=20, rate=40, kills={"edge": 1, "router": 1, "connector": 1})


@pytest.mark.timeout(240)
async def test_g2_u2_no_event_is_lost_while_processes_are_killed(tmp_path: Path) -> None:
    said: list[str] = []
    outcome = await run(PLAN, tmp_path, said.append)
    assert len(outcome.deaths) == 3, said
    assert outcome.told.answered
    assert not outcome.faults, outcome.faults
