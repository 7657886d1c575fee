// The small client in Chromium, as it is published and without a bundler: all that it promises, and one person's token.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { basename, dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Agent, LettaClient, type MnemicError } from "@mnemic/client";
import { type Browser, chromium, type Page } from "playwright-core";
import { ENGINES, eventually, MODEL, named, ScriptedModel, Server } from "./programs.js";
import { MANY, MANY_AGENTS, NAMES, type Package } from "./runtimes/conformance.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const CLIENT = dirname(fileURLToPath(import.meta.resolve("@mnemic/client")));
const PASSWORD = "the operator's own";
const HTML = `<!doctype html><title>A product's page</title>
<script type="importmap">{"imports": {"@mnemic/client": "/client/index.js"}}</script>
<script type="module">
  import * as mnemic from "@mnemic/client";
  import { conformance } from "/runtimes/conformance.js";
  Object.assign(window, { mnemic, conformance });
</script>`;

/** What the page has. */
declare global {
  var mnemic: Package;
  var conformance: typeof import("./runtimes/conformance.js").conformance;
}

/** A call of the client as one line: how it is named, and its arguments. */
type Call = [keyof LettaClient, ...unknown[]];
/** What became of it. */
type Told = { answer?: unknown; error?: Pick<MnemicError, "name" | "status" | "code" | "message"> & { retryAfter?: number } };

/** Pages of a product, from an origin of their own. */
class Site {
  private readonly server = createServer((request, response) => {
    const { dir, base } = { dir: dirname(request.url ?? ""), base: basename(request.url ?? "") };
    const folder = { "/client": CLIENT, "/runtimes": join(HERE, "runtimes") }[dir];
    response.setHeader("content-type", folder ? "text/javascript" : "text/html");
    response.end(folder ? readFileSync(join(folder, base)) : HTML);
  });

