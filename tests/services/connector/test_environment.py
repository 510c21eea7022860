from __future__ import annotations

import os

from services.connector.environment import clean


def test_nothing_but_the_harmless_is_inherited() -> None:
    own = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "AWS_SECRET_ACCESS_KEY": "s",
        "NEXUS_NATS_PASSWORD": "s",
        "LC_x=": "s",
    }
    assert clean({}, own) == {"PATH": "/bin", "LC_ALL": "C"}


def test_what_is_configured_wins() -> None:
    assert clean({"PATH": "/mine", "TOKEN": "t"}, {"PATH": "/bin"}) == {"PATH": "/mine", "TOKEN": "t"}


def test_a_proxy_is_inherited_unless_its_address_holds_a_password() -> None:
    own = {"https_proxy": "http://proxy:3128", "HTTP_PROXY": "http://user:secret@proxy:3128"}
    assert clean({"PATH": "/"}, own) == {"PATH": "/", "https_proxy": "http://proxy:3128"}


def test_there_is_always_a_path() -> None:
    assert clean({}, {}) == {"PATH": os.defpath}
