"""What a search costs: through the gateway, and of that the index itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.gateway.calls import settle
from benchmarks.gateway.generator import Generator, Round
from benchmarks.gateway.load import Job
from benchmarks.gateway.target import Peer, Target, running, stdio
from benchmarks.gateway.traffic import searching
from benchmarks.search.corpus import Catalogue
from benchmarks.search.speed import cost
from services.indexer.index import Document

SERVERS = 10
"""Between which the tools are divided."""
QUERIES = 200


class Lookup(msgspec.Struct):
    """One size. Times in milliseconds, costs in CPU microseconds per search."""

    tools: int
    single: Round
    """One search in flight."""
    many: Round
    """Sixteen in flight."""
    index: dict[str, float]
    """The index alone, in this process (`benchmarks.search.speed`)."""
    memory: dict[str, float]
    """MB by role, with this catalogue."""


def lookup(generator: Generator, tools: int, calls: int) -> Lookup:
    """Measure one size of catalogue."""
    catalogue = Catalogue(tools)
    queries = [catalogue.query() for _ in range(QUERIES)]
    shares = _shares(catalogue)
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as folder:
        servers = {name: stdio(tools=_written(share, Path(folder) / name)) for name, share in shares.items()}
        with running(servers, Peer()) as target:
            target.wait_ready()
            for name, share in shares.items():
                last = _name(share[-1])
                settle(generator, searching(target.url, [last], f"{name}__{last}"))
            single, many = _measured(generator, target, queries, calls)
            memory = target.processes().memory()
    return Lookup(tools, single, many, cost(tools), memory)


def _measured(
    generator: Generator, target: Target, queries: Sequence[str], calls: int
) -> tuple[Round, Round]:
    traffic, processes = searching(target.url, queries), target.processes()
    single = generator.round(Job(traffic, 1, calls), processes)
    return single, generator.round(Job(traffic, 16, calls), processes)


def _shares(catalogue: Catalogue) -> dict[str, list[Document]]:
    """Few servers with many tools each: the number of processes is not what is measured."""
    each = -(-len(catalogue.servers) // SERVERS)
    shares = (catalogue.servers[first : first + each] for first in range(0, len(catalogue.servers), each))
    return {f"part{number}": list(chain.from_iterable(share)) for number, share in enumerate(shares)}


def _written(tools: Sequence[Document], path: Path) -> Path:
    """A file with the result of `tools/list`."""
    listed = [
        {"name": _name(each), "description": each.description, "inputSchema": _schema(each)} for each in tools
    ]
    path.write_text(json.dumps({"tools": listed, "resultType": "complete"}))
    return path


def _name(tool: Document) -> str:
    """Unique, although several made-up servers share one process."""
    return f"{tool.server}_{tool.tool}"


def _schema(tool: Document) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": text} for name, text in tool.parameters}
    return {"type": "object", "properties": properties}
