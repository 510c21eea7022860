"""The conformance suite as a child process, and what it found."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROGRAM = HERE / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
REVISIONS = ("2025-11-25", "2026-07-28")
RUN_WITHIN = 300.0
"""Seconds for all scenarios of one revision."""

_COUNTED = re.compile(r"^[✓✗] (?P<name>[\w-]+): (?P<passed>\d+) passed, (?P<failed>\d+) failed", re.MULTILINE)
_UNSCORED = re.compile(r"^  [✓✗] (?P<name>[\w-]+) \(", re.MULTILINE)


@dataclass(frozen=True)
class Check:
    """One check that failed, or only warned."""

    id: str
    warning: bool
    reason: str


@dataclass(frozen=True)
class Scenario:
    """What one scenario found; `scored` if it counts for conformance to its revision."""

    name: str
    passed: int
    failed: int
    scored: bool
    faults: tuple[Check, ...]

    @property
    def failures(self) -> frozenset[str]:
        """Ids of failed checks."""
        return frozenset(check.id for check in self.faults if not check.warning)


async def run(url: str, revision: str, folder: Path, *, extensions: bool = True) -> list[Scenario]:
    """Every scenario of a revision's requirements against the server at `url`.

    Without `extensions`, only those of the revision itself; of these, all count as scored.
    """
    which = ("--requirements", revision) if extensions else ("--suite", "all", "--spec-version", revision)
    process = await asyncio.create_subprocess_exec(
        node(),
        PROGRAM,
        *("server", "--url", url, *which, "--output-dir", folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RUN_WITHIN):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return parse(said.decode(errors="replace"), folder)


def parse(said: str, folder: Path) -> list[Scenario]:
    """The summary of a run, with the checks it left in `folder`. Raises `ValueError` if there is none."""
    _, found, summary = said.partition("=== SUMMARY ===")
    if not found:
        raise ValueError(f"the suite did not come to its end:\n{said[-2000:]}")
    unscored = {match["name"] for match in _UNSCORED.finditer(summary)}
    return [
        Scenario(
            name, int(match["passed"]), int(match["failed"]), name not in unscored, _faults(folder, name)
        )
        for match in _COUNTED.finditer(summary)
        for name in (match["name"],)
    ]


def _faults(folder: Path, name: str) -> tuple[Check, ...]:
    stamped = re.compile(rf"server-{re.escape(name)}-\d{{4}}-\d\d-\d\dT.*")
    found = []
    for each in sorted(folder.iterdir()):
        if stamped.fullmatch(each.name):
            checks = json.loads((each / "checks.json").read_text())
            found += [check for check in checks if check["status"] in ("FAILURE", "WARNING")]
    return tuple(
        Check(check["id"], check["status"] == "WARNING", check.get("errorMessage") or check["name"])
        for check in found
    )


def node() -> str:
    """The Node of the wheel, which stands beside this interpreter or on the PATH."""
    beside = Path(sys.executable).parent / "node"
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None or not PROGRAM.exists():
        raise SystemExit("the suite is not installed: python -m tests.conformance.install")
    return found
