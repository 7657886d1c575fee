// Tools that people write, through the official TypeScript SDK, on each engine.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
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

for (const engine of ENGINES) {
  describe(`tools by the TypeScript SDK on ${engine}`, () => {
    let model: ScriptedModel;
    let server: Server;
    let client: Letta;

    before(async () => {
      model = await ScriptedModel.start();
      server = await Server.make(engine, model);
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

    test("a Python tool is made; one without a schema is refused with its line", async () => {
      const name = `p_${randomUUID().slice(0, 8)}`;
      const source = (hint: string) => `def ${name}(a${hint}):\n    """Does.\n\n    Args:\n        a: it\n    """\n`;
      const made = await client.tools.create({ source_code: source(": int") });
      assert.equal(made.name, name);
      await assert.rejects(client.tools.create({ source_code: source("") }), /line 1: .*no type hint/);
    });
  });
}
