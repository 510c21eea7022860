"""A process that has loaded what takes long, and a copy of it for each program that only passes its pipes on.

Half a second of two cores for each of a hundred short-lived processes is most of what a run would take.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable

REQUEST_MAX = 1024 * 1024
"""Bytes of what one copy is told."""


def serve(listener: socket.socket, work: Callable[[str], int], most: int) -> None:
    """Run `work` in a copy of this process whenever asked, `most` at a time, until this process is ended.

    `work` takes what the asker said in one line, and gives the status that the asker is to end with; the
    standard streams are the asker's.
    """
    gc.collect()
    gc.freeze()
    running = 0
    while True:
        if running == most:
            os.wait()
            running -= 1
        connection, _ = listener.accept()
        running += 1
        with connection:
            if os.fork() == 0:
                listener.close()
                sys.exit(_work(connection, work))


def _work(connection: socket.socket, work: Callable[[str], int]) -> int:
    said, streams = _received(connection)
    for standard, given in enumerate(streams):
        os.dup2(given, standard)
        os.close(given)
    status = work(said)
    connection.sendall(str(status).encode())
    return status


def _received(connection: socket.socket) -> tuple[str, list[int]]:
    said, streams = b"", list[int]()
    while not said.endswith(b"\n") and len(said) < REQUEST_MAX:
        part, given, _, _ = socket.recv_fds(connection, 64 * 1024, 3)
        if not part:
            raise EOFError("the asker left before it had said what to do")
        said += part
        streams += given
    return said.decode(), streams
