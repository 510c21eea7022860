"""The locks: complete with hashes, in step with pyproject.toml, and bound to no registry."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements.runtime.lock")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(.*(?:\n .*)*)", re.MULTILINE)


def pins(lock: str) -> dict[str, tuple[str, str]]:
    """Name to version and the rest of its entry."""
    found = PIN.findall((ROOT / lock).read_text())
    return {name: (version, rest) for name, version, rest in found}


def wanted(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for directly, its references to its own extras followed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(text) for text in project["dependencies"]]
    for extra in extras:
        requirements += map(Requirement, project["optional-dependencies"][extra])
    own = [each for each in requirements if each.name == project["name"]]
    rest = [each for each in requirements if each.name != project["name"]]
    return rest + [more for each in own for more in wanted(*sorted(each.extras))]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert [name for name, (_, rest) in pins(lock).items() if "--hash=sha256:" not in rest] == []


@pytest.mark.parametrize(
    ("lock", "extras"),
    [(LOCKS[0], ("dev",)), (LOCKS[1], ("all",))],
)
def test_the_lock_has_all_that_pyproject_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    locked = {name.lower(): version for name, (version, _) in pins(lock).items()}
    for requirement in wanted(*extras):
        assert locked[requirement.name.lower()] in requirement.specifier, f"run `make lock`: {requirement}"


def test_both_locks_agree() -> None:
    full, runtime = pins(LOCKS[0]), pins(LOCKS[1])
    assert {name: full[name][0] for name in runtime} == {name: runtime[name][0] for name in runtime}


def test_the_npm_lock_has_integrity_and_no_address() -> None:
    packages = json.loads((ROOT / "tests/real/package-lock.json").read_text())["packages"]
    assert [path for path, entry in packages.items() if path and "integrity" not in entry] == []
    assert [path for path, entry in packages.items() if "resolved" in entry] == []
