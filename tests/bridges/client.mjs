// Several clients of the TypeScript SDK at once; prints what each got as JSON.
//
// Its first argument is JSON: {url, names, tool, arguments}. Each client answers with its own name, and calls the
// tool once with its name as the token.

import { Client } from "../real/node_modules/@modelcontextprotocol/sdk/dist/esm/client/index.js";
import { StreamableHTTPClientTransport } from "../real/node_modules/@modelcontextprotocol/sdk/dist/esm/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from "../real/node_modules/@modelcontextprotocol/sdk/dist/esm/types.js";

const plan = JSON.parse(process.argv[2]);
const capabilities = { elicitation: {}, sampling: {}, roots: {} };

async function run(name) {
  const client = new Client({ name: "bridge", version: "1" }, { capabilities });
  const asked = [];
  const steps = [];
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    asked.push(params.message);
    return { action: "accept", content: { word: name } };
  });
  client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
    asked.push(params.messages[0].content.text);
    return { role: "assistant", model: "m", content: { type: "text", text: name } };
  });
  client.setRequestHandler(ListRootsRequestSchema, ({ params }) => {
    asked.push(params._meta["fixture/token"]);
    return { roots: [{ uri: `file:///${name}` }] };
  });
  const transport = new StreamableHTTPClientTransport(new URL(plan.url));
  await client.connect(transport);
  const call = { name: plan.tool, arguments: { ...plan.arguments, token: name } };
  const onprogress = ({ message }) => steps.push(message);
  const result = await client.callTool(call, undefined, { onprogress });
  await transport.terminateSession();
  await client.close();
  return { name, asked, steps, said: JSON.parse(result.content[0].text) };
}

console.log(JSON.stringify(await Promise.all(plan.names.map(run))));
