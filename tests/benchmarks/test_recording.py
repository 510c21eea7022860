"""What the audit may cost a caller."""

from __future__ import annotations

import pytest

from benchmarks.gateway.generator import Generator
from benchmarks.gateway.recording import recording

pytestmark = pytest.mark.system

FAST_MAX, STRICT_MAX = 3.0, 6.0
"""Milliseconds that a call may take longer, at the median, when nothing else wants the machine."""
BUSY = 3.0
"""How much longer everything may take while other tests run beside this one."""


def test_u7_a_recorded_call_takes_hardly_longer() -> None:
    with Generator() as generator:
        times = {each.mode: each.p50 for each in recording(generator, 400, 3) if each.in_flight == 1}
    assert times["fast"] - times["off"] < FAST_MAX * BUSY, times
    assert times["strict"] - times["off"] < STRICT_MAX * BUSY, times
