"""Print the shape of the code: how long functions and files are.

`--check` fails when functions are longer than the project keeps them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[1]
PLACES = ("libs", "services")
LONG = 50
"""Lines; a function over this needs a reason."""
MEDIAN_MAX = 9
LONG_SHARE_MAX = 0.03
FILE_LONG = 250
LISTED = 10


@dataclass(frozen=True, slots=True)
class Function:
    """One function and its lines, from its first decorator to its end."""

    lines: int
    name: str
    where: str


def main() -> int:
    """0, or 1 if `--check` was given and a limit is passed."""
    files = sorted(path for place in PLACES for path in (ROOT / place).rglob("*.py"))
    functions = sorted((each for path in files for each in _functions(path)), key=lambda each: -each.lines)
    lengths = [each.lines for each in functions]
    middle, share = median(lengths), sum(length > LONG for length in lengths) / len(lengths)
    print(
        f"{len(lengths)} functions in {len(files)} files: median {middle:g} lines, "
        f"p95 {quantiles(lengths, n=20)[-1]:.0f}, over {LONG} lines {share:.1%}"
    )
    _print_long(files, functions)
    if "--check" in sys.argv[1:] and (middle > MEDIAN_MAX or share > LONG_SHARE_MAX):
        print(f"too long: the median may be {MEDIAN_MAX} lines, {LONG_SHARE_MAX:.0%} may be over {LONG}")
        return 1
    return 0


def _functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            lines = (node.end_lineno or node.lineno) - first + 1
            yield Function(lines, node.name, f"{path.relative_to(ROOT)}:{node.lineno}")


def _print_long(files: list[Path], functions: list[Function]) -> None:
    for path in files:
        lines = len(path.read_text().splitlines())
        if lines > FILE_LONG:
            print(f"{lines:5} lines  {path.relative_to(ROOT)}")
    for each in functions[:LISTED]:
        print(f"{each.lines:5} lines  {each.name}  {each.where}")


if __name__ == "__main__":
    sys.exit(main())
