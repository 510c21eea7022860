"""What the suite's client mode starts for each scenario: it has it driven by the process of `warm`.

`python -m tests.conformance.client URL`, with the scenario in `MCP_CONFORMANCE_SCENARIO`, the revision of the
wire in `MCP_CONFORMANCE_PROTOCOL_VERSION` and what it has to know in `MCP_CONFORMANCE_CONTEXT`, as JSON.
`NEXUS_WARM` is the address of that process; without it the scenario is driven here.
"""

from __future__ import annotations

import json
import os
import socket
import sys

WARM = "NEXUS_WARM"


def main() -> int:
    """Drive one scenario; its status."""
    address = os.environ.get(WARM)
    if address is None:
        from tests.conformance.scenario import run

        return run(sys.argv[1], os.environ)
    return ask(address, sys.argv[1])


def ask(address: str, url: str) -> int:
    """Have the scenario driven, its output into ours. The suite bounds the time."""
    told = {name: value for name, value in os.environ.items() if name.startswith("MCP_CONFORMANCE_")}
    with socket.socket(socket.AF_UNIX) as warm:
        warm.connect(address)
        warm.sendall(json.dumps([url, told]).encode())
        socket.send_fds(warm, [b"\n"], [1, 2])
        return int(warm.recv(1) != b"0")


if __name__ == "__main__":
    sys.exit(main())
