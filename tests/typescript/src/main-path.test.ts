// The main path through the official TypeScript SDK, on each engine.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import Letta from "@letta-ai/letta-client";
import { ENGINES, MODEL, ScriptedModel, Server, eventually } from "./programs.js";

type Frame = Letta.Agents.LettaStreamingResponse;

function text(messages: readonly { message_type?: string | undefined }[]): string {
  return messages
    .map((message) => {
      const { message_type: kind, content } = message as { message_type?: string; content?: unknown };
      return kind === "assistant_message" ? String(content) : "";
    })
    .join("");
}

const kinds = (messages: readonly { message_type?: string | undefined }[]) =>
  messages.map((message) => message.message_type);

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

for (const engine of ENGINES) {
  describe(`the TypeScript SDK on ${engine}`, () => {
    let model: ScriptedModel;
    let server: Server;
    let client: Letta;
    let agent: Letta.AgentState;

    before(async () => {
      model = await ScriptedModel.start();
      server = await Server.make(engine, model);
      await server.start();
      client = server.client();
      agent = await client.agents.create({
        model: MODEL,
        name: "Ada's helper",
        memory_blocks: [{ label: "human", value: "Ada sails." }],
      });
    });

    after(async () => {
      await server.close();
      await model.stop();
    });

    const say = (content: string) => ({ messages: [{ role: "user" as const, content }] });

    test("an agent is made, read, changed and deleted", async () => {
      const made = await client.agents.create({ model: MODEL, tags: ["short-lived"] });
      assert.match(made.id, /^agent-/);
      await client.agents.update(made.id, { description: "changed" });
      const read = await client.agents.retrieve(made.id, { include: ["agent.tags"] });
      assert.equal(read.description, "changed");
      assert.deepEqual(read.tags, ["short-lived"]);
      await client.agents.delete(made.id);
      await assert.rejects(client.agents.retrieve(made.id), Letta.NotFoundError);
    });

    test("a message is answered as JSON", async () => {
      const answer = await client.agents.messages.create(agent.id, say("Hello"));
      assert.deepEqual(kinds(answer.messages), ["assistant_message"]);
      assert.equal(answer.stop_reason.stop_reason, "end_turn");
      assert.ok((answer.usage.total_tokens ?? 0) > 0);
    });

    test("a stream by step has whole messages", async () => {
      const stream = await client.agents.messages.stream(agent.id, { ...say("Hello steps"), include_pings: false });
      const frames: Frame[] = await all(stream);
      assert.deepEqual(kinds(frames), ["assistant_message", "stop_reason", "usage_statistics"]);
    });

    test("a stream by token adds up to the same text", async () => {
      const whole = text((await client.agents.messages.create(agent.id, say("The same"))).messages);
      const stream = await client.agents.messages.create(agent.id, {
        ...say("The same"),
        streaming: true,
        stream_tokens: true,
      });
      const frames: Frame[] = await all(stream);
      const parts = frames.filter((frame) => frame.message_type === "assistant_message");
      assert.ok(parts.length > 5);
      assert.equal(text(frames), whole);
    });

    test("the agent edits its memory, and the next request shows it", async () => {
      const token = randomUUID();
      const answer = await client.agents.messages.create(agent.id, say(`Please remember ${token}`));
      assert.deepEqual(kinds(answer.messages), ["tool_call_message", "tool_return_message", "assistant_message"]);
      const block = await client.agents.blocks.retrieve("human", { agent_id: agent.id });
      assert.ok(block.value.includes(`Fact: Please remember ${token}`));
      await client.agents.messages.create(agent.id, say(`What do you know, ${token}?`));
      const [system] = JSON.parse(await model.lastRequest(`What do you know, ${token}?`)) as { content: string }[];
      assert.ok(system!.content.includes(`Fact: Please remember ${token}`));
    });

    test("blocks are made, shared and changed", async () => {
      const block = await client.blocks.create({ label: `b${randomUUID()}`, value: "one" });
      await client.agents.blocks.attach(block.id, { agent_id: agent.id });
      await client.agents.blocks.update(block.label!, { agent_id: agent.id, value: "two" });
      assert.equal((await client.blocks.retrieve(block.id)).value, "two");
      await client.agents.blocks.detach(block.id, { agent_id: agent.id });
    });

    test("iteration sees every message once, in both orders", async () => {
      const talker = await client.agents.create({ model: MODEL });
      for (let turn = 0; turn < 6; turn += 1) {
        await client.agents.messages.create(talker.id, say(`remember ${turn}`));
      }
      const ids = async (query: Letta.Agents.MessageListParams) =>
        (await all(client.agents.messages.list(talker.id, query))).map((message) => message.id);
      const whole = await ids({ limit: 1000, order: "asc" });
      assert.ok(whole.length > 17 && new Set(whole).size === whole.length);
      assert.deepEqual(await ids({ limit: 3, order: "asc" }), whole);
      assert.deepEqual(await ids({ limit: 3, order: "desc" }), whole.toReversed());
    });

    test("iteration sees every agent once", async () => {
      const tag = randomUUID();
      const made: string[] = [];
      for (let n = 0; n < 5; n += 1) made.push((await client.agents.create({ model: MODEL, tags: [tag] })).id);
      const found = await all(client.agents.list({ tags: [tag], limit: 2 }));
      assert.deepEqual(found.map((one) => one.id), made.toReversed());
    });

    test("a background stream is resumed by its run", async () => {
      const stream = await client.agents.messages.stream(agent.id, {
        ...say("[[delay 20]] [[words 60]] in the background"),
        stream_tokens: true,
        background: true,
      });
      const seen: Frame[] = [];
      for await (const frame of stream) {
        seen.push(frame);
        if (seen.length === 8) break;
      }
      const last = seen.at(-1) as { run_id: string; seq_id: number };
      const rest: Frame[] = await all(await client.runs.messages.stream(last.run_id, { starting_after: last.seq_id }));
      const run = await client.runs.retrieve(last.run_id);
      assert.equal(run.status, "completed");
      const [newest] = (await client.agents.messages.list(agent.id, { limit: 1 })).items;
      assert.equal(text([...seen, ...rest]), (newest as { content: string }).content);
    });

    test("a run is cancelled", async () => {
      const run = await client.agents.messages.createAsync(agent.id, say("[[sleep 20000]] never"));
      await eventually("the run has begun", async () => (await client.runs.retrieve(run.id)).status === "running");
      await client.agents.messages.cancel(agent.id, { run_ids: [run.id] });
      await eventually("it is cancelled", async () => (await client.runs.retrieve(run.id)).status === "cancelled");
    });

    test("errors are the SDK's own", async () => {
      const unknown = "agent-00000000-0000-4000-8000-0000000000ff";
      await assert.rejects(client.agents.retrieve(unknown), Letta.NotFoundError);
      await assert.rejects(client.agents.retrieve("nonsense"), Letta.UnprocessableEntityError);
      await assert.rejects(client.agents.create({ name: "no model" }), Letta.BadRequestError);
      await assert.rejects(
        client.agents.messages.create(agent.id, say("[[error 401]] fails")),
        Letta.AuthenticationError,
      );
      await assert.rejects(async () => {
        await all(await client.agents.messages.stream(agent.id, say("[[error 401]] fails in a stream")));
      }, Letta.APIError);
    });

    test("after a kill everything is there and goes on", async () => {
      const token = randomUUID();
      await client.agents.messages.create(agent.id, say(`remember ${token}`));
      const before = await all(client.agents.messages.list(agent.id, { order: "asc" }));
      await server.kill();
      await server.start();
      assert.deepEqual(await all(client.agents.messages.list(agent.id, { order: "asc" })), before);
      const answer = await client.agents.messages.create(agent.id, say(`and on, ${token}`));
      assert.equal(answer.stop_reason.stop_reason, "end_turn");
      assert.ok((await model.lastRequest(`and on, ${token}`)).includes(`Fact: remember ${token}`));
    });
  });
}
