"""What the suite is run against: the fixture by every way, for each revision a server of its own.

So runs at the same time do not hear each other: on a pipe nothing says which call a question is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tests.broker import free_port
from tests.conformance import suite, verdict
from tests.conformance.fleet import Fleet, Way
from tests.conformance.proxy import Proxy
from tests.conformance.suite import Scenario

TARGETS = {
    "stdio": Way("stdio", "auto"),
    "http": Way("http", "auto"),
    "old stdio": Way("stdio", "legacy", "per-session"),
    "old http": Way("http", "legacy"),
}
"""The old ones speak with sessions only.

The suite leaves calls of modern clients unanswered; where all share a pipe, nobody would be asked meanwhile.
"""


def server(target: str, revision: str) -> str:
    """The name of the server that one run has for itself."""
    return f"{target.replace(' ', '-')}-{revision[:4]}"


def servers(targets: Sequence[str], revisions: Sequence[str]) -> dict[str, Way]:
    """The servers for these runs."""
    return {server(target, revision): TARGETS[target] for target in targets for revision in revisions}


async def collect(
    targets: Sequence[str], revisions: Sequence[str], folder: Path, *, complete: bool = True
) -> dict[verdict.Key, list[Scenario]]:
    """What each run found, all at once against one fleet, whose edges take requests in turn.

    If it need not be `complete`, servers with sessions are spared the extensions, which they cannot have: the
    suite waits for most of a minute until it believes that.
    """
    keys = [(revision, target) for revision in revisions for target in targets]
    async with Fleet(folder, servers(targets, revisions)) as fleet, Proxy(fleet.edges, free_port()) as proxy:
        runs = [_run(proxy.port, key, folder, complete or TARGETS[key[1]].era != "legacy") for key in keys]
        return dict(zip(keys, await asyncio.gather(*runs), strict=True))


async def _run(port: int, key: verdict.Key, folder: Path, extensions: bool) -> list[Scenario]:
    revision, target = key
    name = server(target, revision)
    results = folder / "results" / name
    results.mkdir(parents=True)
    return await suite.run(f"http://localhost:{port}/mcp/{name}", revision, results, extensions=extensions)
