"""The parent's side of the load generator: give it a job, look at the costs while it runs."""

from __future__ import annotations

import subprocess
import sys
from statistics import quantiles
from typing import IO, cast

import msgspec

from benchmarks.gateway.load import Figures, Job
from benchmarks.gateway.processes import Costs, Processes, spent


class Failed(Exception):
    """The target did not answer as it should."""


class Round(msgspec.Struct):
    """One measurement. Times in milliseconds, costs in CPU microseconds per call."""

    rate: float
    """Calls per second."""
    p50: float
    p95: float
    p99: float
    costs: Costs

    @property
    def cost(self) -> float:
        return sum(self.costs.values())


class Generator:
    """A child that makes calls; to be used as a context manager."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.gateway.load"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._figures = msgspec.json.Decoder(Figures).decode

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        self._output.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def round(self, job: Job, processes: Processes | None = None) -> Round:
        """Run one job; `processes` are those whose cost is told. Raises `Failed`."""
        self._tell(msgspec.json.encode(job))
        line = self._output.readline()
        if line.strip() != b"ready":
            raise Failed(self._figures(line).error)
        before = processes.cpu() if processes else {}
        self._tell(b"go")
        line = self._output.readline()
        after = processes.cpu() if processes else {}
        figures = self._figures(line)
        if figures.error:
            raise Failed(figures.error)
        return _round(figures, spent(before, after))

    def _tell(self, line: bytes) -> None:
        self._input.write(line + b"\n")
        self._input.flush()

    @property
    def _input(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdin)

    @property
    def _output(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdout)


def _round(figures: Figures, seconds: Costs) -> Round:
    calls = len(figures.times)
    cuts = quantiles(figures.times, n=100)
    costs = {role: value / calls * 1e6 for role, value in seconds.items()}
    return Round(calls / figures.seconds, cuts[49], cuts[94], cuts[98], costs)
