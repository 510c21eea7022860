"""What the suite's client mode runs: a whole gateway between its server and a client.

`python -m tests.conformance.client URL`, with the scenario in `MCP_CONFORMANCE_SCENARIO`, the revision of the
wire in `MCP_CONFORMANCE_PROTOCOL_VERSION` and what it has to know in `MCP_CONFORMANCE_CONTEXT`, as JSON.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SLOTS = 2
"""Gateways that run at a time: the suite starts all its scenarios at once."""


@contextmanager
def turn() -> Iterator[None]:
    """Entered by no more than `SLOTS` processes of this user at a time; the others wait outside."""
    paths = [Path(tempfile.gettempdir()) / f"nexus-conformance-{os.getuid()}-{n}" for n in range(SLOTS)]
    while True:
        for path in paths:
            with path.open("w") as slot, suppress(BlockingIOError):
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield
                return
        time.sleep(0.05)


def main() -> int:
    """Drive one scenario; nothing heavy is loaded before it is our turn."""
    with turn():
        from tests.conformance.scenario import run

        return run(sys.argv[1], os.environ)


if __name__ == "__main__":
    sys.exit(main())
