"""What of a request counts to limits."""

from __future__ import annotations

from libs.common.messages.calls import (
    CallServer,
    ExecuteTool,
    HoldCall,
    ListServer,
    NotifyServer,
    Request,
    SearchTools,
)
from libs.common.policy import Policy
from services.router.limits.limiter import Limiter
from services.router.limits.rules import Facts
from services.router.names import Names


class Meter:
    """Counts a request to the caller, and to the server and the tool it means, if it may have them."""

    def __init__(self, limiter: Limiter, names: Names, policy: Policy) -> None:
        self._limiter = limiter
        self._names = names
        self._policy = policy

    @property
    def waits(self) -> bool:
        """Whether `count` may have to wait for somebody else."""
        return self._limiter.waits

    async def count(self, request: Request) -> None:
        """Raises `RateLimited`, and then has counted nothing."""
        if _counts(request):
            await self._limiter.take(self._facts(request))

    def _facts(self, request: Request) -> Facts:
        found = self._meant(request)
        if found is None:
            return Facts(request.principal)
        decision = self._policy.decide(request.principal, *found)
        if not decision.allowed or decision.missing:
            return Facts(request.principal)
        return Facts(request.principal, *found)

    def _meant(self, request: Request) -> tuple[str, str] | None:
        match request:
            case ExecuteTool():
                return self._names.find(request.name, request.own)
            case CallServer():
                return request.server, request.tool
            case NotifyServer():
                return request.server, ""
            case SearchTools() | ListServer() | HoldCall():
                return None


def _counts(request: Request) -> bool:
    """Whether this is a request of its own: no repetition, and not the rest of a call that was counted."""
    if isinstance(request, ListServer | HoldCall) or request.again:
        return False
    return not isinstance(request, ExecuteTool | CallServer) or request.worker == ""
