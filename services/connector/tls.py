"""TLS towards downstream servers: an `ssl` context from the `tls` table of a server."""

from __future__ import annotations

import ssl
from pathlib import Path

from libs.common.config import HttpTls
from libs.common.errors import ServerUnavailable


def context(tls: HttpTls) -> ssl.SSLContext:
    """The context for one server: the CAs of the system, and `root_ca_cert_path` beside them.

    The system's are where OpenSSL looks, `SSL_CERT_FILE` and `SSL_CERT_DIR` included. Raises
    `ServerUnavailable` for a file that cannot be used. Reads files: not for the event loop's hot path.
    """
    made = ssl.create_default_context()
    if tls.root_ca_cert_path is not None:
        _trust(made, tls.root_ca_cert_path)
    _identify(made, tls.client_cert_path, tls.client_key_path)
    if tls.accept_invalid_hostnames or not tls.verify_certs:
        made.check_hostname = False
    if not tls.verify_certs:
        made.verify_mode = ssl.CERT_NONE
    return made


def _trust(made: ssl.SSLContext, path: Path) -> None:
    try:
        made.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ServerUnavailable(f"tls.root_ca_cert_path cannot be used: {_reason(error)}") from error


def _identify(made: ssl.SSLContext, cert: Path | None, key: Path | None) -> None:
    if cert is None and key is None:
        return
    if cert is None or key is None:
        raise ServerUnavailable(
            "tls.client_cert_path and tls.client_key_path work only together; one is missing"
        )
    try:
        # Without a password OpenSSL asks for one on the terminal, and waits there.
        made.load_cert_chain(cert, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise ServerUnavailable(
            f"tls.client_cert_path and tls.client_key_path cannot be used: {_reason(error)}"
        ) from error


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "not valid PEM, or certificate and key do not belong together"
    return error.strerror or type(error).__name__
