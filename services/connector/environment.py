"""The environment of a child process: a short list of what it needs, and what is configured for it.

Nothing else of the gateway's own environment is passed on, because secrets live there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_PLAIN = frozenset({
    "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR",
    "SSL_CERT_DIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
})  # fmt: skip
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})
_LOCALE = re.compile(r"LC_[A-Z]+\Z")


def clean(configured: Mapping[str, str], inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`configured` over the harmless part of `inherited`.

    Harmless are identity, locale, temporary and XDG folders, CA bundles, and proxies whose address holds no
    password: package runners such as npx and uvx download through those.
    """
    kept = {name: value for name, value in inherited.items() if _harmless(name, value)}
    return {"PATH": os.defpath, **kept, **configured}


def _harmless(name: str, value: str) -> bool:
    if name.upper() in _PROXIES:
        return "@" not in value
    return name in _PLAIN or bool(_LOCALE.match(name))
