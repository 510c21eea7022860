"""The matrix of features, eras and transports has no hole."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.bridges.matrix import CELLS, FEATURES, PROVEN, REASONS, matching, reason


def test_every_cell_has_a_test_or_a_reason_and_never_both() -> None:
    for module in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.bridges.{module.stem}")
    odd = [
        (feature, str(cell), PROVEN[feature, cell], reason(feature, cell))
        for feature in FEATURES
        for cell in CELLS
        if bool(PROVEN[feature, cell]) == bool(reason(feature, cell))
    ]
    assert odd == []


def test_every_reason_is_for_a_cell_there_is() -> None:
    for feature, pattern in REASONS:
        assert feature in FEATURES
        assert list(matching(pattern))
