"""The SDK's pure rules for requests of the modern era, without the rest of the SDK.

Importing `mcp.shared.inbound` runs `mcp/__init__`, which imports clients, servers and models: 0.3 s of CPU
and 36 MB for a process that uses none of them. The module itself needs `mcp_types` only, so it is loaded from
its file.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp.shared.inbound import (
        ERROR_CODE_HTTP_STATUS,
        X_MCP_HEADER_KEY,
        InboundLadderRejection,
        InboundModernRoute,
        classify_inbound_request,
        decode_header_value,
        find_duplicated_routing_header,
        validate_mcp_param_headers,
    )
else:

    def _load(name: str) -> ModuleType:
        package = find_spec("mcp")
        if package is None or package.origin is None:
            raise ImportError("the mcp package is missing: install nexus-gateway[edge]")
        spec = spec_from_file_location(name, Path(package.origin).parent / "shared" / "inbound.py")
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    _rules = _load(f"{__name__}_rules")
    ERROR_CODE_HTTP_STATUS = _rules.ERROR_CODE_HTTP_STATUS
    X_MCP_HEADER_KEY = _rules.X_MCP_HEADER_KEY
    InboundLadderRejection = _rules.InboundLadderRejection
    InboundModernRoute = _rules.InboundModernRoute
    classify_inbound_request = _rules.classify_inbound_request
    decode_header_value = _rules.decode_header_value
    find_duplicated_routing_header = _rules.find_duplicated_routing_header
    validate_mcp_param_headers = _rules.validate_mcp_param_headers

__all__ = [
    "ERROR_CODE_HTTP_STATUS",
    "X_MCP_HEADER_KEY",
    "InboundLadderRejection",
    "InboundModernRoute",
    "classify_inbound_request",
    "decode_header_value",
    "find_duplicated_routing_header",
    "validate_mcp_param_headers",
]
