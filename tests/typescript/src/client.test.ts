// The small client against the server: all that it offers, for several people.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { type Agent, LettaClient, MnemicError } from "@mnemic/client";
import { ENGINES, eventually, MODEL, ScriptedModel, Server } from "./programs.js";

for (const engine of ENGINES) {
  describe(`the small client on ${engine}`, () => {
    let model: ScriptedModel;
    let server: Server;
    let client: LettaClient;
    let agent: Agent;

    before(async () => {
      model = await ScriptedModel.start();
      server = await Server.make(engine, model);
      await server.start();
      client = new LettaClient({ baseUrl: server.url, apiKey: "sk-none" });
      agent = await client.createAgent({ name: "juno", persona: "I am Juno.", human: "Nobody yet.", model: MODEL });
    });

    after(async () => {
      await server.close();
      await model.stop();
    });

    test("an agent is made with who it is and what it knows, by the bare name of a model", async () => {
      const made = await client.createAgent({ name: "vela", persona: "I am Vela.", human: "A sailor.", model: "scripted", tags: ["t"] });
      assert.deepEqual([made.name, made.model, made.tags], ["vela", MODEL, ["t"]]);
      await client.sendMessage(made.id, { message: "[[echo]] vela" });
      const asked = await model.lastRequest("[[echo]] vela");
      assert.match(asked, /I am Vela\./);
      assert.match(asked, /A sailor\./);
      assert.equal((await client.getAgent(made.id)).name, "vela");
      await client.deleteAgent(made.id);
      await assert.rejects(client.getAgent(made.id), { name: "MnemicError", status: 404 });
    });

    test("twenty calls at once that make an agent if there is none make one", async () => {
      const calls = Array.from({ length: 20 }, () => client.createAgent({ name: "only", model: MODEL, ifNotExists: true }));
      const ids = new Set((await Promise.all(calls)).map(({ id }) => id));
      const named = (await client.listAgents()).filter(({ name }) => name === "only");
      assert.deepEqual([ids.size, named.length], [1, 1]);
    });

    test("a message is answered with what the turn said, wrote and cost", async () => {
      const answer = await client.sendMessage(agent.id, { message: "Please remember that I sail.", userId: "ada" });
      assert.equal(answer.messages[0].role, "assistant");
      assert.match(answer.messages[0].content, /^Done/);
      const [change] = answer.memory.blocks;
      assert.deepEqual([change!.label, change!.before], ["human", "Nobody yet."]);
      assert.match(change!.after, /I sail/);
      assert.ok(answer.usage.promptTokens > 0 && answer.usage.stepCount === 2);
      assert.deepEqual([answer.stopReason, answer.userId], ["end_turn", "ada"]);
      assert.match(answer.runId, /^run-/);
    });

    test("a stream says the same as a whole answer, and then what the turn wrote and cost", async () => {
      const stream = client.streamMessage(agent.id, { message: "Please remember that I row.", userId: "cem" });
      let text = "";
      for await (const delta of stream) text += delta;
      assert.match(text, /^Done/);
      assert.match((await stream.memory).blocks[0]!.after, /I row/);
      assert.ok((await stream.usage).totalTokens > 0);
      assert.equal(await stream.stopReason, "end_turn");
      assert.equal((await client.history(agent.id, { userId: "cem" })).at(-1)!.content, text);
    });

    test("what an agent says before and after it uses a tool reads alike, whole and streamed", async () => {
      const call = `[[call archival_memory_insert ${JSON.stringify({ content: "The tide turns at six." })}]]`;
      const whole = await client.sendMessage(agent.id, { message: call, userId: "dov" });
      const stream = client.streamMessage(agent.id, { message: call, userId: "dov" });
      assert.equal(await stream.text, whole.messages[0].content);
      assert.equal(whole.memory.passages[0]!.content, "The tide turns at six.");
      assert.equal((await stream.memory).passages.length, 1);
    });

    test("a message that is sent again under its otid is taken in once", async () => {
      const message = { message: `[[echo]] ${randomUUID()}`, userId: "eva", otid: randomUUID() };
      const [first, second] = [await client.sendMessage(agent.id, message), await client.sendMessage(agent.id, message)];
      assert.equal(first.runId, second.runId);
      assert.deepEqual(first.messages, second.messages);
      assert.equal((await client.history(agent.id, { userId: "eva" })).length, 2);
    });

    test("memory is added and found for one person, or for all", async () => {
      const added = await client.addMemory(agent.id, { content: "Fay keeps bees.", type: "archival_memory", userId: "fay" });
      await client.addMemory(agent.id, { content: "Bees sleep in winter.", type: "archival_memory" });
      const found = await client.searchMemory(agent.id, { query: "bees", userId: "fay" });
      assert.deepEqual(found.map(({ userId }) => userId).sort(), ["fay", null]);
      assert.ok(found.some(({ id }) => id === added.id));
      assert.ok(found.every(({ score, createdAt }) => score > 0 && createdAt !== null));
      const ofAll = await client.searchMemory(agent.id, { query: "bees" });
      assert.deepEqual(ofAll.map(({ content }) => content), ["Bees sleep in winter."]);
      assert.equal((await client.searchMemory(agent.id, { query: "bees", userId: "fay", limit: 1 })).length, 1);
      const core = await client.addMemory(agent.id, { content: "Fay is left-handed.", type: "core_memory", userId: "fay" });
      assert.equal(core.label, "human");
      assert.match(core.value!, /left-handed/);
      const common = await client.addMemory(agent.id, { content: "The pier is closed.", type: "core_memory" });
      assert.equal(common.label, "facts");
    });

    test("a person's history is their own, oldest first, and is read page by page", async () => {
      for (let n = 1; n <= 5; n++) await client.sendMessage(agent.id, { message: `[[echo]] word ${n}`, userId: "gus" });
      await client.sendMessage(agent.id, { message: "[[echo]] of somebody else", userId: "hal" });
      const all = await client.history(agent.id, { userId: "gus" });
      const expected = [1, 2, 3, 4, 5].flatMap((n) => [`user [[echo]] word ${n}`, `assistant [[echo]] word ${n}`]);
      assert.deepEqual(all.map(({ role, content }) => `${role} ${content}`), expected);
      const newest = await client.history(agent.id, { userId: "gus", limit: 3 });
      assert.deepEqual(newest, all.slice(-3));
      assert.deepEqual(await client.history(agent.id, { userId: "gus", limit: 4, before: newest[0]!.id }), all.slice(3, 7));
      assert.deepEqual(await client.history(agent.id, { userId: "nobody" }), []);
    });

    test("a person who is forgotten is a stranger again", async () => {
      await client.sendMessage(agent.id, { message: "Please remember that I whittle.", userId: "ian" });
      const receipt = await client.forgetUser(agent.id, "ian");
      assert.equal(receipt.userId, "ian");
      assert.ok(receipt.removed["messages"]! > 0);
      assert.ok(receipt.erased || receipt.left?.includes("PostgreSQL"), JSON.stringify(receipt));
      assert.deepEqual(await client.history(agent.id, { userId: "ian" }), []);
      await client.sendMessage(agent.id, { message: "[[echo]] hello from ian", userId: "ian" });
      assert.doesNotMatch(await model.lastRequest("hello from ian"), /whittle/);
    });

    test("a user token is one person's, for one agent and for its time", async () => {
      const asked = Date.now();
      const made = await client.createUserToken({ agentId: agent.id, userId: "jo/é ✓", ttl: 600 });
      assert.deepEqual([made.agentId, made.userId], [agent.id, "jo/é ✓"]);
      const left = Date.parse(made.expiresAt) - asked;
      assert.ok(left >= 599_000 && left < 660_000, made.expiresAt);
      const usual = await client.createUserToken({ agentId: agent.id, userId: "jo/é ✓" });
      assert.ok(Date.parse(usual.expiresAt) - asked >= 3_599_000 && usual.token !== made.token);
      const jo = new LettaClient({ baseUrl: server.url, apiKey: made.token });
      assert.equal((await jo.sendMessage(agent.id, { message: "[[echo]] from Jo" })).userId, "jo/é ✓");
      assert.equal((await jo.history(agent.id)).at(-1)!.content, "[[echo]] from Jo");
      assert.deepEqual(await jo.history(agent.id), await client.history(agent.id, { userId: "jo/é ✓" }));
      await assert.rejects(jo.history(agent.id, { userId: "kim" }), { name: "MnemicError", status: 403, code: "forbidden" });
      await assert.rejects(Promise.resolve(jo.listAgents()), { status: 403 });
      const unknown = new LettaClient({ baseUrl: server.url, apiKey: "mnu_made_up" });
      await assert.rejects(unknown.history(agent.id), { status: 401, code: "unauthorized", message: /time is over/ });
      const nobody = "agent-00000000-0000-4000-8000-000000000000";
      for (const [wrong, status] of [[{ ttl: 59 }, 422], [{ ttl: 86_401 }, 422], [{ userId: "" }, 422], [{ agentId: nobody }, 404]] as const) {
        await assert.rejects(client.createUserToken({ agentId: agent.id, userId: "jo", ...wrong }), { name: "MnemicError", status });
      }
    });

    test("an agent that is for people takes nothing without one", async () => {
      const strict = await client.createAgent({ name: "strict", model: MODEL, requireUser: true });
      assert.equal(strict.requireUser, true);
      const refusals = [
        client.sendMessage(strict.id, { message: "hello" }),
        client.streamMessage(strict.id, { message: "hello" }).text,
        client.searchMemory(strict.id, { query: "hello" }),
        client.addMemory(strict.id, { content: "hello", type: "core_memory" }),
        client.sendMessage(strict.id, { message: "hello", userId: "" }),
      ];
      for (const refused of await Promise.allSettled(refusals)) {
        assert.ok(refused.status === "rejected" && refused.reason instanceof MnemicError);
        assert.equal(refused.reason.status, 422, refused.reason.message);
      }
    });

    test("aborting a stream or a message ends the agent's work on the server", async () => {
      const slow = { stream: "[[delay 100]] [[words 400]] stream", message: "[[sleep 25000]] message" };
      const statuses = async (userId: string) => {
        const people = (await (await fetch(`${server.url}/v1/agents/${agent.id}/users`)).json()) as { user_id: string; conversation_id: string }[];
        const thread = people.find(({ user_id }) => user_id === userId)?.conversation_id;
        const runs = (await (await fetch(`${server.url}/v1/runs/?agent_id=${agent.id}`)).json()) as { status: string; conversation_id: string }[];
        return runs.filter(({ conversation_id }) => conversation_id === thread).map(({ status }) => status).join();
      };
      for (const form of ["stream", "message"] as const) {
        const leaving = new AbortController();
        const message = { message: slow[form], userId: form, signal: leaving.signal };
        const answer = form === "stream" ? client.streamMessage(agent.id, message).text : client.sendMessage(agent.id, message);
        await eventually("the agent is at work", async () => (await statuses(form)) === "running");
        leaving.abort();
        await assert.rejects(answer, { name: "AbortError" });
        await eventually("the run is cancelled", async () => (await statuses(form)) === "cancelled");
      }
    });
  });
}
