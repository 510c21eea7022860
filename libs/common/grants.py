"""What each role's NATS user may publish and subscribe: everything else is refused.

A role reads its own inbox and nobody else's. Owners make their buckets and streams themselves, again after
the broker has lost them. The right to make a stream includes saying which subjects it takes in: these users
keep honest services apart and limit a curious one, but do not contain a service that an attacker runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from libs.common import subjects

ROLES = ("edge", "router", "connector", "indexer", "auditor")
READER = "siem"
"""A user beside the roles that reads audit events and does nothing else."""

API = "$JS.API"


@dataclass(frozen=True, slots=True)
class Grant:
    """Subjects of one NATS user, in the patterns of NATS."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]

    def __add__(self, other: Grant) -> Grant:
        return Grant(self.publish + other.publish, self.subscribe + other.subscribe)


def user_grant(role: str) -> Grant:
    """All that `role` may do; raises `KeyError` for a role that is none of `ROLES`."""
    inbox = _inbox(role)
    return _GRANTS[role] + Grant((subjects.AUDIT, inbox), (inbox, subjects.METRICS))


def reader_grant(name: str, tenant: str = "") -> Grant:
    """All that a reader of audit events may do: hear them live, and read them through its own consumer.

    `tenant` as it stands in a subject: then of no other one. The consumer of its name is made for it.
    """
    stream = subjects.AUDIT_STREAM
    inbox = _inbox(name)
    return Grant(
        (
            f"{API}.CONSUMER.INFO.{stream}.{name}",
            f"{API}.CONSUMER.MSG.NEXT.{stream}.{name}",
            f"$JS.ACK.{stream}.{name}.>",
        ),
        (f"audit.v1.*.{tenant}" if tenant else subjects.AUDIT, inbox),
    )


def _inbox(role: str) -> str:
    return f"{subjects.inbox(role, 'x').rpartition('.')[0]}.>"


def _family(subject: str) -> str:
    """The pattern of every subject that differs from `subject` in its last token."""
    return f"{subject.rpartition('.')[0]}.*"


def _reads(bucket: str) -> Grant:
    """Get and watch; what is watched arrives on the reader's own inbox."""
    stream = f"KV_{bucket}"
    return Grant(
        (
            f"{API}.STREAM.INFO.{stream}",
            f"{API}.STREAM.MSG.GET.{stream}",
            f"{API}.DIRECT.GET.{stream}",
            f"{API}.DIRECT.GET.{stream}.>",
            f"{API}.CONSUMER.CREATE.{stream}",
            f"{API}.CONSUMER.CREATE.{stream}.>",
            f"{API}.CONSUMER.INFO.{stream}.*",
            f"{API}.CONSUMER.DELETE.{stream}.*",
            f"$JS.FC.{stream}.>",
        ),
        (),
    )


def _owns(bucket: str) -> Grant:
    return _makes(f"KV_{bucket}") + _reads(bucket) + Grant((f"$KV.{bucket}.>",), ())


def _makes(stream: str) -> Grant:
    # The bare INFO tells whether the server can mark expired keys, which a bucket with a time to live needs.
    return Grant((f"{API}.INFO", f"{API}.STREAM.CREATE.{stream}", f"{API}.STREAM.UPDATE.{stream}"), ())


def _declares_facts() -> Grant:
    stream = subjects.FACT_STREAM
    return _makes(stream) + Grant((f"{API}.STREAM.INFO.{stream}",), ())


def _consumes_facts() -> Grant:
    stream = subjects.FACT_STREAM
    return _declares_facts() + Grant(
        (
            f"{API}.CONSUMER.DURABLE.CREATE.{stream}.*",
            f"{API}.CONSUMER.CREATE.{stream}.>",
            f"{API}.CONSUMER.INFO.{stream}.*",
            f"{API}.CONSUMER.MSG.NEXT.{stream}.*",
            f"$JS.ACK.{stream}.>",
        ),
        (),
    )


def _keeps_events() -> Grant:
    stream = subjects.EVENT_STREAM
    return _makes(stream) + Grant((f"{API}.STREAM.INFO.{stream}", f"{API}.DIRECT.GET.{stream}"), ())


def _keeps_audit() -> Grant:
    stream, dead = subjects.AUDIT_STREAM, subjects.DEAD_STREAM
    return (
        _makes(stream)
        + _makes(dead)
        + Grant(
            (
                subjects.DEAD,
                f"{API}.STREAM.INFO.{stream}",
                f"{API}.STREAM.INFO.{dead}",
                f"{API}.DIRECT.GET.{stream}",
                f"{API}.CONSUMER.CREATE.{stream}.>",
                f"{API}.CONSUMER.LIST.{stream}",
                f"{API}.CONSUMER.INFO.{stream}.*",
                f"{API}.CONSUMER.DELETE.{stream}.*",
                f"{API}.CONSUMER.MSG.NEXT.{stream}.*",
                f"$JS.ACK.{stream}.>",
            ),
            (),
        )
    )


_CALLS = _family(subjects.call("x"))
_WORKERS = _family(subjects.worker("x"))
_EDGES = _family(subjects.edge("x"))
_STREAMS = _family(subjects.stream("x"))
_HELD = _family(subjects.held("x"))
_ANSWERS = Grant((_inbox("edge"),), ())

_GRANTS = {
    "edge": Grant(
        (
            subjects.REQUEST,
            subjects.CANCEL,
            subjects.EDGES,
            subjects.METRICS,
            _WORKERS,
            _EDGES,
            _HELD,
            _STREAMS,
        ),
        (subjects.CANCEL, subjects.EDGES, _EDGES, _HELD, _STREAMS),
    )
    + _owns(subjects.SESSIONS)
    + _keeps_events()
    + _reads(subjects.CATALOG)
    + _reads(subjects.SERVERS),
    "router": Grant(
        (_CALLS, subjects.SEARCH, _WORKERS, subjects.ROUTERS), (subjects.REQUEST, subjects.ROUTERS)
    )
    + _ANSWERS
    + _reads(subjects.CATALOG)
    + _reads(subjects.SERVERS),
    "connector": Grant((), (_CALLS, _WORKERS))
    + _ANSWERS
    + _owns(subjects.SERVERS)
    + _owns(subjects.LEASES)
    + _owns(subjects.CREDENTIALS)
    + _reads(subjects.CATALOG)
    + Grant((subjects.FACTS,), ())
    + _declares_facts(),
    "indexer": Grant((), (subjects.SEARCH,))
    + _ANSWERS
    + _owns(subjects.CATALOG)
    + _reads(subjects.SERVERS)
    + _consumes_facts(),
    "auditor": _ANSWERS + _keeps_audit() + _owns(subjects.AUDITORS) + _owns(subjects.LEDGER),
}
