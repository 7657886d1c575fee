// The letta-code CLI, unchanged, against the server: a conversation with its own tools, resumed after a power cut.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import Letta from "@letta-ai/letta-client";
import { ENGINES, MODEL, ScriptedModel, Server } from "./programs.js";

const resolve = createRequire(import.meta.url).resolve;
const node = resolve(`node-linux-${process.arch}/bin/node`);
const cli = resolve("@letta-ai/letta-code");

interface Result {
  subtype: string;
  result: string;
  agent_id: string;
  conversation_id: string;
}

/** What the CLI says to one prompt, run in a folder of its own. */
function ask(url: string, folder: string, prompt: string, ...options: string[]): Promise<Result> {
  const environment = { PATH: process.env["PATH"], HOME: folder, LETTA_BASE_URL: url, LETTA_API_KEY: "sk-none" };
  const child = spawn(node, [cli, "-p", prompt, "--output-format", "json", "--yolo", ...options], {
    cwd: folder,
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 90_000,
  });
  let [said, complaints] = ["", ""];
  child.stdout.on("data", (text) => (said += text));
  child.stderr.on("data", (text) => (complaints += text));
  return new Promise((done, failed) => {
    child.once("error", failed);
    child.once("close", (code) => {
      if (code !== 0) return failed(new Error(`letta-code ended with ${code}: ${complaints}\n${said}`));
      try {
        done(JSON.parse(said) as Result);
      } catch {
        failed(new Error(`letta-code said no JSON: ${said}\n${complaints}`));
      }
    });
  });
}

for (const engine of ENGINES) {
  describe(`the letta-code CLI on ${engine}`, () => {
    let model: ScriptedModel;
    let server: Server;
    let folder: string;

    before(async () => {
      model = await ScriptedModel.start();
      server = await Server.make(engine, model);
      await server.start();
      folder = mkdtempSync(join(tmpdir(), "letta-code-"));
      writeFileSync(join(folder, "note.txt"), "the boat is called Gull\n");
    });

    after(async () => {
      await server.close();
      await model.stop();
      rmSync(folder, { recursive: true, force: true });
    });

    test("it holds a conversation, reads a file with its own tool, and goes on after a power cut", async () => {
      const first = await ask(server.url, folder, "hello there", "--new-agent", "--model", MODEL);
      assert.equal(first.subtype, "success");
      assert.match(first.result, /^Reply/);
      await server.kill();
      await server.start();
      const read = `[[call Read ${JSON.stringify({ file_path: join(folder, "note.txt") })}]]`;
      const second = await ask(server.url, folder, read, "--conversation", first.conversation_id);
      assert.match(second.result, /the boat is called Gull/);
      assert.equal(second.conversation_id, first.conversation_id);
      const client = new Letta({ baseURL: server.url, apiKey: "sk-none" });
      const kinds: (string | undefined)[] = [];
      for await (const message of client.conversations.messages.list(first.conversation_id, { order: "asc" })) {
        kinds.push(message.message_type);
      }
      assert.deepEqual(kinds.slice(-4), [
        "approval_request_message",
        "approval_response_message",
        "tool_return_message",
        "assistant_message",
      ]);
    });
  });
}
