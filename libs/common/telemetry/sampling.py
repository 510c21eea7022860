"""Which requests are traced: decided once, where they enter, and carried from hop to hop."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from msgspec.structs import replace

from libs.common.config.telemetry import Tracing
from libs.common.trace import Trace

XRAY = "x-amzn-trace-id"
_HALF = 2**64
_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_PARENT = re.compile(r"[0-9a-f]{16}")
_DECIDED = {"1": "01", "0": "00"}
_NOBODY = "0" * 16
_UNDECIDED = "--"


class Sampler:
    """Gives requests their place in a trace: that of the client where it is believed, else a new one."""

    def __init__(self, table: Tracing) -> None:
        self._bound = round(table.sampling * _HALF)
        self._parented = table.parent_based_sampler
        self._w3c = table.propagation.trace_context
        self._xray = table.propagation.aws_xray

    def decide(self, trace: Trace, headers: Mapping[str, str]) -> Trace:
        """`trace` with the gateway's own context, as by `own`."""
        return replace(trace, own=self.own(trace.parent, headers))

    def own(self, parent: str, headers: Mapping[str, str]) -> str:
        """The gateway's own context for a client's: trace, parent span, and whether it is recorded.

        The share is taken by the last 64 bits of the trace id, so that all who do so decide alike
        (OpenTelemetry, TraceIdRatioBased).
        """
        if not self._w3c:
            parent = ""
        if not parent and self._xray and XRAY in headers:
            parent = xray(headers[XRAY])
        if not parent:
            number = random.getrandbits(128) or 1
            return f"00-{number:032x}-{_NOBODY}-{self._flags(number)}"
        flags = parent[53:55]
        if not self._parented or flags == _UNDECIDED:
            flags = self._flags(int(parent[19:35], 16))
        else:
            flags = "01" if int(flags, 16) & 1 else "00"
        return f"{parent[:53]}{flags}"

    def _flags(self, number: int) -> str:
        return "01" if number % _HALF < self._bound else "00"


def xray(text: str) -> str:
    """The context in an `X-Amzn-Trace-Id`, in the form of W3C; flags `--` if it leaves the decision open.

    Empty if there is none. Source: AWS X-Ray, Tracing header.
    """
    parts = dict(part.strip().partition("=")[::2] for part in text[:512].split(";"))
    root, parent = _ROOT.fullmatch(parts.get("Root", "")), parts.get("Parent", "")
    if root is None or not (root[1] + root[2]).strip("0"):
        return ""
    span = parent if _PARENT.fullmatch(parent) else _NOBODY
    return f"00-{root[1]}{root[2]}-{span}-{_DECIDED.get(parts.get('Sampled', ''), _UNDECIDED)}"
