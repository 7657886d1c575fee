// Archival and recall memory, compaction and the memory tools through the official TypeScript SDK, on each engine. What is
// searched for by words here is found by meaning in the Python tests.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import Letta from "@letta-ai/letta-client";
import { ENGINES, MODEL, ScriptedModel, Server } from "./programs.js";

const call = (tool: string, given: Record<string, unknown>) => `[[call ${tool} ${JSON.stringify(given)}]]`;

/** What the only tool of an answer returned. */
function returned(answer: Letta.Agents.LettaResponse): { status: string; text: string } {
  const found = answer.messages.flatMap((message) => (message.message_type === "tool_return_message" ? [message] : []));
  assert.equal(found.length, 1);
  return { status: found[0]!.status, text: String(found[0]!.tool_return) };
}

for (const engine of ENGINES) {
  describe(`memory by the TypeScript SDK on ${engine}`, () => {
    let model: ScriptedModel;
    let server: Server;
    let client: Letta;
    let agent: Letta.AgentState;

    before(async () => {
      model = await ScriptedModel.start();
      server = await Server.make(engine, model);
      await server.start();
      client = server.client();
      agent = await client.agents.create({ model: MODEL, memory_blocks: [{ label: "human", value: "Ada sails." }] });
    });

    after(async () => {
      await server.close();
      await model.stop();
    });

    const say = (content: string) => ({ messages: [{ role: "user" as const, content }] });
    const tell = async (tool: string, given: Record<string, unknown>) =>
      returned(await client.agents.messages.create(agent.id, say(call(tool, given))));

    test("the model in the process is listed", async () => {
      const handles = (await client.models.embeddings.list()).map((one) => one.handle);
      assert.ok(handles.includes("local/all-MiniLM-L6-v2"));
    });

    test("a passage is written, listed, found and deleted", async () => {
      const token = randomUUID();
      const [made] = await client.agents.passages.create(agent.id, { text: `The keel ${token}.`, tags: ["boat"] });
      assert.equal(made!.text, `The keel ${token}.`);
      const listed = await client.agents.passages.list(agent.id, { search: token });
      assert.deepEqual(listed.map((one) => one.id), [made!.id]);
      const found = await client.agents.passages.search(agent.id, { query: `keel ${token}`, tags: ["boat"] });
      assert.equal(found.results[0]!.content, `The keel ${token}.`);
      assert.equal((await client.agents.passages.search(agent.id, { query: token, tags: ["other"] })).count, 0);
      await client.agents.passages.delete(made!.id!, { agent_id: agent.id });
      const after = await client.agents.passages.search(agent.id, { query: token });
      assert.ok(!after.results.some((one) => one.content.includes(token)));
    });

    test("an archive is made, filled, shared, searched, changed and deleted", async () => {
      const token = randomUUID();
      const archive = await client.archives.create({ name: token, description: "Tour notes" });
      const texts = Array.from({ length: 20 }, (_, n) => `buoy ${n} of ${token}`);
      const made = await client.archives.passages.createMany(archive.id, { passages: texts.map((text) => ({ text })) });
      assert.deepEqual(made.map((one) => one.text), texts);
      const one = await client.archives.passages.create(archive.id, { text: `lamp of ${token}`, metadata: { shelf: 3 } });
      const hits = await client.passages.search({ archive_id: archive.id, query: "lamp", limit: 3 });
      assert.equal(hits[0]!.passage.id, one.id);
      assert.deepEqual(hits[0]!.passage.metadata, { shelf: 3 });
      await client.agents.archives.attach(archive.id, { agent_id: agent.id });
      const shared = await client.agents.passages.search(agent.id, { query: `lamp ${token}` });
      assert.ok(shared.results.some((result) => result.content === `lamp of ${token}`));
      await client.agents.archives.detach(archive.id, { agent_id: agent.id });
      await client.archives.passages.delete(one.id!, { archive_id: archive.id });
      await client.archives.update(archive.id, { description: "changed" });
      assert.equal((await client.archives.retrieve(archive.id)).description, "changed");
      const listed: string[] = [];
      for await (const each of client.archives.list({ name: token })) listed.push(each.id);
      assert.deepEqual(listed, [archive.id]);
      await client.archives.delete(archive.id);
      await assert.rejects(client.archives.retrieve(archive.id), Letta.NotFoundError);
    });

    test("messages are searched", async () => {
      const token = randomUUID();
      await client.agents.messages.create(agent.id, say(`My boat is called ${token}.`));
      const hits = await client.messages.search({ agent_id: agent.id, query: `boat ${token}`, search_mode: "fts" });
      assert.ok(hits.some((hit) => "content" in hit && hit.content === `My boat is called ${token}.`));
      const old = { agent_id: agent.id, query: `boat ${token}`, end_date: "2020-01-01T00:00:00Z" };
      assert.deepEqual(await client.messages.search(old), []);
      assert.equal((await client.messages.search({ agent_id: agent.id, query: "boat", limit: 1 })).length, 1);
    });

    test("the agent searches and notes by its tools", async () => {
      const token = randomUUID();
      assert.equal((await tell("archival_memory_insert", { content: `The code is ${token}.` })).status, "success");
      const noted = await tell("archival_memory_search", { query: `code ${token}` });
      assert.ok(noted.text.includes(`The code is ${token}.`));
      const said = await tell("conversation_search", { query: token });
      assert.equal(said.status, "success");
      assert.ok(said.text.includes(token));
      assert.equal((await tell("archival_memory_search", {})).status, "error");
    });

    test("the agent edits its memory with each tool", async () => {
      const editor = await client.agents.create({
        model: MODEL,
        include_base_tools: false,
        tools: ["memory", "memory_apply_patch", "memory_insert", "memory_replace", "memory_rethink"],
        memory_blocks: [{ label: "human", value: "Ada sails." }],
      });
      const edit = async (tool: string, given: Record<string, unknown>) => {
        const answer = await client.agents.messages.create(editor.id, say(call(tool, given)));
        assert.equal(returned(answer).status, "success");
        return (await client.agents.blocks.retrieve("human", { agent_id: editor.id })).value;
      };
      const replaced = { label: "human", old_string: "sails", new_string: "rows" };
      assert.equal(await edit("memory_replace", replaced), "Ada rows.");
      assert.equal(await edit("memory_insert", { label: "human", new_string: "Daily." }), "Ada rows.\nDaily.");
      const command = { command: "str_replace", path: "/memories/human", old_string: "Daily.", new_string: "On Sundays." };
      assert.equal(await edit("memory", command), "Ada rows.\nOn Sundays.");
      const patch = { label: "human", patch: "-Ada rows.\n+Ada swims." };
      assert.equal(await edit("memory_apply_patch", patch), "Ada swims.\nOn Sundays.");
      assert.equal(await edit("memory_rethink", { label: "human", new_memory: "Ada rests." }), "Ada rests.");
    });

    test("a compaction leaves what was said to be found", async () => {
      const talker = await client.agents.create({ model: MODEL });
      for (let turn = 0; turn < 6; turn += 1) {
        await client.agents.messages.create(talker.id, say(`The parcel number ${turn} has arrived.`));
      }
      const before = (await client.agents.retrieve(talker.id)).message_ids!.length;
      const done = await client.agents.messages.compact(talker.id);
      assert.ok(done.num_messages_after < done.num_messages_before);
      assert.ok((await client.agents.retrieve(talker.id)).message_ids!.length < before);
      const hits = await client.messages.search({ agent_id: talker.id, query: "parcel number 0" });
      assert.ok(hits.some((hit) => "content" in hit && hit.content === "The parcel number 0 has arrived."));
      const answer = await client.agents.messages.create(talker.id, say("And now?"));
      assert.equal(answer.stop_reason.stop_reason, "end_turn");
    });
  });
}
