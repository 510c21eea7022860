"""The types of single settings: addresses, URLs, sizes, headers, keys. Each says what it expects."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, StrictBool, StrictInt, ValidationInfo
from pydantic_core import PydanticCustomError

from libs.common.config.durations import parse_duration
from libs.common.config.interpolate import PLACEHOLDER

KEY_BYTES = 32
SUBJECT_MAX = 256
COUNT_MAX = 2**32 - 1

_SIZE = re.compile(r"(\d{1,15})\s*([kmg]?i?b)\Z", re.IGNORECASE)
_SCALE = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_FIELD = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?\Z")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}\Z")
_HASH = re.compile(r"sha256:[0-9a-fA-F]{64}\Z")
_KEY_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")
_PREFIX = re.compile(r"[!-z|~]*(?:\{[!-z|~]+\}[!-z|~]*)?\Z")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+\Z|/\Z")


def expected(text: str, *choices: str) -> PydanticCustomError:
    """The error of a value that is not what `text` says; `choices` are words it may have meant."""
    return PydanticCustomError("expected", "{text}", {"text": text, "choices": list(choices)})


class Address(NamedTuple):
    """An IP address and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: object) -> Address:
    """The address in `127.0.0.1:8000` or `[::1]:8000`; ValueError for host names and all else."""
    said = 'an IP address and a port, such as "127.0.0.1:8000" or "[::1]:8000" (host names are not looked up)'
    if isinstance(text, Address):
        return text
    host, colon, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    try:
        version: int = ipaddress.ip_address(host).version
    except ValueError:
        version = 0
    wanted = 6 if bracketed else 4
    if not colon or version != wanted or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        raise expected(said)
    return Address(host, int(port))


def _duration(value: object) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise expected(str(error)) from None


def _timeout(value: object) -> float:
    seconds = _duration(value)
    if not seconds:
        raise expected("a duration longer than zero")
    return seconds


def _size(value: object) -> int:
    match = _SIZE.match(value.strip()) if isinstance(value, str) else None
    size = int(match[1]) * _SCALE[match[2].lower()] if match else value
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise expected('a number of bytes, or text such as "4MiB"')
    return size


def split_url(text: str) -> SplitResult | None:
    """The parts of a URL, or None where it is none: urlsplit raises for bad ports and brackets only."""
    try:
        url = urlsplit(text)
        return url if url.hostname and (url.port is None or url.port) and not re.search(r"\s", text) else None
    except ValueError:
        return None


def is_deferred(text: str, info: ValidationInfo) -> bool:
    """Whether another process will put the variables in."""
    return not (info.context or {}).get("secrets", True) and PLACEHOLDER.search(text) is not None


def _url(text: str, info: ValidationInfo) -> str:
    if is_deferred(text, info):
        return text
    url = split_url(text)
    if url is None or url.scheme not in ("http", "https"):
        raise expected('a URL that begins with "http://" or "https://" and names a host')
    return text


def _bus(secret: SecretStr) -> SecretStr:
    for each in secret.get_secret_value().split(","):
        url = split_url(each.strip())
        if url is None or url.scheme not in ("nats", "tls", "ws", "wss"):
            raise expected(
                'the URL of a NATS server, such as "nats://127.0.0.1:4222", or several with commas'
            )
    return secret


def _storage(secret: SecretStr, info: ValidationInfo) -> SecretStr:
    if is_deferred(secret.get_secret_value(), info):
        return secret
    url = split_url(secret.get_secret_value())
    if url is None or url.scheme not in ("redis", "rediss"):
        raise expected('the URL of a Redis or Valkey, such as "redis://127.0.0.1:6379/0" or "rediss://…"')
    return secret


def _prefix(text: str) -> str:
    if not _PREFIX.match(text):
        raise expected("text without spaces; braces, if any, around the part that chooses a cluster's node")
    return text


def _key(secret: SecretStr) -> SecretStr:
    try:
        size = len(key_bytes(secret))
    except (ValueError, binascii.Error):
        size = 0
    if size != KEY_BYTES:
        raise expected(
            f"base64 of {KEY_BYTES} random bytes, as `openssl rand -base64 {KEY_BYTES}` prints them"
        )
    return secret


def key_bytes(secret: SecretStr) -> bytes:
    """The bytes of a key, from base64 of either alphabet, padded or not; ValueError if it is none."""
    text = secret.get_secret_value().strip().rstrip("=").translate(str.maketrans("-_", "+/"))
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _route(text: str) -> str:
    if not _PATH.match(text) or {".", ".."} & set(text.split("/")):
        raise expected('a path that begins with "/" and does not end in one, such as "/mcp"')
    return text


def _host(text: str) -> str:
    if not _HOST.match(text):
        raise expected('a host name, with a port or without, such as "nexus.example.com"')
    return text.lower()


