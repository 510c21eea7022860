"""The edge as one ASGI application, wired from parts that are given to it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from libs.common.audit.trail import NO_TRAIL
from libs.common.meters.asking import Asking
from libs.common.seal import Keyring
from services.edge.aggregate import Aggregate
from services.edge.auth.resource import Resources, metadata_routes
from services.edge.beside import Beside
from services.edge.browsers import Browsers, Cors, Forged
from services.edge.conversation import Conversation
from services.edge.definitions import Definitions
from services.edge.endpoint import Endpoint, Scope
from services.edge.flights import Flights
from services.edge.gateway import Anonymous, Catalog, Gateway, Identify
from services.edge.health import health_routes
from services.edge.journal import Journals
from services.edge.legacy import Legacy
from services.edge.lines import Lines
from services.edge.listening import Listening
from services.edge.measured import Measured
from services.edge.metrics import metrics_routes
from services.edge.modern import Modern
from services.edge.pair import MESSAGES, STREAM, Posting, Reading
from services.edge.params import Mirrored
from services.edge.parked import Parked
from services.edge.permitted import Listed
from services.edge.questions import Questions
from services.edge.scribe import Scribe
from services.edge.sessions import Sessions
from services.edge.settings import Settings
from services.edge.spanning import Spanning
from services.edge.standing import Standing
from services.edge.tally import Tally
from services.edge.tasks import Tickets
from services.edge.transparent import Transparent
from services.edge.vigil import Vigil

if TYPE_CHECKING:
    from libs.common.telemetry.tracing import Tracing


class Application(FastAPI):
    """Without FastAPI's layers but the one that answers 404 and 405; `add_middleware` has no effect here."""

    cors: Cors | None = None
    csrf: str | None = None
    quiet: frozenset[str | None] = frozenset()
    forged: Forged | None = None

    def build_middleware_stack(self) -> ASGIApp:
        app: ASGIApp = ExceptionMiddleware(self.router, self.exception_handlers)
        if self.cors is not None or self.csrf is not None:
            app = Browsers(app, self.cors, self.csrf, *filter(None, (self.forged,)))
        paths: dict[object, str] = {
            each.endpoint: each.path for each in self.router.routes if isinstance(each, Route)
        }
        return Measured(app, paths, self.quiet)


def create_app(
    gateway: Gateway,
    catalog: Catalog,
    settings: Settings,
    keys: Keyring,
    flights: Flights,
    questions: Questions,
    standing: Standing,
    lines: Lines,
    *,
    journals: Journals | None = None,
    identify: Identify | None = None,
    resources: Resources | None = None,
    health: bool = True,
    asking: Asking | None = None,
    tally: Tally | None = None,
    scribe: Scribe | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """Everything a client may reach. `health` and `asking` are off where they have their own listener.

    `flights`, `questions`, `standing` and `lines` are shared with whoever hears of what clients said to
    other replicas. With `tracing` there are spans, where that is decided.
    """
    app, who = _bare(settings), identify or Anonymous()
    book = scribe or Scribe(NO_TRAIL, settings.policy, Definitions(catalog))
    app.cors, app.csrf = settings.cors, settings.csrf
    app.forged = partial(book.forged, settings.proxies)
    sessions = Sessions(keys, catalog, settings.session_ttl)
    schemas, tickets, parked = Mirrored(), Tickets(keys), Parked(keys)
    vigil = Vigil(gateway, parked)
    tally = tally or Tally(catalog, settings)
    conversation = Conversation(gateway, catalog, flights, questions, standing, vigil, tally)
    listening = Listening(catalog, standing, journals, settings.listen_ttl)
    legacy = Legacy(conversation, catalog, sessions, listening, settings)
    modern, listed = Modern(settings, tally), Listed()
    aggregate = Aggregate(gateway, catalog, settings, keys, schemas, parked, standing.closing)

    def one(scope: Scope) -> Transparent:
        server = scope["path_params"]["server"]
        return Transparent(server, gateway, catalog, settings, schemas, tickets, parked, listed)

    reading = Reading(lines, keys, conversation, listening, standing.closing, settings)
    posting = Posting(lines, keys, gateway, settings)
    # In this order: `/sse` after the path of the aggregate is no server's name.
    spanning = Spanning(tracing, catalog, settings.policy)
    for path, surface in ((settings.mcp_path, lambda _: aggregate), (settings.mcp_path + "/{server}", one)):
        spanned = spanning.surface(surface)
        endpoint = Endpoint(spanned, who, modern, legacy, settings, book)
        app.router.routes += [
            Route(path + STREAM, Endpoint(spanned, who, reading, reading, settings, book)),
            Route(path + MESSAGES, Endpoint(spanned, who, posting, posting, settings, book)),
            Route(path, spanning.endpoint(endpoint, path)),
        ]
    if resources is not None:
        app.router.routes += metadata_routes(resources)
    if health:
        app.router.routes += health_routes(catalog, settings, Beside(who, book, settings.ready_path or ""))
    if asking is not None:
        app.router.routes += metrics_routes(asking, settings, guarded=True)
    return app


def create_health(catalog: Catalog, settings: Settings, asking: Asking | None = None) -> FastAPI:
    """Health and metrics on a listener of their own, which only the operator's network reaches."""
    app = _bare(settings)
    app.router.routes += health_routes(catalog, settings)
    if asking is not None:
        app.router.routes += metrics_routes(asking, settings, guarded=False)
    return app


def _bare(settings: Settings) -> Application:
    """No generated documentation, no redirect from `/mcp/` (paths are exact), no telemetry but our own."""
    app = Application(
        title="Nexus",
        version=settings.version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.quiet = frozenset({settings.health_path, settings.ready_path, settings.metrics_path})
    return app
