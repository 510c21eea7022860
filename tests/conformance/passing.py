"""`python -m tests.conformance.passing ADDRESS [LINE]`: what another process runs on these streams."""

from __future__ import annotations

import socket
import sys


def ask(address: str, line: str = "") -> int:
    """Have the process at `address` run what it runs, told `line`; its status, 1 if it broke off."""
    with socket.socket(socket.AF_UNIX) as warm:
        warm.connect(address)
        warm.sendall(line.encode())
        socket.send_fds(warm, [b"\n"], [0, 1, 2])
        return int(warm.recv(1) != b"0")


if __name__ == "__main__":
    sys.exit(ask(*sys.argv[1:]))
