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

    test("an attached block is in the prompt, in its newest state, until it is detached", async () => {
      const prompt = async (said: string) => {
        await client.agents.messages.create(agent.id, say(said));
        const [system] = JSON.parse(await model.lastRequest(said)) as { content: string }[];
        return system!.content;
      };
      const [one, two] = [randomUUID(), randomUUID()];
      const block = await client.blocks.create({ label: `b${one}`, value: one });
      await client.agents.blocks.attach(block.id, { agent_id: agent.id });
      assert.ok((await prompt(`attached ${one}`)).includes(one));
      await client.agents.blocks.update(block.label!, { agent_id: agent.id, value: two });
      assert.equal((await client.blocks.retrieve(block.id)).value, two);
      assert.ok((await prompt(`changed ${two}`)).includes(two));
      await client.agents.blocks.detach(block.id, { agent_id: agent.id });
      assert.ok(!(await prompt(`detached ${two}`)).includes(two));
      await assert.rejects(client.agents.blocks.retrieve(block.label!, { agent_id: agent.id }), Letta.NotFoundError);
    });

    test("a block that agents share is one", async () => {
      const block = await client.blocks.create({ label: "crew", value: "Ada" });
      const pair = await Promise.all([1, 2].map(() => client.agents.create({ model: MODEL, block_ids: [block.id] })));
      await client.agents.blocks.update("crew", { agent_id: pair[0]!.id, value: "Ada and Bob" });
      assert.equal((await client.agents.blocks.retrieve("crew", { agent_id: pair[1]!.id })).value, "Ada and Bob");
    });

    test("conversations are threads of one agent that share its memory", async () => {
      const token = randomUUID();
      const made = await client.conversations.create({ agent_id: agent.id, summary: "harbour" });
      assert.deepEqual((await client.conversations.list({ agent_id: agent.id })).map((one) => one.id), [made.id]);
      await client.agents.messages.create(agent.id, say(`remember ${token}`));
      const frames: Frame[] = await all(await client.conversations.messages.create(made.id, say(`aside ${token}`)));
      assert.match(text(frames), /^Reply /);
      const sent = JSON.parse(await model.lastRequest(`aside ${token}`)) as { role: string; content: string }[];
      assert.deepEqual(sent.map((message) => message.role), ["system", "user"]);
      assert.ok(sent[0]!.content.includes(`Fact: remember ${token}`));
      const thread = await all(client.conversations.messages.list(made.id, { limit: 1, order: "asc" }));
      assert.deepEqual(kinds(thread), ["system_message", "user_message", "assistant_message"]);
      assert.ok(!JSON.stringify(await all(client.agents.messages.list(agent.id, { conversation_id: "default" })))
        .includes(`aside ${token}`));
      await client.conversations.update(made.id, { summary: "quay" });
      assert.equal((await client.conversations.retrieve(made.id)).summary, "quay");
      await client.conversations.delete(made.id);
      await assert.rejects(client.conversations.retrieve(made.id), Letta.NotFoundError);
    });

    test("a busy conversation is a conflict that names the run", async () => {
      const made = await client.conversations.create({ agent_id: agent.id });
      const slow = await client.conversations.messages.create(made.id, {
        ...say("[[delay 20]] [[words 60]] slow"),
        stream_tokens: true,
        include_pings: false,
      });
      const seen: Frame[] = [];
      for await (const frame of slow) {
        if (seen.length === 0) {
          const { run_id } = frame as { run_id: string };
          await assert.rejects(
            client.conversations.messages.create(made.id, say("me too")),
            (error: unknown) => error instanceof Letta.ConflictError && error.message.includes(run_id),
          );
        }
        seen.push(frame);
      }
      assert.deepEqual(kinds(seen).slice(-2), ["stop_reason", "usage_statistics"]);
      await all(await client.conversations.messages.create(made.id, say("free again")));
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

    test("iteration sees every agent once, in both orders", async () => {
      const tag = randomUUID();
      const made: string[] = [];
      for (let n = 0; n < 5; n += 1) made.push((await client.agents.create({ model: MODEL, tags: [tag] })).id);
      const ids = async (order?: string) =>
        (await all(client.agents.list({ tags: [tag], limit: 2, ...(order && { order }) }))).map((one) => one.id);
      assert.deepEqual(await ids(), made.toReversed());
      assert.deepEqual(await ids("desc"), made.toReversed());
      assert.deepEqual(await ids("asc"), made);
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
      assert.deepEqual(kinds(rest).slice(-2), ["stop_reason", "usage_statistics"]);
      const numbers = [...seen, ...rest].flatMap((frame) => (frame as { seq_id?: number | null }).seq_id ?? []);
      assert.deepEqual(numbers, numbers.map((_, n) => n + 1));
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
      await assert.rejects(client.agents.messages.create(agent.id, { messages: [] }), Letta.UnprocessableEntityError);
      await assert.rejects(client.agents.messages.cancel(agent.id), Letta.ConflictError);
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
