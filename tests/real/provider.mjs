// An OpenID provider that lets everybody in as "alice", for tests and for trying out OAuth: never for anything else.
//
//   node provider.mjs PORT GATEWAY [SCOPE...]
//
// GATEWAY is the origin whose MCP paths tokens may be for (RFC 8707). Clients register themselves; "robot" with the
// secret "robot-secret" gets tokens by client credentials. SIGHUP changes the signing key; the one before stays
// published. It says in single lines what it does.

import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { createMemoryAdapter } from "./node_modules/oidc-provider/lib/adapters/memory_adapter.js";
import Provider, { errors } from "./node_modules/oidc-provider/lib/index.js";

const [port, gateway, ...named] = process.argv.slice(2);
const scopes = named.length ? named : ["mcp"];
const issuer = `http://127.0.0.1:${port}`;
const adapter = createMemoryAdapter();
const keys = [];

const configuration = {
  adapter,
  clients: [
    {
      client_id: "robot",
      client_secret: "robot-secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
  ],
  cookies: { keys: ["only for tests"] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    registration: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: resourceServer },
  },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  scopes: ["openid", "offline_access", ...scopes],
  ttl: { AccessToken: 300, ClientCredentials: 300, Grant: 3600, Interaction: 300, RefreshToken: 3600, Session: 3600 },
};

function resourceServer(_ctx, resource) {
  if (resource !== gateway && !resource.startsWith(`${gateway}/`)) throw new errors.InvalidTarget();
  return { accessTokenFormat: "jwt", audience: resource, scope: scopes.join(" ") };
}

// A provider reads its keys once, so new keys mean a new one, with the same storage.
function rotated() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  keys.unshift({ ...privateKey.export({ format: "jwk" }), kid: `key-${Date.now()}`, use: "sig", alg: "RS256" });
  keys.splice(2);
  const provider = new Provider(issuer, { ...configuration, jwks: { keys } });
  // What a client registers is no limit to what it may ask for later (RFC 7591 §3.2.1 lets the server say so).
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.oidc?.route === "registration" && ctx.status === 201) {
      const client = await adapter("Client").find(ctx.body.client_id);
      delete client.scope;
      delete ctx.body.scope;
    }
  });
  return { callback: provider.callback(), provider };
}

// The page where a person would log in and agree: here both is done at once.
async function approve(provider, request, response) {
  const { params } = await provider.interactionDetails(request, response);
  const grant = new provider.Grant({ accountId: "alice", clientId: params.client_id });
  grant.addOIDCScope(params.scope ?? "");
  for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, params.scope ?? "");
  const result = { consent: { grantId: await grant.save() }, login: { accountId: "alice" } };
  await provider.interactionFinished(request, response, result);
}

async function answer(request, response) {
  const { callback, provider } = current;
  if (!request.url.startsWith("/interaction/")) return callback(request, response);
  try {
    await approve(provider, request, response);
  } catch (error) {
    response.writeHead(400).end(`${error.message}\n`);
  }
}

let current = rotated();
const server = createServer(answer);
process.on("SIGHUP", () => {
  current = rotated();
  console.log(`signing with ${keys[0].kid}`);
});
process.on("SIGTERM", () => process.exit(0));
server.listen(Number(port), "127.0.0.1", () => console.log(`signing with ${keys[0].kid} at ${issuer}`));
