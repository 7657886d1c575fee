// The small client as programs in CommonJS get it, types included.

import assert = require("node:assert/strict");
import nodeTest = require("node:test");
import mnemic = require("@mnemic/client");

nodeTest.test("programs in CommonJS require the client, with its types", async () => {
  const client: mnemic.LettaClient = new mnemic.MnemicClient({ baseUrl: "http://127.0.0.1:1", maxRetries: 0 });
  const found: Promise<mnemic.SearchResult[]> = client.searchMemory("agent-1", { query: "x" });
  await assert.rejects(found, (error: unknown) => error instanceof mnemic.MnemicError && error.code === "network_error");
  assert.match(require.resolve("@mnemic/client"), /dist\/cjs\/index\.js$/);
});
