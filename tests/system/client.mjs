// The TypeScript SDK's client: does what its first argument (JSON) says, prints what it got as JSON.
//
// {url, lists: [path], searches: [arguments], calls: [{path, name, arguments}]}

import { Client } from "../real/node_modules/@modelcontextprotocol/sdk/dist/esm/client/index.js";
import { StreamableHTTPClientTransport } from "../real/node_modules/@modelcontextprotocol/sdk/dist/esm/client/streamableHttp.js";

const plan = JSON.parse(process.argv[2]);
const clients = new Map();

async function at(path) {
  if (!clients.has(path)) {
    const client = new Client({ name: "system-test", version: "1" });
    await client.connect(new StreamableHTTPClientTransport(new URL(plan.url + path)));
    clients.set(path, client);
  }
  return clients.get(path);
}

const said = { lists: {}, searches: [], calls: [] };
for (const path of plan.lists) {
  const { tools } = await (await at(path)).listTools();
  said.lists[path] = tools;
}
for (const wanted of plan.searches) {
  said.searches.push(await (await at("")).callTool({ name: "search", arguments: wanted }));
}
for (const { path, name, arguments: given } of plan.calls) {
  said.calls.push(await (await at(path)).callTool({ name, arguments: given }));
}
for (const client of clients.values()) {
  await client.transport.terminateSession();
  await client.close();
}
console.log(JSON.stringify(said));
