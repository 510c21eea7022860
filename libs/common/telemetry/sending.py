"""The way of one signal to its collector: what is said when it fails, and how it ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import structlog

from libs.common.config.telemetry import Otlp, Signal
from libs.common.log import clean
from libs.common.telemetry.batches import Batches
from libs.common.telemetry.exporters import exporter, place

T = TypeVar("T")
LEAVE_WITHIN = 3.0
"""Seconds at the end of a process for what waits."""
SHUT_WITHIN = 0.5
"""Of these, for threads to notice that their export was broken off."""
LIBRARIES = ("opentelemetry", "grpc", "urllib3", "requests")
"""Whose log lines are about sending, and would be sent in turn."""

log = structlog.get_logger("telemetry")


class Reasons(logging.Handler):
    """Tells what exporters say of their failures to whoever exports in this thread, and nobody else."""

    def __init__(self) -> None:
        super().__init__()
        self._here = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        told: Callable[[str], None] | None = getattr(self._here, "told", None)
        if told is not None:
            told(record.getMessage())

    @contextmanager
    def told_to(self, hear: Callable[[str], None]) -> Iterator[None]:
        """What is said inside is told to `hear`."""
        self._here.told = hear
        try:
            yield
        finally:
            self._here.told = None


def listen() -> Reasons:
    """From now on, what the libraries say of exports is told by `Sending`, once, and by nobody else."""
    reasons = Reasons()
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [reasons], False
        logger.setLevel(logging.WARNING)
    return reasons


class Sending(Generic[T]):
    """Batches of one signal, exported. A collector that is away is told of once, and once when it is back."""

    def __init__(
        self,
        signal: Signal,
        otlp: Otlp,
        reasons: Reasons,
        shape: Callable[[Sequence[T]], Any] = lambda batch: batch,
    ) -> None:
        """`shape` makes of a batch what the exporter takes. Raises what `exporter` raises."""
        self._shape = shape
        self._signal = signal
        self._place = place(otlp)
        self._reasons = reasons
        self._failing = False
        self._telling = threading.Lock()
        self._exporter: Any = exporter(signal, otlp)
        self._batches: Batches[T] = Batches(self.send, otlp.batch_export, signal)
        self.add: Callable[[T], None] = self._batches.add

    @property
    def lost(self) -> int:
        """What has not arrived, or found no room."""
        return self._batches.lost

    def send(self, batch: Sequence[T]) -> bool:
        """Whether the collector took it; never raises."""
        try:
            with self._reasons.told_to(self._fail):
                arrived = bool(self._exporter.export(self._shape(batch)).name == "SUCCESS")
        except Exception as error:  # noqa: BLE001 - the edge of the thread; it has to live on
            arrived = False
            self._fail(str(error))
        if arrived:
            self._recover()
        else:
            self._fail("the collector did not take it")
        return arrived

    def close(self, until: float) -> None:
        """Send what waits, until `until` of the monotonic clock; then give it up."""
        if not self._batches.close(until - SHUT_WITHIN):
            self._batches.drop()
            self._exporter.shutdown()
            self._batches.close(until)
        else:
            self._exporter.shutdown()

    def _fail(self, reason: str) -> None:
        """An exporter tries again for a while, and says so: a first try that failed is told at once."""
        if self._turned(failing=True):
            text = "telemetry does not arrive; the gateway goes on, what waits too long is lost"
            log.warning(text, signal=self._signal, collector=self._place, reason=clean(reason))

    def _recover(self) -> None:
        if self._turned(failing=False):
            log.info("telemetry arrives again", signal=self._signal, collector=self._place, lost=self.lost)

    def _turned(self, *, failing: bool) -> bool:
        """Whether this is news."""
        with self._telling:
            news, self._failing = self._failing != failing, failing
        return news


def deadline() -> float:
    """Of the monotonic clock: when whoever leaves now waits no more."""
    return time.monotonic() + LEAVE_WITHIN
