"""Retrieval quality on suites of real tools and real questions.

A suite is a folder with `corpus.jsonl` (server, tool, title, description, input_schema) and `queries.jsonl`
(query, if wanted its variants typo, kw and kwtypo, and the ids `server__tool` of the relevant tools). r@k is
|first k ∩ relevant| / min(k, |relevant|); nDCG and MRR are cut at 10. All figures are percentages, but `ms`,
the CPU time of a query.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import log2
from pathlib import Path
from statistics import fmean
from time import process_time
from typing import Any

from services.indexer.index import Document, Index, hybrid, parameters

MODES = {"clean": "query", "typo": "typo", "kw": "kw", "kwtypo": "kwtypo"}
MACRO = ("apify", "azure", "bfcl_live", "livemcp_steps", "metatool", "mongodb", "stabletoolbench")
DEPTH = 10
NAMES_MAX = 1_000
ENGINES: dict[str, Callable[[], Index]] = {"hybrid": hybrid, "lexical": Index}

Figures = dict[str, float]


@dataclass(frozen=True)
class Suite:
    """One folder: documents and questions."""

    name: str
    documents: list[Document]
    queries: list[dict[str, Any]]


def suites(folder: Path) -> Iterator[Suite]:
    """Every suite below `folder`, by name."""
    for corpus in sorted(folder.glob("*/corpus.jsonl")):
        queries = list(_lines(corpus.with_name("queries.jsonl")))
        yield Suite(corpus.parent.name, [_document(line) for line in _lines(corpus)], queries)


def distractors(folder: Path) -> list[Document]:
    """Tools of other servers, which make a suite as large as a real gateway."""
    return [_document(line) for line in _lines(folder / "distractors.jsonl.gz")]


def measure(suite: Suite, index: Index) -> dict[str, Figures]:
    """Figures of every mode there is, and how names are found: first, or with a slip among the first five."""
    modes = {mode: key for mode, key in MODES.items() if all(key in line for line in suite.queries)}
    figures = {mode: _mode(index, suite.queries, key) for mode, key in modes.items()}
    figures["names"] = _named(index, suite.documents)
    return figures


def build(documents: Iterable[Document], empty: Callable[[], Index] = hybrid) -> Index:
    index = empty()
    servers: dict[str, list[Document]] = {}
    for document in documents:
        servers.setdefault(document.server, []).append(document)
    for server, tools in servers.items():
        index.replace(server, tools)
    return index


def macro(table: dict[str, dict[str, Figures]]) -> dict[str, Figures]:
    """The plain mean over those suites of the family that are there."""
    chosen = [table[name] for name in MACRO if name in table]
    modes = chosen[0] if chosen else {}
    return {
        mode: {key: fmean(each[mode][key] for each in chosen) for key in figures}
        for mode, figures in modes.items()
    }


def _mode(index: Index, queries: list[dict[str, Any]], key: str) -> Figures:
    start = process_time()
    every = [_judge(index, line[key], set(line["relevant"])) for line in queries]
    spent = 1_000 * (process_time() - start) / len(every)
    return {**{name: 100 * fmean(each[name] for each in every) for name in every[0]}, "ms": spent}


def _judge(index: Index, query: str | list[str], relevant: set[str]) -> Figures:
    text = query if isinstance(query, str) else " ".join(query)
    hits = [match.name in relevant for match in index.search(text, limit=DEPTH)]
    recall = {f"r{k}": sum(hits[:k]) / min(k, len(relevant)) for k in (1, 5, 10)}
    gain = sum(1 / log2(place + 2) for place, hit in enumerate(hits) if hit)
    ideal = sum(1 / log2(place + 2) for place in range(min(DEPTH, len(relevant))))
    first = hits.index(True) + 1 if True in hits else 0
    return {**recall, "n10": gain / ideal, "mrr": 1 / first if first else 0.0}


def _named(index: Index, documents: list[Document]) -> Figures:
    chance = random.Random(11)
    names = [document.name for document in documents]
    asked = chance.sample(names, min(len(names), NAMES_MAX))
    first = [index.search(name, limit=1)[0].name == name for name in asked]
    near = [name in (hit.name for hit in index.search(_slip(name, chance), limit=5)) for name in asked]
    return {"r1": 100 * fmean(first), "r5": 100 * fmean(near)}


def _slip(name: str, chance: random.Random) -> str:
    """`name` with two letters swapped, or one left out, doubled or replaced."""
    place = chance.randrange(1, len(name) - 1)
    head, letter, tail = name[:place], name[place], name[place + 1 :]
    slips = (head + tail[0] + letter + tail[1:], head + tail, head + 2 * letter + tail, head + "q" + tail)
    return chance.choice([slip for slip in slips if slip != name])


def _document(line: dict[str, Any]) -> Document:
    server, tool = line["server"], line["tool"]
    return Document(
        f"{server}__{tool}",
        server,
        tool,
        line.get("title") or "",
        line.get("description") or "",
        parameters(line.get("input_schema")),
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    yield from map(json.loads, text.splitlines())
