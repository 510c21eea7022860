"""The suite's client mode as a child process: its servers, and the gateway as the client of each."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.conformance import client, suite, verdict
from tests.conformance.suite import Check, Scenario
from tests.conformance.warm import warmed

ADAPTER = f"{sys.executable} -m tests.conformance.client"
ROOT = Path(__file__).parents[2]
EXPECTED = Path(__file__).parent / "expected_client.toml"
TARGET = "client"
"""The one way there is, where the server mode has several."""
PATIENCE = 400
"""Seconds for one scenario: all begin at once, and wait for each other."""

_COUNTED = re.compile(
    r"^[✓✗] (?P<name>[\w/.-]+): (?P<passed>\d+) passed, (?P<failed>\d+) failed(?:, \d+ warnings)?$",
    re.MULTILINE,
)
_UNSCORED = re.compile(r"^  [✓✗] (?P<name>[\w/.-]+) \(", re.MULTILINE)


async def collect(revisions: list[str], folder: Path) -> dict[verdict.Key, list[Scenario]]:
    """Every client scenario of every revision."""
    found: dict[verdict.Key, list[Scenario]] = {}
    for revision in revisions:
        results = folder / "results" / revision / TARGET
        results.mkdir(parents=True)
        found[revision, TARGET] = await run(revision, results)
    print(f"results: {folder}")
    return found


async def run(revision: str, folder: Path) -> list[Scenario]:
    """Every client scenario of a revision's requirements; what each one said is left in `folder`."""
    with tempfile.TemporaryDirectory() as place:
        async with warmed(Path(place)) as address:
            said = await _run(revision, folder, {client.WARM: address})
    return parse(said, folder)


async def _run(revision: str, folder: Path, env: Mapping[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        suite.node(),
        suite.PROGRAM,
        *("client", "--command", ADAPTER, "--requirements", revision),
        *("--timeout", str(PATIENCE * 1000), "--output-dir", folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )
    try:
        async with asyncio.timeout(PATIENCE + 60):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode(errors="replace")


def parse(said: str, folder: Path) -> list[Scenario]:
    """The summary of a run, with the checks it left in `folder`. Raises `ValueError` if there is none."""
    _, found, summary = said.partition("=== SUITE SUMMARY ===")
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
    where, _, last = name.rpartition("/")
    stamped = re.compile(rf"{re.escape(last)}-\d{{4}}-\d\d-\d\dT.*")
    saved = [each for each in (folder / where).iterdir() if stamped.fullmatch(each.name)]
    checks = [check for each in saved for check in json.loads((each / "checks.json").read_text())]
    return tuple(
        Check(check["id"], check["status"] == "WARNING", check.get("errorMessage") or check["name"])
        for check in checks
        if check["status"] in ("FAILURE", "WARNING")
    )
