// What the small client's package promises to all places that JavaScript runs in.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as vm from "node:vm";

const entry = fileURLToPath(import.meta.resolve("@mnemic/client"));
const folder = dirname(dirname(dirname(entry)));

test("the package needs no other package", () => {
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  assert.deepEqual([dependencies, peerDependencies], [undefined, undefined]);
  assert.match(entry, /dist\/esm\/index\.js$/);
});

test("the client runs where there is nothing but what all browsers have", async () => {
  const web = { AbortController, DOMException, Headers, ReadableStream, Response, TextDecoder, TextEncoder, URLSearchParams, clearTimeout, crypto, setTimeout };
  const asked: string[] = [];
  const answer = async (url: string) => {
    asked.push(url);
    return new Response('data: {"message_type":"assistant_message","id":"m","content":"Hello."}\n\ndata: [DONE]\n\n');
  };
  const context = vm.createContext({ ...web, fetch: answer, ended: undefined });
  const modules = new Map<string, { exports: object }>();
  const cjs = join(folder, "dist", "cjs");
  const load = (name: string): object => {
    const known = modules.get(name);
    if (known) return known.exports;
    const module = { exports: {} };
    modules.set(name, module);
    const run = vm.runInContext(`(function (require, module, exports) {${readFileSync(join(cjs, name), "utf8")}\n})`, context);
    run((path: string) => load(path.replace("./", "")), module, module.exports);
    return module.exports;
  };
  context["mnemic"] = load("index.js");
  const text = await vm.runInContext(`new mnemic.LettaClient().streamMessage("agent-1", { message: "Hello" }).text`, context);
  assert.equal(text, "Hello.");
  assert.deepEqual(asked, ["http://localhost:8283/api/agents/agent-1/messages"]);
  assert.deepEqual(readdirSync(cjs).filter((name) => name.endsWith(".js") && !modules.has(name)), ["types.js"], "all files were loaded");
});
