"""`python -m benchmarks.search FOLDER`: quality on the suites of a folder; without one: cost."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.search.speed import cost
from benchmarks.search.suites import ENGINES, Figures, build, distractors, macro, measure, suites

SIZES = [100, 1_000, 10_000]


def main() -> None:
    given = _arguments()
    if given.data:
        table = _quality(given.data, given.engine, given.distractors)
        print(json.dumps(table) if given.json else _table(_rows(table)))
        return
    costs = [cost(size, ENGINES[given.engine]) for size in given.tools]
    print(json.dumps(costs) if given.json else _table(costs))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search")
    parser.add_argument("data", type=Path, nargs="?", help="folder of suites; cost is measured without one")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--engine", choices=ENGINES, default="hybrid", help="words and meaning, or words alone"
    )
    parser.add_argument("--distractors", action="store_true", help="add the folder's tools of other servers")
    parser.add_argument("--tools", type=int, nargs="+", default=SIZES, help="sizes of the made-up catalogue")
    return parser.parse_args()


def _quality(folder: Path, engine: str, crowded: bool) -> dict[str, dict[str, Figures]]:
    others = distractors(folder) if crowded else []
    table = {
        suite.name: measure(suite, build([*suite.documents, *others], ENGINES[engine]))
        for suite in suites(folder)
    }
    return {**table, "macro": macro(table)}


def _rows(table: Mapping[str, Mapping[str, Figures]]) -> list[dict[str, object]]:
    return [
        {"suite": name, "mode": mode, **figures}
        for name, modes in table.items()
        for mode, figures in modes.items()
    ]


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
