// A conversation through the official `openai` package, on each engine: agents are its models.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import type Letta from "@letta-ai/letta-client";
import OpenAI from "openai";
import { ENGINES, MODEL, ScriptedModel, Server } from "./programs.js";

for (const engine of ENGINES) {
  describe(`the openai package on ${engine}`, () => {
    let model: ScriptedModel;
    let server: Server;
    let client: Letta;
    let agent: Letta.AgentState;
    let gpt: OpenAI;

    before(async () => {
      model = await ScriptedModel.start();
      server = await Server.make(engine, model);
      await server.start();
      client = server.client();
      agent = await client.agents.create({ model: MODEL });
      gpt = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "sk-none", maxRetries: 0 });
    });

    after(async () => {
      await server.close();
      await model.stop();
    });

    const ask = (content: string, user?: string) => ({
      model: agent.id,
      messages: [{ role: "user" as const, content }],
      ...(user ? { user } : {}),
    });

    test("an answer and a stream say the same", async () => {
      const text = `[[echo]] ${randomUUID()}`;
      const whole = await gpt.chat.completions.create(ask(text));
      let streamed = "";
      let tokens = 0;
      const stream = await gpt.chat.completions.create({
        ...ask(text),
        stream: true,
        stream_options: { include_usage: true },
      });
      for await (const chunk of stream) {
        streamed += chunk.choices[0]?.delta.content ?? "";
        tokens = chunk.usage?.total_tokens ?? tokens;
      }
      assert.equal(streamed, whole.choices[0]!.message.content);
      assert.ok(tokens > 0);
    });

    test("users have threads of their own", async () => {
      for (const user of ["ann", "bob", "ann"]) await gpt.chat.completions.create(ask(`hello ${user}`, user));
      const threads = await client.conversations.list({ agent_id: agent.id });
      assert.equal(threads.length, 2);
    });

    test("a response is streamed and followed by another", async () => {
      const stream = gpt.responses.stream({ model: agent.id, input: "one", user: "cleo" });
      const first = await stream.finalResponse();
      assert.ok(first.output_text.length > 0);
      const second = await gpt.responses.create({ model: agent.id, input: "two", previous_response_id: first.id });
      assert.equal(second.status, "completed");
    });

    test("agents are listed, and errors are the package's own", async () => {
      const ids = [];
      for await (const one of gpt.models.list()) ids.push(one.id);
      assert.deepEqual(ids, [agent.id]);
      await assert.rejects(gpt.chat.completions.create({ ...ask("hello"), model: "nobody" }), OpenAI.NotFoundError);
    });
  });
}
