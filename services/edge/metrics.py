"""`/metrics`: what the whole fleet measured, or with `?scope=self` this process alone."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.common.meters.asking import Asking
from libs.common.meters.text import CONTENT_TYPE
from services.edge.health import refused
from services.edge.settings import Settings


def metrics_routes(asking: Asking, settings: Settings, *, guarded: bool) -> list[Route]:
    """`guarded` where browsers can reach it: a web page must not read it under a made-up name."""

    async def metrics(request: Request) -> Response:
        if guarded and (answer := refused(request, settings)) is not None:
            return answer
        own = request.query_params.get("scope") == "self"
        text = await (asking.own() if own else asking.fleet())
        return Response(text, 200, {"cache-control": "no-store", "content-type": CONTENT_TYPE})

    return [] if settings.metrics_path is None else [Route(settings.metrics_path, metrics)]
