"""Every family of the gateway. Names of servers and tools are those of the catalog, else `other`."""

from __future__ import annotations

from libs.common.meters.registry import counter, durations, gauge, tally

_CLIENT = ("client.id", "client.group")
_LISTED = ("method", "status", "error.type", *_CLIENT)

HTTP = durations(
    "http.server.request.duration",
    "HTTP requests to the end of their answer, streams included",
    "http.request.method",
    "http.route",
    "http.response.status_code",
)
REQUESTS = counter("nexus.mcp.requests", "JSON-RPC requests that were answered", "method", "status")
LATENCY = durations("nexus.mcp.request.latency", "JSON-RPC requests, from read to answered", "method")
ERRORS = counter(
    "nexus.mcp.errors", "JSON-RPC requests that ended with an error", "method", "error.type", "origin"
)
CLIENTS = gauge("nexus.mcp.active_clients", "Callers heard of within 5 minutes, by each edge")
TOOL_CALLS = durations(
    "mcp.tool.call.duration",
    "Calls of tools, search and execute included",
    "tool_name",
    "tool_type",
    "server_name",
    "status",
    "error.type",
    "keyword_count",
    "result_count",
    *_CLIENT,
)
TOOL_LISTS = durations("mcp.tools.list.duration", "Lists of tools", *_LISTED)
PROMPTS = durations("mcp.prompt.request.duration", "Lists of prompts, and prompts", *_LISTED)
RESOURCES = durations("mcp.resource.request.duration", "Lists of resources, and resources", *_LISTED)
LOST = counter("nexus.workers.lost", "Calls whose worker fell silent for 2.5 s")
READY = gauge(
    "nexus.downstream.ready", "Whether any connector holds the server, as an edge sees it", "server_name"
)

ROUTED = counter("nexus.router.requests", "Requests by what became of them", "kind", "outcome")
DECISIONS = counter(
    "nexus.limits.decisions",
    "Calls counted to a limit, by its level and whether it let them in",
    "scope",
    "outcome",
)
STORAGE = gauge("nexus.limits.storage.up", "Whether the shared storage of limits answers")
REDIS = durations(
    "redis.command.duration", "Commands to the storage of limits", "operation", "status", "error.type"
)
REDIS_USED = gauge("redis.pool.connections.in_use", "Connections that a command runs on")
REDIS_FREE = gauge("redis.pool.connections.available", "Connections that are open and idle")

DOWNSTREAM = durations(
    "nexus.downstream.call.duration",
    "Requests to servers, as a connector sees them",
    "server_name",
    "outcome",
)
STATE = gauge(
    "nexus.downstream.state", "1 for the state that an instance of a server is in", "server_name", "state"
)
RESTARTS = tally("nexus.downstream.restarts", "Sessions that failed and were begun anew", "server_name")
BACKOFF = gauge(
    "nexus.downstream.backoff",
    "Pause before a failed server is tried again; 0 once it is ready",
    "server_name",
    unit="s",
)
SESSIONS = gauge(
    "nexus.downstream.sessions", "Sessions that are open: for all, or for one caller", "server_name", "of"
)

TOOLS = gauge("nexus.index.tools", "Tools that can be found")
SERVERS = gauge("nexus.index.servers", "Servers whose tools can be found")
SEARCHES = durations("nexus.search.duration", "Searches in the index")
EMPTY = counter("nexus.search.empty", "Searches that found nothing")

AUDITED = tally("nexus.audit.events", "Audit events that were made")
PUBLISHED = tally("nexus.audit.published", "Audit events that the stream has taken, replayed ones included")
UNRECORDED = tally("nexus.audit.lost", "Audit events that neither the disk nor the stream could take")
AUDIT_LAG = gauge("nexus.audit.lag", "Age of the oldest audit event that the stream has not got", unit="s")
SPOOL = gauge("nexus.audit.spool.size", "Audit events on disk that the stream has not got", unit="By")
SPOOL_LIMIT = gauge("nexus.audit.spool.limit", "What the spool may have", unit="By")
STREAM = gauge("nexus.audit.stream.size", "What the stream AUDIT holds", unit="By")
STREAM_FILL = gauge("nexus.audit.stream.fill", "The same as a share of audit.max_size", unit="1")
SINK_EVENTS = tally("nexus.audit.sink.events", "Events by what a sink did with them", "sink", "outcome")
SINK_FAILURES = tally("nexus.audit.sink.failures", "Batches that a sink did not take", "sink")
SINK_PENDING = gauge("nexus.audit.sink.pending", "Events that a sink has not seen yet", "sink")
SINK_UP = gauge("nexus.audit.sink.up", "Whether a sink takes events", "sink")
UNPUBLISHED = counter("mcp.audit.publish.errors", "Records that a Redis sink could not publish, and lost")

IN_FLIGHT = gauge("nexus.calls.in_flight", "What is under way, by what it is to this service", "kind")
CACHED = tally("nexus.cache.requests", "Looks into a cache", "cache", "result")
EVICTED = tally("nexus.cache.evictions", "Entries that made room for others", "cache")
ENTRIES = gauge("nexus.cache.entries", "Entries of a cache", "cache")

BUS = gauge("nexus.bus.connected", "Whether the message bus is there")
RECONNECTS = counter("nexus.bus.reconnects", "Times that the message bus came back")
LAG = durations("nexus.event_loop.lag", "How much later than due the event loop came round")
BUILD = gauge("nexus.build.info", "Always 1", "version", "python")
CPU = tally("process.cpu", "CPU time of the process, without its children", unit="s")
MEMORY = gauge("process.resident_memory", "Resident memory", unit="By")
FILES = gauge("process.open_fds", "Open file descriptors")
FILES_MAX = gauge("process.max_fds", "File descriptors it may have")
BEGAN = gauge("process.start_time", "When it began to count, since the epoch", unit="s")

MISSING = counter("nexus.metrics.missing", "Processes known that did not answer a scrape in time")
OMITTED = counter("nexus.metrics.omitted", "Families or answers left out because they are too large")
