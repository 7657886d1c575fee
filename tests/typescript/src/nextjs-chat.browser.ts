// examples/nextjs-chat, as it was built, in Chromium: two people in two browsers, and a server that dies in between.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { LettaClient } from "@mnemic/client";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { ended, eventually, freePort, MODEL, named, ScriptedModel, Server } from "./programs.js";

const EXAMPLE = fileURLToPath(new URL("../../../examples/nextjs-chat", import.meta.url));
const WAIT_MS = 20_000;

/** The example as `next start` serves it. */
class Example {
  private constructor(private readonly child: ChildProcess, readonly url: string) {}

  static async start(server: Server): Promise<Example> {
    const port = await freePort();
    const next = join(EXAMPLE, "node_modules", "next", "dist", "bin", "next");
    const environment = {
      ...process.env,
      MNEMIC_BASE_URL: server.url,
      MNEMIC_MODEL: MODEL,
      SESSION_SECRET: randomBytes(32).toString("hex"),
      NEXT_TELEMETRY_DISABLED: "1",
    };
    const child = spawn(process.execPath, [next, "start", "-H", "127.0.0.1", "-p", String(port)], {
      cwd: EXAMPLE,
      env: environment,
      stdio: "ignore",
    });
    const example = new Example(child, `http://127.0.0.1:${port}`);
    await eventually("the example answers", async () => {
      assert.equal(child.exitCode, null, "next start ended");
      return (await fetch(`${example.url}/sign-in`).catch(() => undefined))?.ok;
    });
    return example;
  }

  async stop(): Promise<void> {
    this.child.kill("SIGKILL");
    await ended(this.child);
  }
}

/** Somebody in a browser of their own. */
class Person {
  private constructor(readonly name: string, readonly context: BrowserContext, readonly page: Page) {}

  static async come(browser: Browser, example: Example, name: string): Promise<Person> {
    const context = await browser.newContext({ baseURL: example.url, viewport: { width: 900, height: 760 } });
    const page = await context.newPage();
    page.setDefaultTimeout(WAIT_MS);
    page.on("pageerror", (error) => console.error(`${name}'s page: ${error.stack}`));
    await page.goto("/");
    await page.getByLabel("Your name").fill(name);
    await page.getByRole("button", { name: "Come in" }).click();
    await page.getByText(`talking with ${name}`).waitFor();
    return new Person(name, context, page);
  }

  /** Says something; the answer goes on while this returns. */
  async say(text: string): Promise<void> {
    await this.page.getByLabel("Message").fill(text);
    await this.page.getByRole("button", { name: "Send" }).click();
  }

  /** Says something and hears all of the answer. */
  async ask(text: string): Promise<string> {
    const answers = this.page.locator("[data-role=assistant]");
    const before = await answers.count();
    await this.say(text);
    await answers.nth(before).waitFor();
    await this.page.locator("[role=log][aria-busy=false]").waitFor();
    return this.heard();
  }

  /** What the page shows of the last answer. */
  async heard(): Promise<string> {
    const shown = await this.page.locator("[data-role=assistant]").last().innerText();
    return shown.replace(/^Juno:\s*/, "").trim();
  }

  /** Asks the example's route as the page does, with any body. */
  async post(body: object): Promise<number> {
    return this.page.evaluate(async (sent) => {
      const headers = { "content-type": "application/json" };
      const response = await fetch("/api/chat", { method: "POST", headers, body: JSON.stringify(sent) });
      await response.text();
      return response.status;
    }, body);
  }

  async shown(): Promise<string> {
    return this.page.locator("body").innerText();
  }

  async picture(name: string): Promise<void> {
    const folder = process.env["SCREENSHOTS"];
    if (folder) await this.page.screenshot({ path: join(folder, `${this.name}-${name}.png`) });
  }
}

