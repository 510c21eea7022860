"""Authentication as the configuration wants it, and what keeps it current."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.common.apikeys import Record
from libs.common.config import Config
from libs.common.config.identity import ApiKeys as KeyTable
from libs.common.config.identity import Claim, ClientIdentification, FromHeader, OAuth
from services.edge.auth import client
from services.edge.auth.apikeys import ApiKeys
from services.edge.auth.authenticate import Authenticate, Oauth
from services.edge.auth.client import Identification
from services.edge.auth.keys import Fetch, KeySet
from services.edge.auth.resource import Resources
from services.edge.auth.tokens import Authority, Verifier
from services.edge.auth.wallet import Wallet

WATCH = 1.0
"""Seconds between two looks at the file of API keys."""


@asynccontextmanager
async def authentication(
    config: Config, fetch: Fetch, wallet: Wallet | None = None
) -> AsyncIterator[Authenticate]:
    """Who may come in, with the tasks that fetch keys and watch files; they end with it."""
    server = config.server
    sets = {} if server.oauth is None else _key_sets(server.oauth, fetch)
    keys = _api_keys(server.api_keys) if server.api_keys.enabled else None
    oauth = None if server.oauth is None else _oauth(server.oauth, sets, config.mcp.path)
    authenticate = Authenticate(oauth, keys, _identification(server.client_identification), wallet)
    tasks = [asyncio.create_task(each.run()) for each in sets.values()]
    if keys is not None:
        keys.reload()
        tasks.append(asyncio.create_task(_watch(keys, authenticate)))
    try:
        yield authenticate
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in sets.values():
            await each.close()


def resources(config: Config) -> Resources | None:
    """What RFC 9728 metadata is about, if tokens are wanted at all."""
    oauth = config.server.oauth
    if oauth is None:
        return None
    told = oauth.protected_resource
    scopes = told.scopes_supported or oauth.required_scopes
    return Resources(told.resource, config.mcp.path, told.authorization_servers, scopes)


async def _watch(keys: ApiKeys, authenticate: Authenticate) -> None:
    while True:
        await asyncio.sleep(WATCH)
        if keys.reload():
            authenticate.forget()


def _key_sets(oauth: OAuth, fetch: Fetch) -> dict[str, KeySet]:
    urls = [oauth.url, *(issuer.url for issuer in oauth.issuers)]
    return {url: KeySet(url, oauth.poll_interval, fetch) for url in dict.fromkeys(urls)}


def _oauth(oauth: OAuth, sets: dict[str, KeySet], mcp_path: str) -> Oauth:
    told = oauth.protected_resource
    named = (oauth.expected_issuer,) if oauth.expected_issuer else told.authorization_servers
    authorities = [Authority(frozenset(named), sets[oauth.url])]
    for issuer in oauth.issuers:
        audience = frozenset(issuer.audience)
        authorities.append(Authority(frozenset((issuer.issuer,)), sets[issuer.url], audience))
    return Oauth(
        verifier=Verifier(authorities, oauth.max_token_lifetime),
        resources=Resources(told.resource, mcp_path, told.authorization_servers),
        audience=frozenset((oauth.expected_audience,) if oauth.expected_audience else ()),
        skip_audience=oauth.insecure_skip_audience,
        required=oauth.required_scopes,
        premium=oauth.premium_claim,
        tenant=oauth.tenant_claim,
    )


def _api_keys(table: KeyTable) -> ApiKeys:
    fixed = [
        Record(key.hash, key.subject, key.groups, key.scopes, key.tier, tenant=key.tenant or "")
        for key in table.keys.values()
    ]
    return ApiKeys(fixed, table.file)


def _identification(table: ClientIdentification) -> Identification | None:
    if not table.enabled:
        return None
    group = None if table.group_id is None else _source(table.group_id)
    return Identification(_source(table.client_id), group, table.validation.group_values)


def _source(source: Claim | FromHeader) -> client.Source:
    if isinstance(source, Claim):
        return client.from_claim(source.jwt_claim)
    return client.from_header(source.http_header)
