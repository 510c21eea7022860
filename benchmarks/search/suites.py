"""Retrieval quality on suites of real tools and real questions.

A suite is a folder with `corpus.jsonl` (server, tool, title, description, input_schema) and `queries.jsonl`
(query, its variants typo, kw and kwtypo, and the ids `server__tool` of the relevant tools). r@k is
|first k ∩ relevant| / min(k, |relevant|); nDCG and MRR are cut at 10. All figures are percentages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import log2
from pathlib import Path
from statistics import fmean
from typing import Any

from services.indexer.index import Document, Index, hybrid, parameters

MODES = {"clean": "query", "typo": "typo", "kw": "kw", "kwtypo": "kwtypo"}
MACRO = ("azure", "livemcp_steps", "apify", "bfcl_live", "metatool", "stabletoolbench")
DEPTH = 10

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
        queries = _lines(corpus.with_name("queries.jsonl"))
        yield Suite(corpus.parent.name, [_document(line) for line in _lines(corpus)], queries)


def measure(suite: Suite) -> dict[str, Figures]:
    """Figures of every mode, and the share of exact names found first, on one suite alone in an index."""
    index = build(suite.documents)
    figures = {mode: _mode(index, suite.queries, key) for mode, key in MODES.items()}
    figures["names"] = {"r1": _named(index, suite.documents)}
    return figures


def build(documents: list[Document]) -> Index:
    index = hybrid()
    servers: dict[str, list[Document]] = {}
    for document in documents:
        servers.setdefault(document.server, []).append(document)
    for server, tools in servers.items():
        index.replace(server, tools)
    return index


def macro(table: dict[str, dict[str, Figures]]) -> dict[str, Figures]:
    """The plain mean over the six suites that count; empty if one is missing."""
    if any(name not in table for name in MACRO):
        return {}
    modes = table[MACRO[0]]
    return {
        mode: {key: fmean(table[name][mode][key] for name in MACRO) for key in modes[mode]} for mode in modes
    }


def _mode(index: Index, queries: list[dict[str, Any]], key: str) -> Figures:
    every = [_judge(index, line[key], set(line["relevant"])) for line in queries]
    return {name: 100 * fmean(each[name] for each in every) for name in every[0]}


def _judge(index: Index, query: str | list[str], relevant: set[str]) -> Figures:
    text = query if isinstance(query, str) else " ".join(query)
    hits = [match.name in relevant for match in index.search(text, limit=DEPTH)]
    recall = {f"r{k}": sum(hits[:k]) / min(k, len(relevant)) for k in (1, 5, 10)}
    gain = sum(1 / log2(place + 2) for place, hit in enumerate(hits) if hit)
    ideal = sum(1 / log2(place + 2) for place in range(min(DEPTH, len(relevant))))
    first = hits.index(True) + 1 if True in hits else 0
    return {**recall, "n10": gain / ideal, "mrr": 1 / first if first else 0.0}


def _named(index: Index, documents: list[Document]) -> float:
    found = (index.search(document.name, limit=1) for document in documents)
    return 100 * fmean(hit[0].name == document.name for hit, document in zip(found, documents, strict=True))


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


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
