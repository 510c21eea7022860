"""The fleet as one view: pure, from records alone."""

from __future__ import annotations

from libs.common.fleet import Fleet
from libs.common.messages.catalog import Held, Worker


def fleet(*workers: Worker) -> Fleet:
    fleet = Fleet(["b", "a"])
    for worker in workers:
        fleet.update(worker.worker, worker)
    return fleet


def test_only_ready_workers_that_do_not_drain_hold_a_server() -> None:
    view = fleet(
        Worker("w1", {"a": Held("ready", 1)}),
        Worker("w2", {"a": Held("failed", 1, error="gone")}),
        Worker("w3", {"a": Held("ready", 1)}, draining=True),
    )
    assert view.holders("a") == ["w1"]
    assert view.holders("b") == []


def test_a_server_is_ready_when_any_worker_has_it_ready() -> None:
    view = fleet(
        Worker("w1", {"a": Held("standby", 5)}), Worker("w2", {"a": Held("ready", 3, tools=4, kind="stdio")})
    )
    status = view.status("a")
    assert (status.state, status.tools, status.kind, status.workers) == ("ready", 4, "stdio", ("w2",))


def test_every_configured_server_has_a_status_in_order() -> None:
    assert [status.name for status in fleet().statuses()] == ["a", "b"]
    assert {status.state for status in fleet().statuses()} == {"stopped"}


def test_the_reason_tells_what_failed_and_when() -> None:
    view = fleet(Worker("w1", {"a": Held("failed", 100.0, error="connection refused")}))
    assert view.why("a", 112.0) == (
        'no connector holds server "a" (configured, failed 12 s ago: connection refused)'
    )
    assert "no connector is running" in fleet().why("a", 0)
    assert "it is starting" in fleet(Worker("w1", {"a": Held("starting", 1)})).why("a", 2)


def test_a_worker_that_goes_takes_its_servers_along() -> None:
    view = fleet(Worker("w1", {"a": Held("ready", 1)}))
    view.update("w1", None)
    assert view.holders("a") == []


def test_a_server_nobody_has_any_more_is_stopped_since_its_last_worker_went() -> None:
    times = iter([10.0, 20.0])
    view = Fleet(["a"], clock=lambda: next(times))
    assert (view.status("a").state, view.status("a").since) == ("stopped", 10.0)
    view.update("w1", Worker("w1", {"a": Held("ready", 1)}))
    view.update("w1", None)
    assert (view.status("a").state, view.status("a").since) == ("stopped", 20.0)


def test_listeners_hear_of_changes_until_they_stop() -> None:
    view = fleet()
    heard: list[int] = []
    stop = view.listen(lambda: heard.append(1))
    view.update("w1", Worker("w1"))
    stop()
    view.update("w1", None)
    assert heard == [1]
