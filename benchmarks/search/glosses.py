"""`python -m benchmarks.search.glosses data.noun …`: WordNet as lines to learn from.

Takes the data files of WordNet 3.0 (wndb(5WN)) and prints, with an empty name before a tab, each set of
synonyms with its definition, and each example by itself. Names of persons, places and species are left out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


def glosses(lines: Iterable[str]) -> Iterator[str]:
    """`dentist, tooth doctor: a person qualified to practice dentistry`, and what else is said of it."""
    for line in lines:
        data, _, gloss = line.partition("|")
        words = _words(data.split())
        if words:
            meaning, *examples = gloss.strip().split('; "')
            yield f"{', '.join(words)}: {meaning.strip()}"
            yield from (example.strip().strip('"; ') for example in examples)


def _words(data: list[str]) -> list[str]:
    """The synonyms of a line; none of the licence's lines, and none if the first is a name."""
    if len(data) < 4 or len(data[0]) != 8:
        return []
    found = [
        re.sub(r"\(.*?\)", "", word).replace("_", " ") for word in data[4 : 4 + 2 * int(data[3], 16) : 2]
    ]
    return [word for word in found if not word[0].isupper()] if re.match("[a-z]", found[0]) else []


def main() -> None:
    for file in sys.argv[1:]:
        with Path(file).open(encoding="utf-8") as lines:
            sys.stdout.writelines(f"\t{gloss}\n" for gloss in glosses(lines))


if __name__ == "__main__":
    main()
