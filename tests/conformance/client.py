"""What the suite's client mode starts for each scenario: it has it driven by the process of `warm`.

`python -m tests.conformance.client URL`, with the scenario in `MCP_CONFORMANCE_SCENARIO`, the revision of the
wire in `MCP_CONFORMANCE_PROTOCOL_VERSION` and what it has to know in `MCP_CONFORMANCE_CONTEXT`, as JSON.
`NEXUS_WARM` is the address of that process; without it the scenario is driven here.
"""

from __future__ import annotations

import json
import os
import sys

from tests.conformance.passing import ask

WARM = "NEXUS_WARM"


def main() -> int:
    """Drive one scenario; its status."""
    address = os.environ.get(WARM)
    if address is None:
        from tests.conformance.scenario import run

        return run(sys.argv[1], os.environ)
    told = {name: value for name, value in os.environ.items() if name.startswith("MCP_CONFORMANCE_")}
    return ask(address, json.dumps([sys.argv[1], told]))


if __name__ == "__main__":
    sys.exit(main())
