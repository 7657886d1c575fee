// The small client in all the places that it says it runs in, against the server.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { LettaClient } from "@mnemic/client";
import { ENGINES, eventually, MODEL, ScriptedModel, Server } from "./programs.js";
import { MANY, MANY_AGENTS, NAMES, type Outcome } from "./runtimes/conformance.js";
import { deno, RUNTIMES, said, SERVERS } from "./runtimes/programs.js";

describe("the small client", () => {
  let model: ScriptedModel;
  const servers: Server[] = [];
  const outcomes = new Map<string, Promise<Outcome[]>>();

  before(async () => {
    model = await ScriptedModel.start();
    for (const engine of ENGINES) {
      const server = await Server.make(engine, model);
      servers.push(server);
      await server.start();
      const client = new LettaClient({ baseUrl: server.url });
      await Promise.all(Array.from({ length: MANY_AGENTS }, (_, n) => client.createAgent({ name: `${MANY}${n + 1}`, model: MODEL })));
      for (const [runtime, run] of Object.entries(RUNTIMES)) {
        const running = run({ url: server.url, model: MODEL, runtime, hasEnvironment: true });
        // Its own test tells of a failure, later.
        running.catch(() => undefined);
        outcomes.set(`${runtime}, ${engine}`, running);
      }
    }
    // All at once: they mostly wait for answers.
    await Promise.allSettled(outcomes.values());
  });

  after(async () => {
    for (const server of servers) await server.close();
    await model.stop();
  });

  for (const place of ENGINES.flatMap((engine) => Object.keys(RUNTIMES).map((runtime) => `${runtime}, ${engine}`))) {
    test(`in ${place}`, async (t) => {
      const found = await outcomes.get(place)!;
      assert.deepEqual(found.map(({ name }) => name), NAMES);
      for (const { name, error } of found) await t.test(name, () => assert.equal(error, undefined));
    });
  }

  for (const [runtime, serving] of Object.entries(SERVERS)) {
    test(`a reader that leaves an answer which ${runtime} serves ends the agent's work`, async () => {
      const { url } = servers[0]!;
      const agent = await new LettaClient({ baseUrl: url }).createAgent({ model: MODEL });
      await serving(async (address) => {
        const leaving = new AbortController();
        const answer = await fetch(`${address}/?${new URLSearchParams({ server: url, agent: agent.id })}`, { signal: leaving.signal });
        assert.ok((await answer.body!.getReader().read()).value!.length > 0);
        const status = async () => {
          const run = await fetch(`${url}/v1/runs/${answer.headers.get("x-run-id")}`);
          return ((await run.json()) as { status: string }).status;
        };
        assert.equal(await status(), "running");
        leaving.abort();
        await eventually("the run is cancelled", async () => (await status()) === "cancelled");
      });
    });
  }
});

test("Deno constructs a client that may ask nobody and read no variable, and is told what it lacks", async () => {
  const source = `
    import { LettaClient } from ${JSON.stringify(import.meta.resolve("@mnemic/client"))};
    const client = new LettaClient({ maxRetries: 0 });
    const error = await client.listAgents().catch((error) => error);
    console.log(client.baseUrl, error.code, error.message);`;
  const [command, ...options] = deno();
  const told = await said(command, ...options, `data:text/javascript,${encodeURIComponent(source)}`);
  assert.match(told, /^http:\/\/localhost:8283 network_error .*--allow-net/s);
});
