"""`python -m benchmarks.search [--json] [--tools 100 1000 …]`: cost; `--data FOLDER`: quality on suites."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.search.speed import cost
from benchmarks.search.suites import Figures, macro, measure, suites

SIZES = [100, 1_000, 10_000]


def main() -> None:
    given = _arguments()
    if given.data:
        table = {suite.name: measure(suite) for suite in suites(given.data)}
        table["macro-6"] = macro(table)
        print(json.dumps(table) if given.json else _quality(table))
        return
    costs = [cost(size) for size in given.tools]
    print(json.dumps(costs) if given.json else _table(costs))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--tools", type=int, nargs="+", default=SIZES, help="sizes of the made-up catalogue")
    parser.add_argument("--data", type=Path, help="folder of suites: measure quality instead of cost")
    return parser.parse_args()


def _quality(table: Mapping[str, Mapping[str, Figures]]) -> str:
    rows = [
        {"suite": name, "mode": mode, **figures}
        for name, modes in table.items()
        for mode, figures in modes.items()
    ]
    return _table(rows)


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    head = list(rows[0])
    lines = [head, *([_cell(row.get(key, "")) for key in head] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


main()
