"""An issuer in memory: real keys, real signatures, and a count of who fetched them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from libs.common.outbound import FetchFailed

RESOURCE = "https://nexus.example.com"
NAME = "https://idp.example.com"
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
_EC = ec.generate_private_key(ec.SECP256R1())
_ED = ed25519.Ed25519PrivateKey.generate()
KINDS: dict[str, tuple[Any, Any]] = {
    "RS256": (_RSA, RSAAlgorithm),
    "PS256": (_RSA, RSAAlgorithm),
    "ES256": (_EC, ECAlgorithm),
    "EdDSA": (_ED, OKPAlgorithm),
}


class Issuer:
    """Signs tokens with `kid`; its key set can be swapped, fail or hang."""

    def __init__(self, name: str = NAME, kid: str = "k1", key: Any = _RSA, algorithm: str = "RS256") -> None:
        self.name = name
        self.kid: str | None = kid
        self.key = key
        self.algorithm = algorithm
        self.fetched = 0
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def jwk(self) -> dict[str, Any]:
        kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
        kind: Any = next((made for base, made in kinds.items() if isinstance(self.key, base)), OKPAlgorithm)
        jwk: dict[str, Any] = json.loads(kind.to_jwk(self.key.public_key()))
        jwk.pop("key_ops", None)
        return jwk if self.kid is None else {**jwk, "kid": self.kid}

    async def fetch(self, url: str) -> bytes:
        self.fetched += 1
        await self.gate.wait()
        if self.down:
            raise FetchFailed("the issuer does not answer")
        return json.dumps({"keys": [self.jwk]}).encode()

    def rotate(self, kid: str) -> None:
        self.key, self.kid = rsa.generate_private_key(public_exponent=65537, key_size=2048), kid

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        now = int(time.time())
        said = {"iss": self.name, "sub": "alice", "aud": RESOURCE, "exp": now + 300, "iat": now, **claims}
        said = {key: value for key, value in said.items() if value is not None}
        head = {} if self.kid is None else {"kid": self.kid}
        return jwt.encode(said, self.key, algorithm=self.algorithm, headers={**head, **(header or {})})

    def public_pem(self) -> bytes:
        pem: bytes = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem


def other_key() -> Any:
    return _OTHER


def weak_key() -> Any:
    return _WEAK