describe("the Next.js example", () => {
  let model: ScriptedModel;
  let server: Server;
  let example: Example;
  let browser: Browser;
  let ada: Person;
  let bob: Person;
  const heron = `heron-${randomBytes(4).toString("hex")}`;
  const otter = `otter-${randomBytes(4).toString("hex")}`;

  before(async () => {
    browser = await chromium.launch({ executablePath: named("CHROMIUM"), args: ["--no-sandbox"] });
    model = await ScriptedModel.start();
    server = await Server.make("sqlite", model);
    example = await Example.start(server);
  });

  after(async () => {
    await browser?.close();
    await example?.stop();
    await server?.close();
    await model?.stop();
  });

  test("while the server is down, the page says so and can be tried again", async () => {
    ada = await Person.come(browser, example, "Ada");
    await ada.page.getByText("can't be reached").waitFor();
    assert.equal(await ada.post({ message: "hello" }), 503);
    await server.start();
    await ada.page.reload();
    await ada.page.getByText("Say hello.").waitFor();
    bob = await Person.come(browser, example, "Bob");
  });

  test("each is remembered after the server was killed, and neither sees the other's words", async () => {
    assert.match(await ada.ask(`Please remember that my boat is called ${heron}.`), /^Done/);
    assert.match(await bob.ask(`Please remember that my dog is called ${otter}.`), /^Done/);
    await ada.picture("remembered");
    await server.kill();
    await server.start();
    for (const [person, own, other] of [[ada, heron, otter], [bob, otter, heron]] as const) {
      await person.page.reload();
      await person.page.getByText(own).first().waitFor();
      await person.ask(`[[echo]] what did I tell you, asks ${person.name}?`);
      const asked = await model.lastRequest(`asks ${person.name}?`);
      assert.ok(asked.includes(own) && !asked.includes(other), asked);
      const shown = await person.shown();
      assert.ok(shown.includes(own) && !shown.includes(other), shown);
    }
    const recorded = (await (await fetch(`http://${model.address}/requests`)).json()) as object[];
    const mixed = recorded.map((request) => JSON.stringify(request)).filter((text) => text.includes(heron) && text.includes(otter));
    assert.deepEqual(mixed, []);
  });

  test("the first words are there before the model has said its last", async () => {
    await ada.say("[[delay 100]] [[words 40]] Tell me a story.");
    await ada.page.getByRole("button", { name: "Stop" }).waitFor();
    const first = await eventually("words", () => ada.heard());
    assert.equal(await ada.page.getByRole("button", { name: "Stop" }).count(), 1);
    await ada.picture("streaming");
    await ada.page.getByRole("button", { name: "Send" }).waitFor();
    const last = await ada.heard();
    assert.ok(last.startsWith(first) && first.split(" ").length < last.split(" ").length / 2, `${first} | ${last}`);
  });

  test("stopping an answer ends the agent's work on the server", async () => {
    await ada.say("[[delay 100]] [[words 400]] Tell me a saga.");
    await ada.page.getByRole("button", { name: "Stop" }).waitFor();
    await eventually("words", () => ada.heard());
    await ada.page.getByRole("button", { name: "Stop" }).click();
    await ada.page.getByRole("button", { name: "Send" }).waitFor();
    await eventually("the run is cancelled", async () => {
      const runs = (await (await fetch(`${server.url}/v1/runs/?limit=20`)).json()) as { status: string }[];
      return runs.some(({ status }) => status === "cancelled") && runs.every(({ status }) => status !== "running");
    });
  });

  test("it is the session that says who speaks, whatever the body says", async () => {
    const message = "[[echo]] whose words are these?";
    assert.equal(await bob.post({ message, userId: "Ada", user_id: "Ada" }), 200);
    const asked = await model.lastRequest("whose words are these?");
    assert.ok(asked.includes(otter) && !asked.includes(heron), asked);
    await ada.page.reload();
    assert.ok(!(await ada.shown()).includes("whose words are these?"));
    await bob.page.reload();
    assert.ok((await bob.shown()).includes("whose words are these?"));
  });

  test("without a session of this server's own nobody gets in", async () => {
    const [cookie] = await bob.context.cookies();
    assert.ok(cookie?.httpOnly && cookie.sameSite === "Lax");
    assert.equal(await bob.page.evaluate(() => document.cookie), "");
    const forged = Buffer.from(JSON.stringify({ userId: "Ada", until: Date.now() + 1e9 })).toString("base64url");
    const signature = cookie.value.split(".")[1];
    for (const value of [`${forged}.${signature}`, `${forged}.`, forged, "", `${cookie.value}x`, `.${signature}`]) {
      const headers = { "content-type": "application/json", cookie: `session=${value}` };
      const body = JSON.stringify({ message: "hello" });
      const answer = await fetch(`${example.url}/api/chat`, { method: "POST", headers, body });
      assert.equal(answer.status, 401, value);
      await answer.text();
    }
    for (const body of [{}, { message: "" }, { message: 7 }, { message: "x".repeat(8001) }]) assert.equal(await bob.post(body), 400);
  });

  test("whoever wants to be forgotten is, and nobody else", async () => {
    await ada.page.getByRole("button", { name: "Forget me" }).click();
    await ada.picture("question");
    await ada.page.getByRole("button", { name: "Forget everything" }).click();
    await ada.page.getByText("Juno has forgotten you").waitFor();
    await ada.page.reload();
    await ada.page.getByText("Say hello.").waitFor();
    await ada.ask("[[echo]] do you still know me?");
    assert.ok(!(await model.lastRequest("do you still know me?")).includes(heron));
    const client = new LettaClient({ baseUrl: server.url });
    const juno = await client.listAgents().find(({ name }) => name === "Juno");
    assert.equal((await client.history(juno!.id, { userId: "Ada" })).length, 2);
    await bob.page.reload();
    assert.ok((await bob.shown()).includes(otter));
    await bob.page.getByRole("button", { name: "Sign out" }).click();
    await bob.page.getByLabel("Your name").waitFor();
    await bob.picture("door");
  });
});
