// What the small client does when requests fail, wait, or break off: against a server that does as each test says.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { LettaClient, MnemicClient, MnemicError } from "@mnemic/client";
import { ANSWER, cutOff, FakeServer, frames, json, PING, says, silence, stream } from "./fake-server.js";
import { eventually } from "./programs.js";

const failure = async (promise: Promise<unknown>): Promise<MnemicError> => {
  const error = await promise.then(() => undefined, (reason: unknown) => reason);
  assert.ok(error instanceof MnemicError, String(error));
  return error;
};

describe("the small client's requests", () => {
  const server = new FakeServer();
  let client: LettaClient;
  const strays: unknown[] = [];
  const noteStray = (reason: unknown) => strays.push(reason);

  before(async () => {
    process.on("unhandledRejection", noteStray);
    await server.start();
  });
  beforeEach(() => {
    server.seen.length = 0;
    client = new LettaClient({ baseUrl: server.url, apiKey: "key-1" });
  });
  afterEach(async () => {
    // A failure that nobody waits for is told after the microtasks of its turn.
    await new Promise(setImmediate);
    assert.deepEqual(strays, [], "a rejection was handled by nobody");
  });
  after(() => {
    process.off("unhandledRejection", noteStray);
    server.stop();
  });

  test("an address and a key are taken from the options, then from the environment in its order", async () => {
    const names = ["MNEMIC_BASE_URL", "LETTA_BASE_URL", "MNEMIC_TOKEN", "LETTA_API_KEY", "LETTA_TOKEN"];
    const kept = names.map((name) => [name, process.env[name]] as const);
    server.answers = [json(200, [])];
    const keySent = async (options: object) => {
      await new LettaClient({ baseUrl: server.url, ...options }).listAgents();
      return server.seen.at(-1)!.headers.authorization;
    };
    try {
      for (const name of names) delete process.env[name];
      assert.equal(new LettaClient().baseUrl, "http://localhost:8283");
      assert.equal(await keySent({}), undefined);
      process.env["LETTA_BASE_URL"] = "http://second:1";
      process.env["LETTA_TOKEN"] = "third";
      assert.equal(new MnemicClient().baseUrl, "http://second:1");
      assert.equal(await keySent({}), "Bearer third");
      process.env["MNEMIC_BASE_URL"] = "http://first:1/";
      process.env["LETTA_API_KEY"] = "second";
      assert.equal(new LettaClient({}).baseUrl, "http://first:1");
      assert.equal(await keySent({}), "Bearer second");
      process.env["MNEMIC_TOKEN"] = "first";
      assert.equal(await keySent({}), "Bearer first");
      assert.equal(await keySent({ apiKey: "own" }), "Bearer own");
      assert.equal(new LettaClient({ baseUrl: "http://own:1" }).baseUrl, "http://own:1");
    } finally {
      for (const [name, value] of kept) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  });

  test("constructing asks nothing of the server, and an address that is none is told at once", async () => {
    assert.equal(server.seen.length, 0);
    assert.throws(() => new LettaClient({ baseUrl: "localhost:8283" }), { name: "MnemicError", code: "invalid_base_url" });
  });

  test("an error says its status, code, message and request", async () => {
    const cases = [
      [404, { detail: "there is no agent agent-1" }, "not_found", "there is no agent agent-1"],
      [409, { detail: { code: "PENDING_APPROVAL", message: "waiting for approval" } }, "pending_approval", "waiting for approval"],
      [422, { detail: [{ loc: ["body", "user_id"], msg: "is empty" }] }, "invalid_request", "body.user_id: is empty"],
      [401, { error: { type: "llm_authentication", message: "the key is wrong" } }, "llm_authentication", "the key is wrong"],
      [500, "", "server_error", "the server answered 500 Internal Server Error"],
    ] as const;
    for (const [status, body, code, message] of cases) {
      server.answers = [body === "" ? ({ response }) => void response.writeHead(status).end() : json(status, body)];
      const error = await failure(client.deleteAgent("agent-1"));
      assert.deepEqual([error.status, error.code, error.message], [status, code, message]);
      if (body !== "") assert.equal(error.requestId, "request-7");
    }
    assert.equal(server.seen.length, cases.length, "what is refused is not asked again");
  });

  test("a server that is too busy is asked again when it says so, with the same message", async () => {
    server.answers = [json(429, { detail: "busy" }, { "retry-after": "0.01" }), json(503, { detail: "busy" }, { "retry-after": "0" }), json(200, ANSWER)];
    const answer = await client.sendMessage("agent-1", { message: "Hello" });
    assert.equal(answer.messages[0].content, "Hello.");
    const otids = new Set(server.seen.map(({ body }) => body["otid"]));
    assert.deepEqual([server.seen.length, otids.size], [3, 1]);
    assert.match(String([...otids][0]), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.deepEqual(server.seen.map(({ headers }) => headers["x-stainless-retry-count"]), [undefined, "1", "2"]);
  });

  test("who is asked to wait for long is told how long, and does not wait", async () => {
    server.answers = [json(429, { detail: "the month's messages are used up" }, { "retry-after": "86400" })];
    const error = await failure(client.sendMessage("agent-1", { message: "Hello" }));
    assert.deepEqual([error.status, error.retryAfter, server.seen.length], [429, 86400, 1]);
  });

  test("what the network lost is sent again where that is safe, and nowhere else", async () => {
    const message = { message: "Hello" };
    server.answers = [cutOff, json(200, ANSWER)];
    await client.sendMessage("agent-1", message);
    assert.equal(server.seen.length, 2);
    server.answers = [cutOff, json(200, { id: "agent-1" })];
    await client.createAgent({ name: "Ada", ifNotExists: true });
    assert.equal(server.seen.length, 4);
    server.answers = [cutOff];
    for (const unsafe of [client.createAgent({ name: "Ada" }), client.addMemory("agent-1", { content: "x", type: "core_memory" })]) {
      const error = await failure(unsafe);
      assert.deepEqual([error.code, error.status], ["network_error", undefined]);
    }
    assert.equal(server.seen.length, 6);
  });

  test("a call ends after its time, and a signal ends it with the signal's reason", async () => {
    server.answers = [silence];
    const late = await failure(client.searchMemory("agent-1", { query: "x", timeout: 30 }));
    assert.equal(late.code, "timeout");
    const reason = new Error("the user went away");
    const leaving = new AbortController();
    const searching = client.searchMemory("agent-1", { query: "x", signal: leaving.signal });
    await eventually("it is asked", async () => server.seen.length === 2);
    leaving.abort(reason);
    await assert.rejects(searching, reason);
    await assert.rejects(client.sendMessage("agent-1", { message: "x", signal: leaving.signal }), reason);
    assert.equal(server.seen.length, 2, "an aborted message is not sent");
  });

  test("no id reaches another route than its own", async () => {
    server.answers = [json(200, {})];
    for (const id of ["", ".", ".."]) {
      assert.equal((await failure(client.forgetUser("agent-1", id))).code, "invalid_request");
      assert.equal((await failure(client.deleteAgent(id))).code, "invalid_request");
    }
    assert.equal(server.seen.length, 0);
    await client.forgetUser("agent-1", "ada/../bob?x#é");
    assert.equal(server.seen[0]!.url, "/v1/agents/agent-1/users/ada%2F..%2Fbob%3Fx%23%C3%A9");
  });

  test("all pages of agents are walked, and a search for one reads no more than it needs", async () => {
    const page = (start: number, length: number) => Array.from({ length }, (_, index) => ({ id: `agent-${start + index}`, name: `n${start + index}` }));
    server.answers = [json(200, page(0, 100)), json(200, page(100, 100)), json(200, page(200, 7))];
    const all = await client.listAgents();
    assert.equal(all.length, 207);
    assert.deepEqual([all[206]!.id, all[206]!.name], ["agent-206", "n206"]);
    assert.match(server.seen[1]!.url, /after=agent-99(&|$)/);
    server.seen.length = 0;
    server.answers = [json(200, page(0, 100))];
    assert.equal((await client.listAgents().find(({ name }) => name === "n5"))?.id, "agent-5");
    assert.equal(server.seen.length, 1);
  });

  test("a stream is read across all boundaries of chunks, characters and lines", async () => {
    const text = frames(PING, says("Häl"), says("lo 🙂"), { message_type: "stop_reason", stop_reason: "end_turn" }, { message_type: "usage_statistics", total_tokens: 5 }, "[DONE]");
    const bytes = Buffer.from(`: hello\r\n${text.replaceAll("\n", "\r\n")}`);
    for (const size of [1, 2, 3, 1000]) {
      server.answers = [({ response }) => {
        response.writeHead(200);
        for (let at = 0; at < bytes.length; at += size) response.write(bytes.subarray(at, at + size));
        response.end();
      }];
      const stream = client.streamMessage("agent-1", { message: "Hello" });
      const deltas: string[] = [];
      for await (const delta of stream) deltas.push(delta);
      assert.deepEqual(deltas, ["Häl", "lo 🙂"]);
      assert.equal((await stream.usage).totalTokens, 5);
      assert.equal(await stream.stopReason, "end_turn");
      assert.equal(await stream.text, "Hällo 🙂");
    }
  });

  test("a stream that breaks off or fails says so to all who read it", async () => {
    const error = { message_type: "error_message", error_type: "llm_timeout", message: "the model did not answer", run_id: "run-1" };
    server.answers = [stream(PING, says("Hel"), error)];
    const failing = client.streamMessage("agent-1", { message: "Hello" });
    const pieces: string[] = [];
    const told = await failure((async () => {
      for await (const piece of failing) pieces.push(piece);
    })());
    assert.deepEqual([told.code, told.message, pieces], ["llm_timeout", "the model did not answer", ["Hel"]]);
    assert.equal((await failure(failing.usage)).code, "llm_timeout");
    server.answers = [({ response }) => {
      response.writeHead(200);
      response.write(frames(PING, says("Hel")), () => response.destroy());
    }];
    const broken = client.streamMessage("agent-1", { message: "Hello" });
    assert.equal((await failure(broken.memory)).code, "stream_interrupted");
    assert.equal((await failure(broken.text)).code, "stream_interrupted");
  });

  test("a stream that is refused tells it before a response is made of it", async () => {
    server.answers = [json(422, { detail: "this agent needs a user_id" })];
    const stream = client.streamMessage("agent-1", { message: "Hello" });
    assert.equal((await failure(stream.runId)).status, 422);
    assert.equal((await failure(stream.memory)).status, 422);
  });

  for (const [how, leave] of [
    ["aborting the signal", async (_: unknown, leaving: AbortController) => leaving.abort()],
    ["leaving the loop", async (reading: AsyncIterator<string>) => void (await reading.return?.())],
  ] as const) {
    test(`${how} cancels the run on the server`, async () => {
      server.answers = [stream(PING, says("Hel")), json(200, { "run-1": "cancelled" })];
      const leaving = new AbortController();
      const answering = client.streamMessage("agent-1", { message: "Hello", signal: leaving.signal });
      const reading = answering[Symbol.asyncIterator]();
      assert.equal((await reading.next()).value, "Hel");
      await leave(reading, leaving);
      await assert.rejects(answering.usage, { name: "AbortError" });
      await eventually("the run is cancelled", async () => server.seen.length === 2);
      assert.equal(server.seen[1]!.url, "/v1/agents/agent-1/messages/cancel");
      assert.deepEqual(server.seen[1]!.body, { run_ids: ["run-1"] });
    });
  }

  test("a run that is cancelled before the server has named it is cancelled when it does", async () => {
    let name: () => void = () => assert.fail("nothing was asked");
    server.answers = [(seen) => (name = () => stream(PING)(seen)), json(200, { "run-1": "cancelled" })];
    const answering = client.streamMessage("agent-1", { message: "Hello" });
    await eventually("the message arrives", async () => server.seen.length === 1);
    const cancelled = answering.cancel();
    await assert.rejects(answering.text, { name: "AbortError" });
    name();
    await cancelled;
    assert.deepEqual(server.seen.map(({ body }) => body["run_ids"]), [undefined, ["run-1"]]);
  });

  test("a message whose signal aborts is found by its otid and cancelled", async () => {
    server.answers = [silence, stream(PING), json(200, {})];
    const leaving = new AbortController();
    const sending = client.sendMessage("agent-1", { message: "Hello", signal: leaving.signal });
    await eventually("the message arrives", async () => server.seen.length === 1);
    leaving.abort();
    await assert.rejects(sending, { name: "AbortError" });
    await eventually("the run is cancelled", async () => server.seen.length === 3);
    assert.equal(server.seen[1]!.body["otid"], server.seen[0]!.body["otid"]);
    assert.deepEqual(server.seen[2]!.body, { run_ids: ["run-1"] });
  });
});