  async start(): Promise<string> {
    await new Promise<void>((up) => this.server.listen(0, "127.0.0.1", up));
    const address = this.server.address();
    assert.ok(typeof address === "object" && address);
    return `http://127.0.0.1:${address.port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

const site = new Site();
let origin: string;
let browser: Browser;
let page: Page;
let model: ScriptedModel;

before(async () => {
  browser = await chromium.launch({ executablePath: named("CHROMIUM"), args: ["--no-sandbox"] });
  model = await ScriptedModel.start();
  origin = await site.start();
  page = await opened(origin);
});

after(async () => {
  await browser?.close();
  await model?.stop();
  site.stop();
});

async function opened(address: string): Promise<Page> {
  const context = await browser.newContext();
  const opening = await context.newPage();
  await opening.goto(address);
  await opening.waitForFunction(() => "mnemic" in globalThis);
  return opening;
}

/** Makes calls of the client in a page, one after the other, with nothing but a token. */
function called(where: Page, url: string, token: string, calls: Call[]): Promise<Told[]> {
  return where.evaluate(
    async ({ url, token, calls }) => {
      const client = new mnemic.LettaClient({ baseUrl: url, apiKey: token, maxRetries: 0 });
      const told: Told[] = [];
      for (const [name, ...given] of calls) {
        try {
          const made = (client[name] as (...given: unknown[]) => unknown).apply(client, given);
          const answer = await (made instanceof mnemic.MessageStream ? made.text : made);
          told.push({ answer });
        } catch (error) {
          const { name, status, code, message, retryAfter } = error as MnemicError;
          told.push({ error: { name, status, code, message, ...(retryAfter === undefined ? {} : { retryAfter }) } });
        }
      }
      return told;
    },
    { url, token, calls },
  );
}

test("all that the client promises holds in Chromium", async (t) => {
  const server = await Server.make("sqlite", model, { MNEMIC_CORS_ORIGINS: origin });
  try {
    await server.start();
    const admin = new LettaClient({ baseUrl: server.url });
    await Promise.all(Array.from({ length: MANY_AGENTS }, (_, n) => admin.createAgent({ name: `${MANY}${n + 1}`, model: MODEL })));
    const place = { url: server.url, model: MODEL, runtime: "Chromium", hasEnvironment: false };
    const found = await page.evaluate((place) => conformance(mnemic, place), place);
    assert.deepEqual(found.map(({ name }) => name), NAMES);
    for (const { name, error } of found) await t.test(name, () => assert.equal(error, undefined));
  } finally {
    await server.close();
  }
});

for (const engine of ENGINES) {
  describe(`a browser with one person's token, on ${engine}`, () => {
    let server: Server;
    let admin: LettaClient;
    let agent: Agent;
    let token: string;

    before(async () => {
      server = await Server.make(engine, model, {
        MNEMIC_CORS_ORIGINS: `https://example.com, ${origin}`,
        MNEMIC_SECURE: "true",
        MNEMIC_PASSWORD: PASSWORD,
      });
      await server.start();
      admin = new LettaClient({ baseUrl: server.url, apiKey: PASSWORD });
      agent = await admin.createAgent({ name: "juno", model: MODEL, human: "Nobody yet.", requireUser: true });
      ({ token } = await admin.createUserToken({ agentId: agent.id, userId: "ada" }));
      await admin.sendMessage(agent.id, { message: "Please remember that my dog is called Otter.", userId: "bob" });
    });

    after(() => server.close());

    const asAda = (...calls: Call[]) => called(page, server.url, token, calls);

    test("the person chats, streams, remembers and searches, whether named or not", async () => {
      for (const more of [{}, { userId: "ada" }]) {
        const [sent, streamed, added, results, history] = await asAda(
          ["sendMessage", agent.id, { message: "Please remember that I sail.", ...more }],
          ["streamMessage", agent.id, { message: "[[echo]] Which day?", ...more }],
          ["addMemory", agent.id, { content: "Ada berths at the north pier.", type: "archival_memory", ...more }],
          ["searchMemory", agent.id, { query: "north pier", ...more }],
          ["history", agent.id, { limit: 3, ...more }],
        );
        assert.equal((sent!.answer as { userId: string } | undefined)?.userId, "ada", JSON.stringify(sent));
        assert.equal(streamed!.answer, "[[echo]] Which day?");
        assert.equal((added!.answer as { type: string }).type, "archival_memory");
        assert.match(JSON.stringify(results!.answer), /north pier.*"userId":"ada"/);
        const said = (history!.answer as { role: string; content: string }[]).map(({ role, content }) => `${role} ${content}`);
        assert.match(said[0]!, /^assistant Done/);
        assert.deepEqual(said.slice(1), ["user [[echo]] Which day?", "assistant [[echo]] Which day?"]);
      }
      const asked = await model.lastRequest("Which day?");
      assert.match(asked, /I sail/);
      assert.doesNotMatch(asked, /Otter/);
    });

    test("words come while the agent speaks, and leaving cancels the run", async () => {
      const runId = await page.evaluate(
        async ({ url, token, agentId }) => {
          const client = new mnemic.LettaClient({ baseUrl: url, apiKey: token });
          const stream = client.streamMessage(agentId, { message: "[[delay 50]] [[words 400]] A saga." });
          for await (const _ of stream) break;
          return stream.runId;
        },
        { url: server.url, token, agentId: agent.id },
      );
      const headers = { authorization: `Bearer ${PASSWORD}` };
      await eventually("the run is cancelled", async () => {
        const run = (await (await fetch(`${server.url}/v1/runs/${runId}`, { headers })).json()) as { status: string };
        return run.status === "cancelled";
      });
    });

    test("every other person, agent and route is refused", async () => {
      const other = await admin.createAgent({ name: `other-${randomUUID()}`, model: MODEL });
      const bob = { userId: "bob" };
      const calls: Call[] = [
        ["sendMessage", agent.id, { message: "Hello", ...bob }],
        ["streamMessage", agent.id, { message: "Hello", ...bob }],
        ["history", agent.id, bob],
        ["searchMemory", agent.id, { query: "dog", ...bob }],
        ["addMemory", agent.id, { content: "x", type: "core_memory", ...bob }],
        ["addMemory", agent.id, { content: "x", type: "archival_memory", ...bob }],
        ["sendMessage", other.id, { message: "Hello" }],
        ["history", other.id, {}],
        ["forgetUser", agent.id, "bob"],
        ["forgetUser", agent.id, "ada"],
        ["getAgent", agent.id],
        ["listAgents"],
        ["createAgent", { name: "mine", model: MODEL }],
        ["deleteAgent", agent.id],
        ["createUserToken", { agentId: agent.id, ...bob }],
        ["createUserToken", { agentId: agent.id, userId: "ada" }],
      ];
      for (const [index, { error, answer }] of (await asAda(...calls)).entries()) {
        const call = JSON.stringify(calls[index]);
        assert.equal(answer, undefined, call);
        assert.deepEqual([error!.name, error!.status, error!.code], ["MnemicError", 403, "forbidden"], `${call}: ${error!.message}`);
        assert.doesNotMatch(error!.message, /Otter/);
      }
      assert.equal((await admin.history(agent.id, bob)).length, 2, "nothing was said for Bob");
    });

    test("a token whose time is over is told so, as is none", async () => {
      const short = await admin.createUserToken({ agentId: agent.id, userId: "ada", ttl: 60 });
      server.execute("UPDATE user_tokens SET expires_at = expires_at - 61000000");
      for (const stale of [short.token, token, "", "mnu_made_up"]) {
        const calls: Call[] = [
          ["sendMessage", agent.id, { message: "Hello" }],
          ["streamMessage", agent.id, { message: "Hello" }],
          ["history", agent.id, { userId: "ada" }],
        ];
        for (const { error } of await called(page, server.url, stale, calls)) {
          if (stale === token) assert.equal(error, undefined, "an hour is not over");
          else {
            assert.deepEqual([error!.name, error!.status, error!.code], ["MnemicError", 401, "unauthorized"]);
            assert.match(error!.message, /missing or wrong.*time is over/);
          }
        }
      }
    });

    test("a page of an origin that the operator has not named reads nothing", async () => {
      const stranger = await opened(origin.replace("127.0.0.1", "localhost"));
      const [told] = await called(stranger, server.url, token, [["history", agent.id, {}]]);
      assert.equal(told!.error!.code, "network_error");
      await stranger.context().close();
    });
  });
}
