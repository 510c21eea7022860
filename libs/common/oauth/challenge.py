"""What a server says when it wants a token, or one that may do more (RFC 6750 §3, RFC 9728 §5.1)."""

from __future__ import annotations

import re

from msgspec import Struct

_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")
HEADER_MAX = 4096


class Challenge(Struct, frozen=True, omit_defaults=True):
    """The parameters of a `Bearer` challenge that matter here; empty where it had none."""

    status: int
    error: str = ""
    scope: str = ""
    resource_metadata: str = ""

    @property
    def wants_more(self) -> bool:
        """Whether a token is there and may too little, rather than missing or no longer valid."""
        return self.status == 403 and self.error == "insufficient_scope"

    @property
    def header(self) -> str:
        """The challenge as a header says it."""
        said = (("error", self.error), ("scope", self.scope), ("resource_metadata", self.resource_metadata))
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in said if value)


def parse(status: int, header: str) -> Challenge:
    """The challenge in a `WWW-Authenticate` header; whatever is not well-formed in it is left out."""
    if len(header) > HEADER_MAX or not header.lower().startswith("bearer"):
        return Challenge(status)
    said: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(header[len("bearer") :]):
        said.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted else plain)
    scope = said.get("scope", "")
    error = said.get("error", "")
    url = said.get("resource_metadata", "")
    return Challenge(
        status,
        error if re.fullmatch(r"[a-z_]{1,40}", error) else "",
        scope if _SCOPE.fullmatch(scope) else "",
        url if re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", url) else "",
    )
