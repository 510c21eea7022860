"""What a gateway's processes cost: CPU time and memory, by role."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

ROLES = ("edge", "router", "connector", "indexer", "auditor")
OURS = "libs.cli.main"
UNCOUNTED = "echo.py"
"""In the command line of the downstream servers that a gateway has started."""

Costs = dict[str, float]
"""A figure for each role; `nexus` is the supervisor, a process of a peer goes by its own name."""


Figure = Callable[[int], float]


class Processes:
    """A process and all its descendants, but for downstream servers."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def cpu(self) -> Costs:
        """Seconds of CPU each role has used so far."""
        return self._by_role(_seconds)

    def memory(self) -> Costs:
        """MB of memory of the largest process of each role."""
        return self._by_role(lambda pid: psutil.Process(pid).memory_info().rss / 1e6, largest=True)

    def sockets(self) -> Costs:
        """Open sockets and files of the process of each role that has the most."""
        return self._by_role(lambda pid: float(psutil.Process(pid).num_fds()), largest=True)

    def _by_role(self, figure: Figure, *, largest: bool = False) -> Costs:
        found: dict[str, list[float]] = defaultdict(list)
        # Looked up each time: a gateway may start processes when it is called first.
        for each in [self._root, *self._root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, OSError):
                if role := _role(each):
                    found[role].append(figure(each.pid))
        return {role: max(values) if largest else sum(values) for role, values in found.items()}


def spent(before: Costs, after: Costs) -> Costs:
    """The difference of two sums."""
    return {role: total - before.get(role, 0.0) for role, total in after.items()}


def _role(process: psutil.Process) -> str:
    command = process.cmdline()
    if any(UNCOUNTED in word for word in command):
        return ""
    if OURS in command:
        return next((role for role in ROLES if role in command), "nexus")
    return process.name()


def _seconds(pid: int) -> float:
    """The scheduler's nanoseconds where Linux tells them; else ticks of 10 ms."""
    tasks = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if not tasks:
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
