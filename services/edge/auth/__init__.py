"""Who a request is from: bearer tokens of issuers, API keys, and what of them names a client."""
