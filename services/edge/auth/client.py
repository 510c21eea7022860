"""Client identification: the id of a client and its groups, from claims or from a trusted proxy's headers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from libs.common.identity import Principal
from services.edge.auth.claims import TEXT_MAX, Claims, claim_texts
from services.edge.auth.refusal import Unidentified
from services.edge.gateway import Visit

Source = Callable[[Visit, Claims], tuple[str, ...]]


def from_claim(path: str) -> Source:
    """Texts at a claim's path; none for a caller without a token."""

    def read(visit: Visit, claims: Claims) -> tuple[str, ...]:
        return claim_texts(claims, path)

    return read


def from_header(name: str) -> Source:
    """The value of a header, if a trusted proxy brings it; anybody else could have made it up."""
    lower = name.lower()

    def read(visit: Visit, claims: Claims) -> tuple[str, ...]:
        value = visit.headers.get(lower) if visit.trusted else None
        return () if not value else (value,)

    return read


@dataclass(frozen=True, slots=True)
class Identification:
    """Says who the client of a verified principal is."""

    client_id: Source
    group_id: Source | None
    known: frozenset[str]
    """Groups that exist; empty lets every group be."""

    def identify(self, principal: Principal, visit: Visit, claims: Claims) -> Principal:
        """The principal with its client's id and groups. Raises `Unidentified`."""
        ids = self.client_id(visit, claims) or ((principal.client,) if principal.client else ())
        if not ids or len(ids[0]) > TEXT_MAX:
            raise Unidentified("missing_client_id", "Client identification is required")
        if self.group_id is None:
            return replace(principal, client=ids[0])
        groups = self.group_id(visit, claims) or principal.groups
        if any(len(group) > TEXT_MAX or not self._exists(group) for group in groups):
            raise Unidentified("invalid_group", "The specified group is not valid")
        return replace(principal, client=ids[0], groups=groups)

    def _exists(self, group: str) -> bool:
        return not self.known or group in self.known
