"""Every error a caller of the gateway can meet, in one tree.

NexusError                       code, HTTP status, whether the call was executed
├── ProtocolError                the message itself is wrong; nothing was routed
│   ├── ParseFailed              -32700, 400
│   ├── InvalidRequest           -32600, 400
│   ├── MethodNotFound           -32601, 404
│   ├── InvalidParams            -32602, 400
│   ├── HeaderMismatch           -32020, 400
│   ├── UnsupportedVersion       -32022, 400
│   ├── SessionUnknown           -32600, 404
│   ├── MethodNotAllowed         -32600, 405
│   ├── NotAcceptable            -32600, 406
│   ├── BodyTooSlow              -32600, 408
│   ├── BodyTooLarge             -32600, 413
│   ├── UnsupportedMediaType     -32600, 415
│   ├── HostRefused              -32600, 421
│   └── OriginRefused            -32600, 403
├── Refused                      executed: no, proven
│   ├── ServerUnknown            no such server, or none the caller may see
│   ├── ServerUnavailable        configured, but nobody holds it now
│   ├── NotSent                  the downstream transport failed before the first byte left
│   ├── Overloaded               a bound was reached
│   ├── Draining                 this worker is going away
│   ├── ScopeRefused             the token lacks a scope the operation needs, 403
│   ├── BusUnavailable           the gateway has lost its bus, 503
│   ├── AuditUnavailable         what is asked for cannot be recorded, and must be, 503
│   └── RateLimited              too many calls of a server, a tool or a group
│       └── TooManyRequests      too many of this caller, or of all together, 429
├── Lost                         executed: unknown
│   ├── WorkerLost               no beat for too long
│   ├── DownstreamLost           the session died while the call ran
│   └── DeadlineExceeded         the time is over
├── InternalFault                a fault of our own: executed unknown
└── DownstreamFailed             executed: yes
    ├── DownstreamError          the server's own JSON-RPC error, passed on as it came
    ├── CapabilityMissing        -32021, 400: it asked for what the client has not declared
    ├── ResultTooLarge           the answer is over the bound
    └── ResultInvalid            the answer is not JSON-RPC
ConfigError                      the configuration is wrong; every mistake at once
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

Executed = Literal["no", "yes", "unknown"]

NULL = msgspec.Raw(b"null")


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What crosses the bus when a call fails: a JSON-RPC error and its verdict."""

    code: int
    message: str
    executed: Executed = "no"
    http: int = 200
    data: msgspec.Raw = NULL
    retry: bool = False
    verbatim: bool = False


class NexusError(Exception):
    """Base of all: a message a caller can act on, and facts as `data`."""

    code: ClassVar[int] = -32603
    http: ClassVar[int] = 200
    executed: Executed = "no"
    retry: ClassVar[bool] = False
    """Whether the edge may send the call once more: only ever for a proven `no`."""

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def failure(self) -> Failure:
        """The wire form of this error; `data` always carries the verdict."""
        data = msgspec.Raw(msgspec.json.encode({**self.data, "executed": self.executed}))
        return Failure(self.code, self.message, self.executed, self.http, data, self.retry)


class ProtocolError(NexusError):
    """The message breaks a rule of HTTP, JSON-RPC or MCP."""

    code = -32600
    http = 400


class ParseFailed(ProtocolError):
    code = -32700


class InvalidRequest(ProtocolError):
    pass


class MethodNotFound(ProtocolError):
    code = -32601
    http = 404


class InvalidParams(ProtocolError):
    code = -32602


class HeaderMismatch(ProtocolError):
    code = -32020


class UnsupportedVersion(ProtocolError):
    code = -32022


class SessionUnknown(ProtocolError):
    http = 404


class MethodNotAllowed(ProtocolError):
    http = 405


class NotAcceptable(ProtocolError):
    http = 406


class BodyTooSlow(ProtocolError):
    http = 408


class BodyTooLarge(ProtocolError):
    http = 413


class UnsupportedMediaType(ProtocolError):
    http = 415


class HostRefused(ProtocolError):
    http = 421


class OriginRefused(ProtocolError):
    http = 403


class Refused(NexusError):
    """The call was not executed, and that is proven.

    Codes of the gateway's own lie outside -32768…-32000, which JSON-RPC 2.0 §5.1 reserves.
    """

    code = -31000


class ServerUnknown(Refused):
    code = -31001


class ServerUnavailable(Refused):
    code = -31002
    retry = True


class NotSent(Refused):
    code = -31003
    retry = True


class Overloaded(Refused):
    code = -31004
    http = 503


class Draining(Refused):
    code = -31005
    retry = True


class BusUnavailable(Refused):
    code = -31006
    http = 503


class AuditUnavailable(Refused):
    code = -31009
    http = 503


class ScopeRefused(Refused):
    """The caller may, but not with this token; `scopes` are all that the operation needs."""

    code = -31008
    http = 403


class RateLimited(Refused):
    """A limit is used up; `data` has `scope`, `limit`, `interval_ms` and `retry_after_ms`."""

    code = -31007


class TooManyRequests(RateLimited):
    http = 429


class Lost(NexusError):
    """Nobody can say whether the call was executed."""

    code = -31010
    executed: Executed = "unknown"


class WorkerLost(Lost):
    code = -31011


class DownstreamLost(Lost):
    code = -31012


class DeadlineExceeded(Lost):
    code = -31013


class InternalFault(NexusError):
    """A fault of our own; the log has the details, the caller does not."""

    executed: Executed = "unknown"


class DownstreamFailed(NexusError):
    """The downstream server received the call and answered badly."""

    code = -31020
    executed: Executed = "yes"


class DownstreamError(DownstreamFailed):
    """A JSON-RPC error of the downstream itself; code, message and data are its own."""

    def __init__(self, code: int, message: str, data: msgspec.Raw = NULL) -> None:
        super().__init__(message)
        self.downstream_code = code
        self.raw = data

    def failure(self) -> Failure:
        return Failure(self.downstream_code, self.message, self.executed, 200, self.raw, verbatim=True)


class CapabilityMissing(DownstreamFailed):
    code = -32021
    http = 400


class ResultTooLarge(DownstreamFailed):
    code = -31021


class ResultInvalid(DownstreamFailed):
    code = -31022


class CallFailed(NexusError):
    """A failure that arrived over the bus, raised again where the caller waits."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.received = failure
        self.executed = failure.executed

    def failure(self) -> Failure:
        return self.received


class ConfigError(Exception):
    """The configuration cannot be used; the text names every mistake."""
