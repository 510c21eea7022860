"""Ten thousand calls while everything is killed now and then: does the audit trail hold?

    python -m tests.chaos [--seed N] [--calls N] [--clients N] [--rate N] [--kills edge=3,nats=3] [--folder F]

A seed decides which process is struck when; what that does to a call also depends on the machine. Ends with 1
if anything was lost, altered or done twice. The folder keeps the logs, the trail and the list of executions.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.run import Outcome, Plan, run

console = Console(width=110)


def main() -> None:
    given = _parsed()
    plan = Plan(given.seed, given.calls, given.clients, given.rate)
    if given.kills is not None:
        pairs = (each.partition("=") for each in given.kills.split(",") if each)
        plan = Plan(*(plan.seed, plan.calls, plan.clients, plan.rate), {k: int(v) for k, _, v in pairs})
    folder = given.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    outcome = asyncio.run(run(plan, folder, _say))
    _show(plan, outcome)
    console.print(f"everything is in {folder}")
    sys.exit(1 if outcome.faults else 0)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--calls", type=int, default=Plan.calls)
    parser.add_argument("--clients", type=int, default=Plan.clients)
    parser.add_argument("--rate", type=float, default=Plan.rate)
    parser.add_argument("--kills", default=None, help="how often which role is killed: edge=3,router=5")
    parser.add_argument("--folder", type=Path, default=None)
    return parser.parse_args()


def _say(text: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {text}")


def _show(plan: Plan, outcome: Outcome) -> None:
    told, table = outcome.told, Table(title=f"seed {plan.seed}, {outcome.seconds:.0f} s of calls")
    table.add_column("what")
    table.add_column("how many", justify="right")
    verdicts = Counter(told.answered.values())
    table.add_row("calls answered", f"{len(told.answered):,}")
    for verdict in ("ok", "no", "unknown", "yes"):
        table.add_row(f"  {verdict}", f"{verdicts[verdict]:,}")
    table.add_row("connections that broke before an answer", f"{len(told.broken):,}")
    table.add_row("executions that servers wrote down", f"{sum(outcome.executed.values()):,}")
    table.add_row("processes killed", f"{len(outcome.deaths):,}")
    for name, recorded in outcome.sinks.items():
        table.add_row(f"events at the {name} sink", f"{len(recorded.events):,}")
        table.add_row("  that came more than once, unchanged", f"{recorded.doubled:,}")
    table.add_row("chains verified", f"{outcome.chains:,}")
    console.print(table)
    for fault in outcome.faults:
        console.print(f"[red]{fault}[/red]", highlight=False)
    console.print(
        "[red]the trail does not hold[/red]" if outcome.faults else "[green]nothing was lost[/green]"
    )


if __name__ == "__main__":
    main()
