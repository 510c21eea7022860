"""What waits to be sent: bounded, sent by threads of its own, and never in the way of a call."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from libs.common.config.telemetry import BatchExport

T = TypeVar("T")
Send = Callable[[Sequence[T]], bool]
"""Sends a batch, and says whether it arrived. May take its time; does not raise."""


class Batches(Generic[T]):
    """A queue and the threads that empty it. What finds no room is dropped; `lost` counts it."""

    def __init__(self, send: Send[T], limits: BatchExport, name: str) -> None:
        self.lost = 0
        self._send = send
        self._delay = limits.scheduled_delay
        self._room = limits.max_queue_size
        self._size = min(limits.max_export_batch_size, limits.max_queue_size)
        self._waiting: deque[T] = deque()
        self._closing = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, name=f"otlp-{name}-{number}", daemon=True)
            for number in range(limits.max_concurrent_exports)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, item: T) -> None:
        """Let it wait. Never blocks: the lock is only held to move things from one list to another."""
        with self._changed:
            if len(self._waiting) >= self._room or self._closing:
                self.lost += 1
                return
            self._waiting.append(item)
            if len(self._waiting) >= self._size:
                self._changed.notify()

    def close(self, until: float) -> bool:
        """Send what waits, until `until` of the monotonic clock; whether all threads have ended."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def drop(self) -> None:
        """Send nothing more of what waits."""
        with self._changed:
            self.lost += len(self._waiting)
            self._waiting.clear()

    def _run(self) -> None:
        while batch := self._next():
            if not self._send(batch):
                with self._changed:
                    self.lost += len(batch)

    def _next(self) -> list[T]:
        """A full batch, or what has waited for the delay; nothing at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(self._full, self._delay)
                if self._waiting:
                    return [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
                if self._closing:
                    return []

    def _full(self) -> bool:
        return self._closing or len(self._waiting) >= self._size
