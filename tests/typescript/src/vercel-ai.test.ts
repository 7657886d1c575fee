// The Vercel AI SDK's provider, unchanged, against the server.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import Letta from "@letta-ai/letta-client";
import { createLetta } from "@letta-ai/vercel-ai-sdk-provider";
import { generateText, streamText } from "ai";
import { ENGINES, MODEL, ScriptedModel, Server } from "./programs.js";

for (const engine of ENGINES) {
  describe(`the Vercel AI SDK on ${engine}`, () => {
    let model: ScriptedModel;
    let server: Server;
    let agent: string;

    before(async () => {
      model = await ScriptedModel.start();
      server = await Server.make(engine, model);
      await server.start();
      const client = new Letta({ baseURL: server.url, apiKey: "sk-none" });
      agent = (await client.agents.create({ model: MODEL, memory_blocks: [{ label: "human", value: "Ada." }] })).id;
    });

    after(async () => {
      await server.close();
      await model.stop();
    });

    const options = () => ({
      model: createLetta({ baseUrl: server.url, token: "sk-none" })(),
      providerOptions: { letta: { agent: { id: agent } } },
    });

    test("text is generated whole and as a stream, and the agent remembers what was said", async () => {
      const whole = await generateText({ ...options(), prompt: "[[echo]] the boat is red" });
      assert.equal(whole.text, "[[echo]] the boat is red");
      const streamed = streamText({ ...options(), prompt: "[[echo]] and it sails" });
      let text = "";
      for await (const piece of streamed.textStream) text += piece;
      assert.equal(text, "[[echo]] and it sails");
      assert.match(await model.lastRequest("and it sails"), /the boat is red/);
    });

    test("tools of the agent are told as they run", async () => {
      const call = `[[call memory_insert ${JSON.stringify({ label: "human", new_string: "Rows." })}]]`;
      const streamed = streamText({ ...options(), prompt: call });
      const kinds = new Set<string>();
      for await (const part of streamed.fullStream) kinds.add(part.type);
      assert.ok(kinds.has("tool-call") && kinds.has("tool-result"), [...kinds].join());
    });
  });
}
