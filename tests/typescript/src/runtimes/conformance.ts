// What the small client promises wherever JavaScript runs: a program that knows of no runtime.

import type * as mnemic from "@mnemic/client";

export type Package = typeof mnemic;

/** Whom the program asks, and what is known of the place where it runs. */
export interface Place {
  url: string;
  model: string;
  /** A runtime's agents are its own. */
  runtime: string;
  hasEnvironment: boolean;
}

/** What held, or why it did not. */
export interface Outcome {
  name: string;
  error?: string;
}

/** How the names of agents begin that are there already, and how many these are: more than the client asks for at once. */
export const MANY = "one-of-many-";
export const MANY_AGENTS = 105;

const LONGEST_WAIT_MS = 15_000;
const POLL_MS = 20;
const VARIABLES = ["MNEMIC_BASE_URL", "LETTA_BASE_URL", "MNEMIC_TOKEN", "LETTA_API_KEY", "LETTA_TOKEN"];
/** An answer that is far from its end when its first words are there. */
const SLOW = "[[delay 30]] [[words 60]] Tell me a story.";

/** Runs all checks, one after the other. */
export async function conformance(client: Package, place: Place): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const trial = new Trial(client, place);
  for (const [name, check] of Object.entries(CHECKS)) {
    try {
      await check(trial);
      outcomes.push({ name });
    } catch (error) {
      outcomes.push({ name, error: error instanceof Error ? `${error.name}: ${error.message}\n${error.stack}` : String(error) });
    }
  }
  return outcomes;
}

/** What the checks share. */
class Trial {
  readonly client: mnemic.LettaClient;
  private own: Promise<mnemic.Agent> | undefined;

  constructor(readonly mnemic: Package, readonly place: Place) {
    this.client = new mnemic.LettaClient({ baseUrl: place.url });
  }

  /** This runtime's agent. */
  agent(): Promise<mnemic.Agent> {
    const { runtime, model } = this.place;
    return (this.own ??= this.client.createAgent({ name: `juno-${runtime}`, human: "Nobody yet.", model, ifNotExists: true }));
  }

  /** Begins to answer a person. */
  async speak(message: string, more: Partial<mnemic.MessageOptions> = {}): Promise<mnemic.MessageStream> {
    return this.client.streamMessage((await this.agent()).id, { message, userId: "ada", ...more });
  }

  async statusOf(runId: string): Promise<unknown> {
    const run = (await (await fetch(`${this.place.url}/v1/runs/${runId}`)).json()) as { status: unknown };
    return run.status;
  }

