"""Signed checkpoints: where every chain ended at a moment, so that a tail cannot be cut off unseen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct, json

from libs.common.audit.chain import Head
from libs.common.audit.events import Event
from libs.common.audit.fingerprint import derived
from libs.common.seal import KEY_SIZE

CHAINS_MAX = 50
"""Chains in one event."""
_PURPOSE = b"nexus audit checkpoint 1\n"


class Checkpoint(Struct):
    """What a checkpoint says, as the facts of its event; key and signature in hex."""

    chains: list[Head]
    key: str = ""
    signature: str = ""

    def signed(self) -> bytes:
        """What the signature is over."""
        return _PURPOSE + json.encode(self.chains, order="sorted")

    def holds(self, keys: Iterable[bytes]) -> bool:
        """Whether one of `keys` (public, 32 bytes each) has signed it."""
        return any(_verified(key, self) for key in keys if key.hex() == self.key)


class Signer:
    """Signs with an Ed25519 key (RFC 8032), 32 bytes of seed."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def events(self, heads: Iterable[Head]) -> Iterator[Event]:
        """Checkpoints of all chains, in as many events as they take."""
        left = iter(sorted(heads, key=lambda head: head.chain))
        while chains := list(islice(left, CHAINS_MAX)):
            checkpoint = Checkpoint(chains, self.public.hex())
            checkpoint.signature = self._key.sign(checkpoint.signed()).hex()
            facts = json.decode(json.encode(checkpoint))
            yield Event(code="audit.checkpoint", facts=facts)


def signing_seed(given: bytes | None, fleet_key: bytes) -> bytes:
    """The key that was configured, else one derived from the fleet's."""
    return given if given is not None and len(given) == KEY_SIZE else derived(fleet_key, "checkpoint")


def _verified(key: bytes, checkpoint: Checkpoint) -> bool:
    try:
        public = Ed25519PublicKey.from_public_bytes(key)
        public.verify(bytes.fromhex(checkpoint.signature), checkpoint.signed())
    except (InvalidSignature, ValueError):
        return False
    return True
