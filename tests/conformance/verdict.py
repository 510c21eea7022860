"""What failed, against what is known to fail."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.conformance.suite import Scenario

Key = tuple[str, str]
"""A revision and a target."""
Found = Mapping[Key, Sequence[Scenario]]


@dataclass(frozen=True)
class Expected:
    """Failures that are known, why, and where: empty `checks` are all of the scenario."""

    revision: str
    scenario: str
    targets: frozenset[str]
    checks: frozenset[str]
    reason: str

    def covers(self, key: Key, scenario: str, check: str) -> bool:
        """Whether a failure is one of these."""
        revision, target = key
        here = revision == self.revision and target in self.targets and self.names(scenario)
        return here and (not self.checks or check in self.checks)

    def names(self, scenario: str) -> bool:
        """Whether it is about a scenario; `scenario` may be a pattern."""
        return fnmatchcase(scenario, self.scenario)


def read(path: Path) -> list[Expected]:
    """The expectations in a file. Raises `ValueError` for one without a reason."""
    entries = tomllib.loads(path.read_text()).get("expected", [])
    return [_read(entry) for entry in entries]


def _read(entry: Mapping[str, object]) -> Expected:
    if not entry.get("reason"):
        raise ValueError(f"an expected failure needs a reason: {entry}")
    targets, checks = entry["targets"], entry.get("checks", [])
    assert isinstance(targets, list)
    assert isinstance(checks, list)
    return Expected(
        str(entry["revision"]),
        str(entry["scenario"]),
        frozenset(targets),
        frozenset(checks),
        str(entry["reason"]),
    )


def complaints(found: Found, expected: Iterable[Expected]) -> list[str]:
    """Failures that nobody expects, scored or not, and expectations that nothing meets any more."""
    known = list(expected)
    failed = [
        (key, scenario, check)
        for key, scenarios in found.items()
        for scenario in scenarios
        for check in sorted(scenario.failures)
    ]
    unexpected = [
        f"unexpected: {key[0]} {key[1]}: {scenario.name}:{check}"
        for key, scenario, check in failed
        if not any(each.covers(key, scenario.name, check) for each in known)
    ]
    return unexpected + [line for each in known for line in _stale(each, found)]


def _stale(expected: Expected, found: Found) -> list[str]:
    """One line for each target, and each check, that passes now, of what was run."""
    lines = []
    for key, scenarios in found.items():
        if key[0] != expected.revision or key[1] not in expected.targets:
            continue
        met = [each for each in scenarios if expected.names(each.name)]
        if not met:
            continue
        failures = {check for each in met for check in each.failures}
        gone = expected.checks - failures if expected.checks else () if failures else ("",)
        lines += [
            f"stale: {key[0]} {key[1]}: {expected.scenario}:{check} passes now" for check in sorted(gone)
        ]
    return lines
