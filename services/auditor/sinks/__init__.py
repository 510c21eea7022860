"""Where audit events go: one module for each type of sink, all behind one protocol."""

from services.auditor.sinks.sink import Delivery, Rejected, Sink, SinkDown

__all__ = ["Delivery", "Rejected", "Sink", "SinkDown"]
