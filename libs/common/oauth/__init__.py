"""OAuth 2.1 as a client: who gives tokens for a server, and how one is asked for."""
