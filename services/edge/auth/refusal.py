"""What HTTP says to a request whose sender is not let in (RFC 6750 §3, RFC 9728 §5.1)."""

from __future__ import annotations

from typing import ClassVar

from libs.common.codec import encode
from services.edge.streams import Header


class AuthRefused(Exception):
    """Refused before MCP is spoken: a status, a JSON body in OAuth's form, perhaps a challenge."""

    status: ClassVar[int] = 401

    def __init__(self, error: str, description: str = "", *, sent: bool = True) -> None:
        super().__init__(description or error)
        self.error = error
        self.description = description
        self.sent = sent
        """Whether credentials were sent at all: only then a challenge says what is wrong with them."""
        self.headers: list[Header] = []

    def body(self) -> bytes:
        said = {"error": self.error}
        if self.description:
            said["error_description"] = self.description
        return encode(said)


class Unauthorized(AuthRefused):
    """401: no credentials, or none that are good for this resource."""


class ScopeMissing(AuthRefused):
    """403: the token is good, but not for this; `scopes` are all that the request needs."""

    status = 403

    def __init__(self, scopes: tuple[str, ...]) -> None:
        super().__init__("insufficient_scope", f"this needs the scopes: {' '.join(scopes)}")
        self.scopes = scopes


class Unidentified(AuthRefused):
    """400: the client or its group cannot be told."""

    status = 400


class KeysUnavailable(AuthRefused):
    """500: tokens cannot be judged, because no key of any issuer was ever fetched."""

    status = 500

    def __init__(self) -> None:
        super().__init__("internal_server_error", "An internal error occurred")


def challenge(metadata: str | None, scopes: tuple[str, ...], error: str = "") -> Header:
    """The `WWW-Authenticate` of a protected path; `metadata` is the URL of its RFC 9728 document, if any."""
    parts = [f'error="{error}"'] if error else []
    if metadata:
        parts.append(f'resource_metadata="{metadata}"')
    if scopes:
        parts.append(f'scope="{" ".join(scopes)}"')
    return b"www-authenticate", f"Bearer {', '.join(parts)}".rstrip().encode("latin-1")
