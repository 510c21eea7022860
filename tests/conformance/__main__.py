"""`python -m tests.conformance`: the conformance suite against a fleet, through a balancer without memory."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conformance import outward, verdict
from tests.conformance.suite import REVISIONS, Scenario
from tests.conformance.targets import TARGETS, collect

EXPECTED = Path(__file__).parent / "expected.toml"


def show(found: dict[verdict.Key, list[Scenario]], revision: str, console: Console) -> None:
    """A table of scenarios by target: checks passed and failed."""
    columns = {target: scenarios for (each, target), scenarios in found.items() if each == revision}
    table = Table("scenario", *columns, title=revision, box=None, title_justify="left", pad_edge=False)
    first = next(iter(columns.values()))
    for row, scenario in enumerate(first):
        name = scenario.name if scenario.scored else f"[dim]{scenario.name} (not scored)[/dim]"
        table.add_row(name, *(_cell(scenarios[row]) for scenarios in columns.values()))
    table.add_row("[bold]total[/bold]", *(_total(scenarios) for scenarios in columns.values()))
    console.print(table)


def _cell(scenario: Scenario) -> str:
    warned = sum(check.warning for check in scenario.faults)
    colour = "red" if scenario.failed else "green"
    said = f"[{colour}]{scenario.passed}/{scenario.failed}[/{colour}]"
    return f"{said} [yellow]{warned}w[/yellow]" if warned else said


def _total(scenarios: list[Scenario]) -> str:
    scored = [each for each in scenarios if each.scored]
    passed, failed = sum(each.passed for each in scored), sum(each.failed for each in scored)
    return f"{passed}/{failed}, {sum(not each.failed for each in scored)} of {len(scored)}"


def faults(found: dict[verdict.Key, list[Scenario]]) -> list[str]:
    """One line for each check that failed or warned."""
    return [
        f"{revision} {target}: {scenario.name}:{check.id}{' (warning)' * check.warning}: {check.reason}"
        for (revision, target), scenarios in found.items()
        for scenario in scenarios
        for check in scenario.faults
    ]


def main() -> int:
    """Print the tables, what failed and why; 1 if that was not expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--revision", action="append", choices=REVISIONS)
    parser.add_argument("--target", action="append", choices=TARGETS)
    parser.add_argument(
        "--client", action="store_true", help="the gateway as a client of the suite's servers"
    )
    parser.add_argument("--verbose", action="store_true", help="say of each check why it failed")
    arguments = parser.parse_args()
    revisions = arguments.revision or list(REVISIONS)
    folder = Path(tempfile.mkdtemp(prefix="conformance-"))
    if arguments.client:
        found = asyncio.run(outward.collect(revisions, folder))
    else:
        found = asyncio.run(collect(arguments.target or list(TARGETS), revisions, folder))
    print(f"logs and results: {folder}")
    console = Console(width=110)
    for revision in revisions:
        show(found, revision, console)
    if arguments.verbose:
        print(*faults(found), sep="\n")
    complaints = verdict.complaints(found, verdict.read(outward.EXPECTED if arguments.client else EXPECTED))
    print(*complaints, sep="\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