  /** Waits until a run is cancelled. */
  async cancelled(runId: string): Promise<void> {
    const deadline = Date.now() + LONGEST_WAIT_MS;
    while ((await this.statusOf(runId)) !== "cancelled") {
      holds(Date.now() < deadline, `${runId} was not cancelled`);
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
  }

  /** How a call fails. */
  async failure(call: Promise<unknown>): Promise<mnemic.MnemicError> {
    const error = await rejection(call);
    holds(error instanceof this.mnemic.MnemicError && error instanceof Error, `${String(error)} is a MnemicError`);
    equal(error.name, "MnemicError");
    return error;
  }
}

const CHECKS: Record<string, (trial: Trial) => Promise<void>> = {
  "constructing a client asks nobody": async ({ mnemic }) => {
    let asked = 0;
    const real = globalThis.fetch;
    globalThis.fetch = () => Promise.reject(new Error(`asked ${++asked} times`));
    try {
      new mnemic.LettaClient().listAgents();
      new mnemic.MnemicClient({ apiKey: "key", baseUrl: "https://nowhere.invalid" });
    } finally {
      globalThis.fetch = real;
    }
    equal(asked, 0);
    equal(mnemic.MnemicClient === mnemic.LettaClient, true);
  },

  "address and key come from the options, then from the environment in its order": async ({ mnemic, place }) => {
    const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
    equal(process?.env !== undefined, place.hasEnvironment);
    const environment = process?.env ?? {};
    for (const name of VARIABLES) equal(environment[name], undefined);
    equal(await found(mnemic, {}), ["http://localhost:8283", null]);
    equal(await found(mnemic, { baseUrl: "http://own:1", apiKey: "own" }), ["http://own:1", "Bearer own"]);
    if (!place.hasEnvironment) return;
    try {
      for (const [name, value, expected] of [
        ["LETTA_BASE_URL", "http://second:1/", ["http://second:1", null]],
        ["MNEMIC_BASE_URL", "http://first:1", ["http://first:1", null]],
        ["LETTA_TOKEN", "third", ["http://first:1", "Bearer third"]],
        ["LETTA_API_KEY", "second", ["http://first:1", "Bearer second"]],
        ["MNEMIC_TOKEN", "first", ["http://first:1", "Bearer first"]],
      ] as const) {
        environment[name] = value;
        equal(await found(mnemic, {}), expected);
      }
      equal(await found(mnemic, { baseUrl: "http://own:1", apiKey: "own" }), ["http://own:1", "Bearer own"]);
    } finally {
      for (const name of VARIABLES) delete environment[name];
    }
  },

  "twenty calls at once that make an agent if there is none make one": async ({ client, place }) => {
    const name = `only-${place.runtime}`;
    const calls = Array.from({ length: 20 }, () => client.createAgent({ name, model: place.model, ifNotExists: true }));
    const ids = new Set((await Promise.all(calls)).map(({ id }) => id));
    equal(ids.size, 1);
    equal((await client.listAgents()).filter((agent) => agent.name === name).map(({ id }) => id), [...ids]);
  },

  "all agents are listed, over more than a page": async ({ client }) => {
    const agents = (await client.listAgents()).filter(({ name }) => name.startsWith(MANY));
    equal(new Set(agents.map(({ id }) => id)).size, MANY_AGENTS);
    const last = await client.listAgents().find(({ name }) => name === `${MANY}${MANY_AGENTS}`);
    equal(agents.some(({ id }) => id === last?.id), true);
  },

  "a message is answered with what the turn said, wrote and cost": async (trial) => {
    const { id } = await trial.agent();
    const answer = await trial.client.sendMessage(id, { message: "Please remember that I sail.", userId: "bea" });
    equal(answer.messages[0].content.startsWith("Done"), true);
    const [change] = answer.memory.blocks;
    equal([change?.label, change?.before, change?.after.includes("I sail")], ["human", "Nobody yet.", true]);
    equal([answer.stopReason, answer.userId, answer.usage.stepCount], ["end_turn", "bea", 2]);
    equal(answer.usage.totalTokens > 0, true);
    equal((await trial.client.history(id, { userId: "bea" })).map(({ role }) => role), ["user", "assistant"]);
  },

  "a stream brings words while the agent speaks, and then what the turn wrote and cost": async (trial) => {
    const stream = await trial.speak(SLOW);
    let text = "";
    for await (const delta of stream) {
      if (text === "") equal(await trial.statusOf(await stream.runId), "running");
      text += delta;
    }
    equal([await stream.text, await stream.stopReason], [text, "end_turn"]);
    equal((await stream.usage).totalTokens > 0, true);
    const writing = await trial.speak("Please remember that I row.");
    equal((await writing.memory).blocks[0]?.after.includes("I row"), true);
  },

  "aborting a stream cancels the run on the server": async (trial) => {
    const leaving = new AbortController();
    const stream = await trial.speak(SLOW, { signal: leaving.signal });
    const reading = stream[Symbol.asyncIterator]();
    equal((await reading.next()).done, false);
    leaving.abort();
    equal(((await rejection(reading.next())) as Error).name, "AbortError");
    await trial.cancelled(await stream.runId);
  },

  "a text response is plain text that comes while the agent speaks; cancelling it cancels the run": async (trial) => {
    const whole = (await trial.speak("[[echo]] Hällo 🙂")).toTextResponse({ status: 201, headers: { "x-own": "1" } });
    equal([whole.status, whole.headers.get("content-type"), whole.headers.get("x-own")], [201, "text/plain; charset=utf-8", "1"]);
    equal(await whole.text(), "[[echo]] Hällo 🙂");
    await leftEarly(trial, (stream) => stream.toTextResponse());
  },

  "a UI message response is what the AI SDK reads; cancelling it cancels the run": async (trial) => {
    const whole = (await trial.speak("[[echo]] Hello.")).toUIMessageStreamResponse();
    equal([whole.headers.get("content-type"), whole.headers.get("x-vercel-ai-ui-message-stream")], ["text/event-stream", "v1"]);
    const frames = (await whole.text()).split("\n\n").filter((frame) => frame !== "");
    equal(frames.pop(), "data: [DONE]");
    const chunks = frames.map((frame) => JSON.parse(frame.replace("data: ", "")) as { type: string; delta?: string });
    equal(chunks.map(({ delta }) => delta ?? "").join(""), "[[echo]] Hello.");
    const kinds = chunks.map(({ type }) => type).filter((type, index, all) => type !== all[index - 1]);
    equal(kinds, ["start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish"]);
    await leftEarly(trial, (stream) => stream.toUIMessageStreamResponse());
  },

  "memory is added and found for one person, or for all": async (trial) => {
    const { id } = await trial.agent();
    const added = await trial.client.addMemory(id, { content: "Fay keeps bees.", type: "archival_memory", userId: "fay" });
    await trial.client.addMemory(id, { content: "Bees sleep in winter.", type: "archival_memory" });
    const results = await trial.client.searchMemory(id, { query: "bees", limit: 5, userId: "fay" });
    equal(results.map(({ userId }) => userId).sort(), ["fay", null]);
    equal(results.some((result) => result.id === added.id), true);
    equal((await trial.client.searchMemory(id, { query: "bees" })).map(({ content }) => content), ["Bees sleep in winter."]);
    const core = await trial.client.addMemory(id, { content: "Fay is left-handed.", type: "core_memory", userId: "fay" });
    equal([core.type, core.label, core.value?.includes("left-handed")], ["core_memory", "human", true]);
  },

  "failures are errors that say what happened": async (trial) => {
    const { client, mnemic, place } = trial;
    const { id } = await trial.agent();
    const missing = await trial.failure(client.getAgent("agent-00000000-0000-4000-8000-000000000000"));
    equal([missing.status, missing.code, typeof missing.requestId], [404, "not_found", "string"]);
    equal((await trial.failure(client.sendMessage(id, { message: "Hello", userId: "" }))).status, 422);
    equal((await trial.failure((await trial.speak("[[error 400]] Hello")).text)).message !== "", true);
    const nobody = new mnemic.LettaClient({ baseUrl: "http://127.0.0.1:1", maxRetries: 0 });
    equal((await trial.failure(nobody.listAgents())).code, "network_error");
    const late = client.sendMessage(id, { message: "[[sleep 1000]] Hello", userId: "late", timeout: 50 });
    equal((await trial.failure(late)).code, "timeout");
    const leaving = new AbortController();
    const reason = new Error(`${place.runtime} went away`);
    const left = client.sendMessage(id, { message: "[[sleep 1000]] Hello", userId: "left", signal: leaving.signal });
    leaving.abort(reason);
    equal((await rejection(left)) === reason, true);
    equal((await rejection((await trial.speak("Hello", { signal: leaving.signal })).text)) === reason, true);
  },
};

/** The names of all checks. */
export const NAMES = Object.keys(CHECKS);

/** Reads the first piece of a response while the run goes on, and cancels the rest. */
async function leftEarly(trial: Trial, respond: (stream: mnemic.MessageStream) => Response): Promise<void> {
  const stream = await trial.speak(SLOW);
  const body = respond(stream).body;
  holds(body, "the response has a body");
  const reader = body.getReader();
  const { value } = await reader.read();
  equal(value instanceof Uint8Array && value.length > 0, true);
  const runId = await stream.runId;
  equal(await trial.statusOf(runId), "running");
  await reader.cancel();
  await trial.cancelled(runId);
}

/** The address and the credential with which a client asks. */
async function found(client: Package, options: mnemic.ClientOptions): Promise<[string, string | null]> {
  let sent: string | null = null;
  const asking = new client.LettaClient({
    ...options,
    fetch: async (_, init) => {
      sent = new Headers(init?.headers).get("authorization");
      return new Response("[]");
    },
  });
  await asking.listAgents();
  return [asking.baseUrl, sent];
}

/** Why a promise is rejected. */
async function rejection(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => new Error("it did not fail"),
    (reason: unknown) => reason,
  );
}

function holds(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`it does not hold that ${what}`);
}

function equal(got: unknown, expected: unknown): void {
  holds(JSON.stringify(got) === JSON.stringify(expected), `${JSON.stringify(got)} is ${JSON.stringify(expected)}`);
}