def _origin(text: str) -> str:
    url = split_url(text)
    if (
        url is None
        or url.scheme not in ("http", "https")
        or text.lower() != f"{url.scheme}://{url.netloc}".lower()
    ):
        raise expected('an origin: scheme, host and port without a path, such as "https://app.example.com"')
    return text.lower()


def is_header_name(text: str) -> bool:
    """Whether this can be the name of an HTTP header."""
    return _TOKEN.match(text) is not None


def _token(text: str) -> str:
    if not is_header_name(text):
        raise expected("the name of an HTTP header: letters, digits and hyphens")
    return text


def _field(secret: SecretStr) -> SecretStr:
    if not _FIELD.match(secret.get_secret_value()):
        raise expected("the value of an HTTP header: one line without control characters")
    return secret


def _bearer(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value() or not _FIELD.match(secret.get_secret_value()):
        raise expected("a token: text on one line that is not empty")
    return secret


def _text(text: str) -> str:
    if not _FIELD.match(text) or not text.strip():
        raise expected("text on one line that is not empty")
    return text


def _spread(value: object) -> object:
    if value == "per-worker" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise expected('a whole number of at least 1, or "per-worker"', "per-worker")


def _count(number: int) -> int:
    if number < 1:
        raise expected("a whole number of at least 1")
    if number > COUNT_MAX:
        raise expected(f"a whole number of at most {COUNT_MAX}")
    return number


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or not words[0] or any("\0" in word for word in words):
        raise expected('a program and its arguments, such as ["npx", "-y", "server"]')
    return words


def _variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise expected('the name of an environment variable: not empty and without "="')
    return name


def _scope(text: str) -> str:
    if not _SCOPE.match(text):
        raise expected("the name of an OAuth scope: printable ASCII without spaces, quotes and backslashes")
    return text


def _subject(text: str) -> str:
    if not 1 <= len(text) <= SUBJECT_MAX or not text.isprintable():
        raise expected(f"the name of a caller: 1 to {SUBJECT_MAX} printable characters")
    return text


def _claim(text: str) -> str:
    if not text or "" in text.split("."):
        raise expected('the path of a claim, such as "sub" or "realm_access.roles"')
    return text


def _hash(text: str) -> str:
    if not _HASH.match(text):
        raise expected('the hash of an API key, "sha256:" and 64 digits, as `nexus keys create` prints it')
    return text.lower()


def is_key_name(text: str) -> bool:
    """Whether an API key may be called so."""
    return _KEY_NAME.match(text) is not None


def _key_name(text: str) -> str:
    if not is_key_name(text):
        raise expected("a name for the key: 1 to 32 of a-z 0-9 _ -, a letter or digit first")
    return text


def _network(text: object) -> IPv4Network | IPv6Network:
    try:
        return ipaddress.ip_network(text) if isinstance(text, str) else _none(text)
    except ValueError:
        raise expected('an address or a network, such as "10.0.0.0/8" or "::1"') from None


def _none(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    raise ValueError


def _path(value: Any) -> Any:
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise expected("the path of a file or folder")
    return value


Flag = StrictBool
Duration = Annotated[float, BeforeValidator(_duration)]
Timeout = Annotated[float, BeforeValidator(_timeout)]
Size = Annotated[int, BeforeValidator(_size)]
Listen = Annotated[Address, BeforeValidator(parse_address)]
HttpUrl = Annotated[str, AfterValidator(_url)]
BusUrl = Annotated[SecretStr, AfterValidator(_bus)]
Prefix = Annotated[str, AfterValidator(_prefix)]
StorageUrl = Annotated[SecretStr, AfterValidator(_storage)]
SealKey = Annotated[SecretStr, AfterValidator(_key)]
Route = Annotated[str, AfterValidator(_route)]
HostName = Annotated[str, AfterValidator(_host)]
Origin = Annotated[str, AfterValidator(_origin)]
HeaderName = Annotated[str, AfterValidator(_token)]
HeaderValue = Annotated[SecretStr, AfterValidator(_field)]
Bearer = Annotated[SecretStr, AfterValidator(_bearer)]
Count = Annotated[StrictInt, AfterValidator(_count)]
Text = Annotated[str, AfterValidator(_text)]
Instances = Annotated[StrictInt | Literal["per-worker"], BeforeValidator(_spread)]
Command = Annotated[tuple[str, ...], AfterValidator(_command)]
Variable = Annotated[str, AfterValidator(_variable)]
ScopeName = Annotated[str, AfterValidator(_scope)]
"""RFC 6749 §3.3."""
Subject = Annotated[str, AfterValidator(_subject)]
ClaimPath = Annotated[str, AfterValidator(_claim)]
KeyHash = Annotated[str, AfterValidator(_hash)]
KeyName = Annotated[str, AfterValidator(_key_name)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
FilePath = Annotated[Path, BeforeValidator(_path)]
