"""How we authenticate at a downstream: with a token of our own, or with the authority of the caller."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, SecretStr, Tag

from libs.common.config.table import Table
from libs.common.config.values import Bearer, Flag, HttpUrl, ScopeName, Text

SecretMethod = Literal["client_secret_basic", "client_secret_post"]


class TokenAuth(Table):
    """How we authenticate at a downstream: a token of our own."""

    token: Bearer


class ConfidentialClient(Table):
    """Who we are to an authorization server, and what to ask it for."""

    client_id: Text
    client_secret: Bearer | None = None
    private_key: SecretStr | None = None
    """PEM; then the client proves who it is by signing (RFC 7523)."""
    token_endpoint_auth_method: SecretMethod | Literal["private_key_jwt"] | None = None
    issuer: HttpUrl | None = None
    token_url: HttpUrl | None = None
    scopes: tuple[ScopeName, ...] = ()
    resource: HttpUrl | None = None

    @property
    def method(self) -> SecretMethod | Literal["private_key_jwt"]:
        """As configured, else what the kind of secret suggests."""
        default: Literal["private_key_jwt", "client_secret_basic"]
        default = "private_key_jwt" if self.private_key is not None else "client_secret_basic"
        return self.token_endpoint_auth_method or default


class ClientCredentials(ConfidentialClient):
    """How we get tokens for a downstream by ourselves (RFC 6749 §4.4)."""

    type: Literal["client-credentials"]


class OperatorLogin(Table):
    """How an operator gets us tokens: by `nexus login` (OAuth 2.1 authorization code)."""

    type: Literal["oauth"]
    client_id: Text | None = None
    client_secret: Bearer | None = None
    token_endpoint_auth_method: SecretMethod | Literal["none"] | None = None
    client_metadata_url: HttpUrl | None = None
    issuer: HttpUrl | None = None
    scopes: tuple[ScopeName, ...] = ()


class Forward(Table):
    """A downstream gets the token of each caller as it is."""

    type: Literal["forward"]
    insecure_skip_audience: Flag = False


class TokenExchange(ConfidentialClient):
    """A downstream gets a token that its issuer gives for that of the caller (RFC 8693)."""

    type: Literal["token-exchange"]
    audience: Text | None = None


Delegated = Forward | TokenExchange
"""What gives a downstream the authority of the caller."""

TOKEN = "<token>"  # noqa: S105 - a tag
KINDS = (TOKEN, "<client-credentials>", "<oauth>", "<forward>", "<token-exchange>")
"""Tags of the kinds, as pydantic puts them into the place of a mistake."""


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{kind}>" if f"<{kind}>" in KINDS else TOKEN


Auth = Annotated[
    Annotated[TokenAuth, Tag(TOKEN)]
    | Annotated[ClientCredentials, Tag("<client-credentials>")]
    | Annotated[OperatorLogin, Tag("<oauth>")]
    | Annotated[Forward, Tag("<forward>")]
    | Annotated[TokenExchange, Tag("<token-exchange>")],
    Discriminator(_kind),
]
