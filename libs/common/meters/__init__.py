"""What operators can measure: families of numbers, one set for each process."""

from libs.common.meters.cells import OTHER
from libs.common.meters.registry import PROCESS, STARTED, Reading, collect, watching

__all__ = ["OTHER", "PROCESS", "STARTED", "Reading", "collect", "watching"]
