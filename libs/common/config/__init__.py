"""The configuration: one TOML file, read once, checked as a whole."""

from libs.common.config.limits import (
    OnStorageError,
    PerUser,
    Rate,
    RateLimits,
    Rates,
    ServerRates,
    Storage,
    StorageTls,
)
from libs.common.config.loading import load
from libs.common.config.model import (
    Auth,
    Config,
    Health,
    HttpServer,
    HttpTls,
    InsertHeader,
    Mcp,
    Nats,
    Seal,
    Server,
    ServerTls,
    Sharing,
    StderrFile,
    StdioServer,
)
from libs.common.config.values import Address, parse_address

__all__ = [
    "Address",
    "Auth",
    "Config",
    "Health",
    "HttpServer",
    "HttpTls",
    "InsertHeader",
    "Mcp",
    "Nats",
    "OnStorageError",
    "PerUser",
    "Rate",
    "RateLimits",
    "Rates",
    "Seal",
    "Server",
    "ServerRates",
    "ServerTls",
    "Sharing",
    "StderrFile",
    "StdioServer",
    "Storage",
    "StorageTls",
    "load",
    "parse_address",
]
