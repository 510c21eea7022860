"""TLS towards receivers of events."""

from __future__ import annotations

import ssl

from libs.common.config.receiver import SinkTls
from libs.common.errors import ConfigError


def context(tls: SinkTls) -> ssl.SSLContext:
    """The context for one sink: the system's authorities, and `ca_cert_path` beside them.

    Raises `ConfigError` for a file that cannot be used.
    """
    made = ssl.create_default_context()
    try:
        if tls.ca_cert_path is not None:
            made.load_verify_locations(cafile=tls.ca_cert_path)
        if tls.client_cert_path is not None:
            # Without a password OpenSSL asks for one on the terminal, and waits there.
            made.load_cert_chain(tls.client_cert_path, tls.client_key_path, password="")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"tls.ca_cert_path, tls.client_cert_path or tls.client_key_path of a sink cannot be used: {error}"
        ) from error
    if not tls.verify_certs:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made
