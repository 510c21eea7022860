"""Certificates of receivers, and of us towards them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme


@dataclass(frozen=True)
class Certificates:
    """A receiver's TLS, and the table that trusts it; `known` also names a certificate of ours."""

    server: ssl.SSLContext
    trusted: dict[str, Any]
    known: dict[str, Any]


def issued(folder: Path, *, mutual: bool = False) -> Certificates:
    """A new authority, and what it issued."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(server)
    if mutual:
        authority.configure_trust(server)
        server.verify_mode = ssl.CERT_REQUIRED
    ours = authority.issue_cert("auditor.nexus.example")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    ours.private_key_pem.write_to_path(folder / "key.pem")
    ours.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    trusted = {"ca_cert_path": str(folder / "ca.pem")}
    client = {"client_cert_path": str(folder / "cert.pem"), "client_key_path": str(folder / "key.pem")}
    return Certificates(server, trusted, {**trusted, **client})
