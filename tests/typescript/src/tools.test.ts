// Tools that people write, through the official TypeScript SDK, on each engine.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { after, before, describe, test } from "node:test";
import Letta from "@letta-ai/letta-client";
import { ENGINES, MODEL, ScriptedModel, Server } from "./programs.js";

const forecast = (name: string, what = "where") => `
interface Place { city: string; country?: string }

/**
 * Forecasts the weather.
 * @param place - ${what}
 * @param days - how many
 */
export async function ${name}(place: Place, days: number = 3): Promise<string> {
  return \`\${place.city} \${days}\`;
}
`;

const counter = (name: string) => `
enum Size { Small = 1, Large = 10 }

/**
 * Counts boats.
 * @param add - how many
 * @param names - whose
 */
export async function ${name}({ add, names = [] }: { add: number; names?: string[] }): Promise<{ sum: number; names: string[] }> {
  console.log("counting");
  if (add < 0) throw new RangeError("too few");
  return { sum: add * Size.Large, names };
}
`;

// One that can take types off, whichever runs these tests.
const node = createRequire(import.meta.url).resolve(`node-linux-${process.arch}/bin/node`);

for (const engine of ENGINES) {
  describe(`tools by the TypeScript SDK on ${engine}`, () => {
    let model: ScriptedModel;
    let server: Server;
    let client: Letta;

    before(async () => {
      model = await ScriptedModel.start();
      server = await Server.make(engine, model, { MNEMIC_NODE: node });
      await server.start();
      client = server.client();
    });

    after(async () => {
      await server.close();
      await model.stop();
    });

    test("a tool is made, changed in place, attached, found and deleted", async () => {
      const name = `f_${randomUUID().slice(0, 8)}`;
      const made = await client.tools.create({ source_code: forecast(name), source_type: "typescript", tags: [name] });
      assert.deepEqual(made.json_schema!["parameters"], {
        type: "object",
        properties: {
          place: {
            type: "object",
            description: "where",
            properties: { city: { type: "string" }, country: { type: "string" } },
            required: ["city"],
          },
          days: { type: "number", description: "how many", default: 3 },
        },
        required: ["place"],
      });
      const put = await client.tools.upsert({ source_code: forecast(name, "which place"), source_type: "typescript" });
      assert.equal(put.id, made.id);
      assert.match(JSON.stringify(put.json_schema), /which place/);
      const changed = await client.tools.update(made.id, { return_char_limit: 500, default_requires_approval: true });
      assert.equal(changed.return_char_limit, 500);
      assert.deepEqual(changed.tags, [name]);

      const agent = await client.agents.create({ model: MODEL });
      await client.agents.tools.attach(made.id, { agent_id: agent.id });
      const attached = await client.agents.tools.list(agent.id);
      assert.ok(attached.items.some((tool) => tool.id === made.id));
      const found = await client.tools.search({ query: "the weather of a place", tags: [name] });
      assert.deepEqual(found.map((one) => one.tool.id), [made.id]);
      await client.tools.delete(made.id);
      await assert.rejects(client.tools.retrieve(made.id), Letta.NotFoundError);
    });

    test("a tool in TypeScript and one in Python run, by the agent and by a client", async () => {
      const name = `c_${randomUUID().slice(0, 8)}`;
      const counted = await client.tools.create({ source_code: counter(name), source_type: "typescript" });
      const python = `def p${name}(a: int) -> int:\n    """Doubles.\n\n    Args:\n        a: it\n    """\n    return a * 2\n`;
      const doubled = await client.tools.create({ source_code: python });
      const agent = await client.agents.create({ model: MODEL, tool_ids: [counted.id, doubled.id] });
      const run = (tool: string, args: Record<string, unknown>) => client.agents.tools.run(tool, { agent_id: agent.id, args });
      const done = await run(name, { add: 2, names: ["Ada"] });
      assert.deepEqual([done.status, done.func_return, done.stdout], ["success", { sum: 20, names: ["Ada"] }, ["counting"]]);
      assert.equal((await run(`p${name}`, { a: "4" })).func_return, 8);
      const failed = await run(name, { add: -1 });
      assert.equal(failed.status, "error");
      assert.match(String(failed.func_return), /RangeError: too few/);
      const answer = await client.agents.messages.create(agent.id, {
        messages: [{ role: "user", content: `[[call ${name} {"add": 3}]]` }],
      });
      const returned = answer.messages.find((message) => message.message_type === "tool_return_message");
      assert.match(JSON.stringify(returned), /\\"sum\\":30/);
    });

    test("a Python tool is made; one without a schema is refused with its line", async () => {
      const name = `p_${randomUUID().slice(0, 8)}`;
      const source = (hint: string) => `def ${name}(a${hint}):\n    """Does.\n\n    Args:\n        a: it\n    """\n`;
      const made = await client.tools.create({ source_code: source(": int") });
      assert.equal(made.name, name);
      await assert.rejects(client.tools.create({ source_code: source("") }), /line 1: .*no type hint/);
    });
  });
}
