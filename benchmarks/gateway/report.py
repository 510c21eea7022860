"""The figures as tables for people, beside what they may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.gateway.calls import Row
from benchmarks.gateway.crowd import Stage
from benchmarks.gateway.entrance import Entrance
from benchmarks.gateway.limits import Counted, Window
from benchmarks.gateway.lookup import Lookup
from benchmarks.gateway.processes import ROLES, Costs
from benchmarks.gateway.progress import EVENTS, Stretch
from benchmarks.gateway.recording import Recorded
from benchmarks.gateway.startup import Start
from benchmarks.gateway.tracing import Step, Traced
from benchmarks.gateway.writing import Written

COST_MAX = {"stdio": 500.0, "http": 650.0}
"""CPU microseconds of one `execute`, all processes of the gateway together."""
ADDED_MAX = 2.0
"""Milliseconds that the gateway adds to a call, one in flight."""
MEMORY_MAX = 90.0
"""MB of one process."""
AUDIT_MAX = 60.0
"""CPU microseconds that the audit of one call adds in fast mode, all processes together."""
RATIO_MAX = 3.0
"""Of the cost of a call with ten progress events to that of a plain one."""
CROWD_MAX = 400.0
"""MB of an edge with 10,000 sessions and 1,000 streams of each kind."""
UNRECORDED_MAX = 15.0
"""CPU microseconds that traces add to a call that is not recorded."""
SESSION_MAX = 5.0
"""KiB of an edge for one idle session."""

_KNOWN = (*ROLES, "nats-server")
WIDTH = 150
console = Console(width=max(WIDTH, Console().width))


def print_calls(rows: Sequence[Row]) -> None:
    """Latency, rate and cost of calls."""
    columns = ["path", "client", "server", "in flight", "calls/s", "p50", "p95", "p99", "added"]
    table = _table("Calls: ms, and CPU µs of one call", [*columns, *_short(_KNOWN), "other", "sum", "budget"])
    for row in rows:
        place = [row.way, row.client, row.downstream, str(row.in_flight)]
        if row.error:
            table.add_row(*place, f"[red]{row.error[:60]}[/red]")
            continue
        times = [f"{row.rate:,.0f}", *(f"{value:.2f}" for value in (row.p50, row.p95, row.p99))]
        table.add_row(*place, *times, _added(row, rows), *_costs(row))
    console.print(table)


def print_progress(rows: Iterable[Stretch]) -> None:
    """What progress costs, beside the same call without it."""
    columns = ["client", "server", "in flight", "ms apart", "plain", "with progress", "ratio", "budget"]
    table = _table(f"Progress: CPU µs of one call with {EVENTS} events, all processes", columns)
    for row in rows:
        place = [row.client, row.downstream, str(row.in_flight), f"{row.pause:.0f}"]
        if row.error:
            table.add_row(*place, f"[red]{row.error[:60]}[/red]")
            continue
        costs = [f"{value:,.0f}" for value in (row.plain, row.progress)]
        table.add_row(*place, *costs, _marked(row.ratio, RATIO_MAX, 2), f"{RATIO_MAX:.0f}")
    console.print(table)


def print_entrance(rows: Iterable[Entrance]) -> None:
    """What knowing the caller costs."""
    table = _table("Entrance: CPU µs of one request, over one without authentication", ["", "cost", "budget"])
    for row in rows:
        table.add_row(row.credentials, _marked(row.cost, row.budget, 1), f"{row.budget:.0f}")
    console.print(table)


def print_crowd(stages: Iterable[Stage]) -> None:
    """What sessions and streams cost the edge that holds them."""
    columns = ["", "edge MB", "budget", "KiB each", "open files", "idle ms/s"]
    table = _table("Crowd: one edge; CPU ms per second of all processes while nothing happens", columns)
    for stage in stages:
        each = _marked(stage.each, SESSION_MAX, 1) if "sessions" in stage.name else f"{stage.each:.1f}"
        costs = [_marked(stage.memory, CROWD_MAX), f"{CROWD_MAX:.0f}", each if stage.came else ""]
        table.add_row(stage.name, *costs, f"{stage.sockets:,}", f"{stage.idle:.0f}")
    console.print(table)


def print_memory(memory: Mapping[str, Costs]) -> None:
    """MB of each process, at some moments."""
    roles = list(dict.fromkeys(role for costs in memory.values() for role in costs))
    table = _table(f"Memory: MB of a process, {MEMORY_MAX:.0f} at most", ["", *roles])
    for moment, costs in memory.items():
        table.add_row(moment, *(_marked(costs.get(role, 0), MEMORY_MAX) for role in roles))
    console.print(table)


def print_starts(starts: Iterable[Start]) -> None:
    """Time and cost of starting."""
    table = _table("Start: seconds", ["servers", "/health answers", "all ready", "CPU"])
    for each in starts:
        table.add_row(str(each.servers), *(f"{value:.2f}" for value in (each.healthy, each.ready, each.cpu)))
    console.print(table)


def print_lookups(lookups: Iterable[Lookup]) -> None:
    """Latency and cost of searches."""
    columns = ["tools", "in flight", "searches/s", "p50", "p95", "p99", *_short(_KNOWN), "other", "sum"]
    table = _table("Searches: ms, and CPU µs of one", [*columns, "index p50", "index p95", "indexer MB"])
    for each in lookups:
        for flying, found in ((1, each.single), (16, each.many)):
            times = [f"{found.rate:,.0f}", *(f"{value:.2f}" for value in (found.p50, found.p95, found.p99))]
            costs = [*_parts(found.costs), f"{found.cost:,.0f}"]
            index = [f"{each.index[f'clean_{cut}_ms']:.2f}" for cut in ("p50", "p95")]
            memory = f"{each.memory.get('indexer', 0):.0f}"
            table.add_row(f"{each.tools:,}", str(flying), *times, *costs, *index, memory)
    console.print(table)


def print_limits(counted: Iterable[Counted], windows: Iterable[Window]) -> None:
    """What limits cost, and how exact they are."""
    table = _table("Six limits of a call: µs", ["counted in", "p50", "p99", "CPU", "calls/s, 32 at once"])
    for each in counted:
        times = [f"{value:.1f}" for value in (each.p50, each.p99, each.cost)]
        table.add_row(each.storage, *times, f"{each.rate:,.0f}")
    console.print(table)
    exact = _table("The fullest window", ["limit", "arrivals", "share of the limit"])
    for window in windows:
        limit = f"{window.limit:,} in {window.seconds:,} s"
        exact.add_row(limit, f"{window.arrivals:,}", f"{window.worst:.2f}")
    console.print(exact)


def print_tracing(traced: Sequence[Traced], unrecorded: Sequence[Step]) -> None:
    """What traces cost."""
    table = _table("Traces", ["requests", "CPU µs/call", "added", "p50 ms"])
    for each in traced:
        table.add_row(each.mode, f"{each.cost:.0f}", f"{each.added:+.0f}", f"{each.p50:.2f}")
    console.print(table)
    parts = _table("A call that is not recorded: µs of CPU that are added", ["part", "µs"])
    for step in unrecorded:
        parts.add_row(step.part, f"{step.cost:.2f}")
    parts.add_row("together", _marked(sum(step.cost for step in unrecorded), UNRECORDED_MAX, 1))
    console.print(parts)


def print_audit(rows: Sequence[Recorded]) -> None:
    """What recording calls costs, beside the same calls unrecorded."""
    off = {row.in_flight: row for row in rows if row.mode == "off"}
    columns = ["audit", "in flight", *_short(_KNOWN), "sum", "more", "p50", "later"]
    table = _table(
        f"Audit: CPU µs of one call ({AUDIT_MAX:.0f} more at most), and ms until its answer", columns
    )
    for row in rows:
        base = off[row.in_flight]
        costs = [f"{row.costs.get(role, 0.0):,.0f}" for role in _KNOWN]
        sums = [f"{row.cost:,.0f}", f"{row.cost - base.cost:+,.0f}"]
        table.add_row(
            row.mode, str(row.in_flight), *costs, *sums, f"{row.p50:.2f}", f"{row.p50 - base.p50:+.2f}"
        )
    console.print(table)


def print_written(rows: Iterable[Written]) -> None:
    """What both events of a call cost by themselves."""
    columns = ["audit", "writing", "shipping", "broker", "ms"]
    table = _table("Both events of a call, without a gateway: CPU µs, and ms until they are safe", columns)
    for each in rows:
        costs = [f"{value:.1f}" for value in (each.writing, each.shipping, each.broker)]
        table.add_row(each.mode, *costs, f"{each.p50:.2f}")
    console.print(table)


def added(row: Row, rows: Iterable[Row]) -> float | None:
    """Milliseconds a gateway row has over the direct one, one in flight; None where that means nothing."""
    for each in rows:
        same = each.client == row.client and each.in_flight == row.in_flight == 1
        if each.way == "direct" and same and row.way != "direct" and not each.error:
            return row.p50 - each.p50
    return None


def _added(row: Row, rows: Iterable[Row]) -> str:
    value = added(row, rows)
    return "" if value is None else _marked(value, ADDED_MAX, 2)


def _costs(row: Row) -> list[str]:
    if not row.costs:
        return []
    limit = COST_MAX[row.downstream]
    return [*_parts(row.costs), _marked(row.cost, limit), f"{limit:.0f}"]


def _parts(costs: Costs) -> list[str]:
    other = sum(value for role, value in costs.items() if role not in _KNOWN)
    return [f"{value:.0f}" for value in (*(costs.get(role, 0.0) for role in _KNOWN), other)]


def _marked(value: float, limit: float, digits: int = 0) -> str:
    return f"[{'green' if value <= limit else 'red'}]{value:,.{digits}f}[/]"


def _short(roles: Iterable[str]) -> list[str]:
    return [role.partition("-")[0] for role in roles]


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", padding=(0, 1))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table
