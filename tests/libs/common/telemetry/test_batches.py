from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from libs.common.config.telemetry import BatchExport
from libs.common.telemetry.batches import Batches

LONG = 30.0


class Collector:
    """Takes batches, and only when it is let."""

    def __init__(self, *, open_: bool = True, arrives: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.inside = 0
        self.most = 0
        self.arrives = arrives
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self._lock = threading.Lock()
        if open_:
            self.gate.set()

    def send(self, batch: Sequence[int]) -> bool:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        self.gate.wait(LONG)
        with self._lock:
            self.inside -= 1
            self.batches.append(list(batch))
        return self.arrives


def limits(**keys: float) -> BatchExport:
    return BatchExport.model_validate({"scheduled_delay": LONG, **keys})


def test_a_full_batch_leaves_at_once_and_the_rest_at_the_end() -> None:
    collector = Collector()
    batches = Batches(collector.send, limits(max_export_batch_size=3), "test")
    for number in range(3):
        batches.add(number)
    assert collector.entered.acquire(timeout=LONG)
    batches.add(3)
    assert batches.close(time.monotonic() + LONG)
    assert collector.batches == [[0, 1, 2], [3]]


def test_what_waits_for_the_delay_leaves_without_company() -> None:
    collector = Collector()
    batches = Batches(collector.send, limits(scheduled_delay=0.02), "test")
    batches.add(1)
    assert collector.entered.acquire(timeout=LONG)
    assert batches.close(time.monotonic() + LONG)
    assert collector.batches == [[1]]


def test_what_finds_no_room_is_dropped_and_counted_and_nobody_waits() -> None:
    collector = Collector(open_=False)
    batches = Batches(collector.send, limits(max_queue_size=4, max_export_batch_size=2), "test")
    batches.add(0)
    batches.add(1)
    assert collector.entered.acquire(timeout=LONG)
    for number in range(2, 1000):
        batches.add(number)
    assert batches.lost == 1000 - 2 - 4
    collector.gate.set()
    assert batches.close(time.monotonic() + LONG)
    assert collector.batches == [[0, 1], [2, 3], [4, 5]]


def test_as_many_exports_run_at_once_as_are_allowed() -> None:
    collector = Collector(open_=False)
    batches = Batches(collector.send, limits(max_export_batch_size=1, max_concurrent_exports=3), "test")
    for number in range(6):
        batches.add(number)
    assert all(collector.entered.acquire(timeout=LONG) for _ in range(3))
    collector.gate.set()
    assert batches.close(time.monotonic() + LONG)
    assert (collector.most, len(collector.batches)) == (3, 6)


def test_a_collector_that_stalls_keeps_nobody_from_leaving() -> None:
    collector = Collector(open_=False)
    batches = Batches(collector.send, limits(max_export_batch_size=1), "test")
    batches.add(1)
    batches.add(2)
    assert collector.entered.acquire(timeout=LONG)
    assert not batches.close(time.monotonic() + 0.05)
    batches.drop()
    collector.gate.set()
    assert batches.close(time.monotonic() + LONG)
    assert (collector.batches, batches.lost) == ([[1]], 1)


def test_what_does_not_arrive_is_counted() -> None:
    collector = Collector(arrives=False)
    batches = Batches(collector.send, limits(max_export_batch_size=2), "test")
    batches.add(1)
    batches.add(2)
    assert batches.close(time.monotonic() + LONG)
    assert batches.lost == 2


def test_a_batch_is_never_larger_than_the_queue() -> None:
    collector = Collector()
    batches = Batches(collector.send, limits(max_queue_size=2, max_export_batch_size=512), "test")
    batches.add(1)
    batches.add(2)
    assert collector.entered.acquire(timeout=LONG)
    assert batches.close(time.monotonic() + LONG)
    assert collector.batches == [[1, 2]]
