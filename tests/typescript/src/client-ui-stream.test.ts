// The streamed responses of the small client, read by what the AI SDK's `useChat` reads them with: in its version 5 and its newest.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { LettaClient, type MessageStream } from "@mnemic/client";
import * as ai5 from "ai";
import * as ai7 from "ai-7";
import { FakeServer, frames, json, PING, says, stream } from "./fake-server.js";
import { eventually } from "./programs.js";

const END = [{ message_type: "stop_reason", stop_reason: "end_turn" }, "[DONE]"];

/** A chunk as the AI SDK checked it. */
type Chunk = { type: string; id?: string; delta?: string; errorText?: string };

type Transport = typeof ai5.DefaultChatTransport | typeof ai5.TextStreamChatTransport;

/** What these tests use is typed alike in both versions, but for the chunks that only the newer one knows. */
const VERSIONS: [string, typeof ai5][] = [
  ["5", ai5],
  ["7", ai7 as unknown as typeof ai5],
];

async function readBy(Transport: Transport, response: Response): Promise<Chunk[]> {
  const transport = new Transport({ fetch: async () => response });
  const chunks = await transport.sendMessages({
    chatId: "chat-1",
    messageId: undefined,
    messages: [],
    trigger: "submit-message",
    abortSignal: undefined,
  });
  const all: Chunk[] = [];
  for await (const chunk of chunks as unknown as AsyncIterable<Chunk>) all.push(chunk);
  return all;
}

describe("the small client's responses", () => {
  const server = new FakeServer();
  let client: LettaClient;
  const answering = (): MessageStream => client.streamMessage("agent-1", { message: "Hello" });

  before(() => server.start());
  beforeEach(() => {
    server.seen.length = 0;
    client = new LettaClient({ baseUrl: server.url });
  });
  after(() => server.stop());

  for (const [version, ai] of VERSIONS) {
    test(`version ${version} of the AI SDK reads the messages of an answer as parts of one`, async () => {
      server.answers = [stream(PING, says("Let me "), says("see."), says("It is red.", "message-2"), ...END)];
      const chunks = await readBy(ai.DefaultChatTransport, answering().toUIMessageStreamResponse());
      const told = chunks.map(({ type, delta }) => (delta === undefined ? type : `${type} ${delta}`));
      assert.deepEqual(told, [
        "start", "start-step",
        "text-start", "text-delta Let me ", "text-delta see.", "text-end",
        "text-start", "text-delta It is red.", "text-end",
        "finish-step", "finish",
      ]);
      const message = { id: "m", role: "assistant" as const, parts: [] };
      const chunked = new ReadableStream<ai5.UIMessageChunk>({
        start(controller) {
          for (const chunk of chunks) controller.enqueue(chunk as ai5.UIMessageChunk);
          controller.close();
        },
      });
      let last: { parts: { type: string; text?: string }[] } = message;
      for await (const state of ai.readUIMessageStream({ message, stream: chunked })) last = state;
      assert.deepEqual(last.parts.filter(({ type }) => type === "text").map(({ text }) => text), ["Let me see.", "It is red."]);
    });

    test(`version ${version} of the AI SDK is told that an answer failed, and not more than it should know`, async () => {
      const error = { message_type: "error_message", error_type: "llm_error", message: "the key sk-1 is wrong" };
      server.answers = [stream(PING, says("Hel"), error)];
      const usual = await readBy(ai.DefaultChatTransport, answering().toUIMessageStreamResponse());
      assert.deepEqual(usual.at(-1), { type: "error", errorText: "An error occurred." });
      const own = answering().toUIMessageStreamResponse({ onError: () => "Please try again." });
      assert.equal((await readBy(ai.DefaultChatTransport, own)).at(-1)?.errorText, "Please try again.");
    });

    test(`version ${version} of the AI SDK is told that somebody else cancelled the run`, async () => {
      server.answers = [stream(PING, says("Hel"), { message_type: "stop_reason", stop_reason: "cancelled" }, "[DONE]")];
      const chunks = await readBy(ai.DefaultChatTransport, answering().toUIMessageStreamResponse());
      assert.equal(chunks.at(-1)?.type, "abort");
    });

    test(`version ${version} of the AI SDK reads the plain text as well`, async () => {
      server.answers = [stream(PING, says("Hello "), says("you."), ...END)];
      const chunks = await readBy(ai.TextStreamChatTransport, answering().toTextResponse());
      assert.equal(chunks.map(({ delta }) => delta ?? "").join(""), "Hello you.");
    });
  }

  test("a text response is plain text, with the headers and status that it is given", async () => {
    server.answers = [stream(PING, says("Hello."), says("More.", "message-2"), ...END)];
    const response = answering().toTextResponse({ status: 201, headers: { "x-own": "1" } });
    assert.deepEqual([response.status, response.headers.get("content-type"), response.headers.get("x-own")], [201, "text/plain; charset=utf-8", "1"]);
    assert.equal(await response.text(), "Hello.\n\nMore.");
    const chat = answering().toUIMessageStreamResponse({ headers: { "cache-control": "no-store" } });
    assert.equal(chat.headers.get("x-vercel-ai-ui-message-stream"), "v1");
    assert.equal(chat.headers.get("cache-control"), "no-store");
    await chat.text();
  });

  test("the first words are there before the last ones are", async () => {
    let finish: () => void = () => assert.fail("nothing was asked");
    server.answers = [(seen) => {
      stream(PING, says("first"))(seen);
      finish = () => void seen.response.end(frames(says(" last"), "[DONE]"));
    }];
    const reader = answering().toTextResponse().body!.getReader();
    assert.equal(new TextDecoder().decode((await reader.read()).value), "first");
    finish();
    assert.equal(new TextDecoder().decode((await reader.read()).value), " last");
    assert.equal((await reader.read()).done, true);
  });

  test("cancelling the body of a response cancels the run on the server", async () => {
    for (const form of ["toTextResponse", "toUIMessageStreamResponse"] as const) {
      server.seen.length = 0;
      server.answers = [stream(PING, says("Hel")), json(200, {})];
      const reader = answering()[form]().body!.getReader();
      await reader.read();
      await reader.cancel();
      await eventually("the run is cancelled", async () => server.seen.length === 2);
      assert.deepEqual(server.seen[1]!.body, { run_ids: ["run-1"] });
    }
  });
});
