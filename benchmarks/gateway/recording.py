"""What the audit adds to a call: gateways that record nothing, all, and all on the disk first."""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median

import msgspec

from benchmarks.gateway.calls import settle
from benchmarks.gateway.generator import Generator, Round
from benchmarks.gateway.load import Job
from benchmarks.gateway.processes import Costs
from benchmarks.gateway.target import Peer, running, stdio
from benchmarks.gateway.traffic import calling

MODES = {
    "off": "[audit]\nenabled = false\n",
    "fast": '[audit]\nmode = "fast"\n',
    "strict": '[audit]\nmode = "strict"\n',
}
IN_FLIGHT = (1, 16)


class Recorded(msgspec.Struct):
    """One gateway: CPU microseconds of a call by role and in all, and milliseconds until its answer."""

    mode: str
    in_flight: int
    costs: Costs
    cost: float
    p50: float


def recording(generator: Generator, calls: int, rounds: int) -> list[Recorded]:
    """All modes side by side, their rounds in turn, so that whatever else runs meets all of them.

    Of each the cheapest round's costs, and the median of the rounds' times.
    """
    found: dict[tuple[str, int], list[Round]] = {}
    with ExitStack() as stack:
        targets = {
            mode: stack.enter_context(running({"stdio": stdio()}, Peer(), extra))
            for mode, extra in MODES.items()
        }
        traffic = {
            mode: calling(each.url, "modern", "stdio__echo", inside="execute")
            for mode, each in targets.items()
        }
        processes = {mode: each.processes() for mode, each in targets.items()}
        for each in traffic.values():
            settle(generator, each)
        for _ in range(rounds):
            for in_flight in IN_FLIGHT:
                for mode in MODES:
                    job = Job(traffic[mode], in_flight, calls if in_flight > 1 else calls // 2)
                    done = generator.round(job, processes[mode])
                    found.setdefault((mode, in_flight), []).append(done)
    return [_recorded(mode, in_flight, each) for (mode, in_flight), each in found.items()]


def _recorded(mode: str, in_flight: int, rounds: list[Round]) -> Recorded:
    cheapest = min(rounds, key=lambda each: each.cost)
    return Recorded(mode, in_flight, cheapest.costs, cheapest.cost, median(each.p50 for each in rounds))
