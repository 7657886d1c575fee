// The programs under test: the built server, on either engine, and the scripted model that it asks.
// ./test sets MNEMIC_BIN, SCRIPTED_MODEL_BIN, MNEMIC_PG_URL and PSQL.

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import Letta from "@letta-ai/letta-client";

export const MODEL = "openai-proxy/scripted";
export const ENGINES = (process.env["MNEMIC_ENGINES"] ?? "sqlite,postgres").split(",");

const START_MS = 30_000;
const SQLITE = `
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    database.execute(sys.argv[2])
`;

export function named(variable: string): string {
  const value = process.env[variable];
  assert.ok(value, `${variable} is not set: run these tests through ./test`);
  return value;
}

export function freePort(): Promise<number> {
  return new Promise((found) => {
    const probe = createServer();
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => found(typeof address === "object" && address ? address.port : 0));
    });
  });
}

export async function eventually<T>(what: string, condition: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline) {
    const value = await condition();
    if (value) return value;
    await pause(20);
  }
  throw new Error(`not within ${START_MS} ms: ${what}`);
}

export function ended(child: ChildProcess): Promise<void> {
  return child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((done) => child.once("exit", () => done()));
}

/** The scripted model; its first line of output names its address. */
export class ScriptedModel {
  private constructor(private readonly child: ChildProcess, readonly address: string) {}

  static async start(): Promise<ScriptedModel> {
    const child = spawn(named("SCRIPTED_MODEL_BIN"), ["--port", "0", "--record-memory"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    for await (const line of createInterface({ input: child.stdout! })) {
      return new ScriptedModel(child, line.split(" ").at(-1)!);
    }
    throw new Error("the scripted model did not start");
  }

  /** The last request whose messages name `text`, as JSON text. */
  async lastRequest(text: string): Promise<string> {
    const written = encodeURIComponent(JSON.stringify(text).slice(1, -1));
    const answer = await fetch(`http://${this.address}/requests?containing=${written}`);
    const recorded = (await answer.json()) as { messages: unknown }[];
    const found = recorded.map((body) => JSON.stringify(body.messages)).filter((said) => said.includes(text));
    assert.ok(found.length > 0, `the model was not asked anything with ${text}`);
    return found.at(-1)!;
  }

  async stop(): Promise<void> {
    this.child.kill("SIGKILL");
    await ended(this.child);
  }
}

/** Runs a statement as the administrator of the PostgreSQL. */
function administer(sql: string): void {
  execFileSync(named("PSQL"), [named("MNEMIC_PG_URL"), "-qc", sql]);
}

/** One data folder or database, and the processes that serve it one after the other. */
export class Server {
  private child: ChildProcess | undefined;

  private constructor(
    readonly url: string,
    private readonly port: number,
    private readonly folder: string,
    private readonly environment: NodeJS.ProcessEnv,
    private readonly database: string | undefined,
  ) {}

  static async make(engine: string, model: ScriptedModel, more: NodeJS.ProcessEnv = {}): Promise<Server> {
    const port = await freePort();
    const foreign = /^(MNEMIC|LETTA|OPENAI|ANTHROPIC|HF|OLLAMA|LMSTUDIO|LLAMA_SERVER|LLAMACPP|VLLM|SGLANG|AZURE|BASETEN|DEEPSEEK|GEMINI|GROQ|MINIMAX|OPENROUTER|TOGETHER|XAI|ZAI)_/;
    const own = Object.entries(process.env).filter(([name]) => !foreign.test(name));
    const folder = mkdtempSync(join(tmpdir(), "mnemic-ts-"));
    const environment: NodeJS.ProcessEnv = {
      ...Object.fromEntries(own),
      OPENAI_API_KEY: "sk-none",
      OPENAI_BASE_URL: `http://${model.address}/v1`,
      MNEMIC_DETECT: "false",
      // Without the embedding model's files texts are found by their words.
      MNEMIC_MODELS_DIR: join(folder, "models"),
      MNEMIC_OFFLINE: "true",
      ...more,
    };
    const database = engine === "postgres" ? `ts_${randomUUID().replaceAll("-", "")}` : undefined;
    if (database) {
      administer(`CREATE DATABASE ${database}`);
      environment["MNEMIC_DATABASE_URL"] = named("MNEMIC_PG_URL").replace(/[^/]*$/, database);
    }
    return new Server(`http://127.0.0.1:${port}`, port, folder, environment, database);
  }

  async start(): Promise<void> {
    const log = openSync(join(this.folder, "log"), "a");
    const data = join(this.folder, "data");
    const child = spawn(
      named("MNEMIC_BIN"),
      ["serve", "--host", "127.0.0.1", "--port", String(this.port), "--data-dir", data],
      { env: this.environment, cwd: this.folder, stdio: ["ignore", log, log] },
    );
    this.child = child;
    await eventually("the server answers on /v1/health/", async () => {
      assert.equal(child.exitCode, null, readFileSync(join(this.folder, "log"), "utf8"));
      try {
        return (await fetch(`${this.url}/v1/health/`)).ok;
      } catch {
        return false;
      }
    });
  }

  /** Runs a statement on its tables, behind its back. */
  execute(sql: string): void {
    const url = this.environment["MNEMIC_DATABASE_URL"];
    if (url) execFileSync(named("PSQL"), [url, "-qc", `SET search_path TO mnemic; ${sql}`]);
    else execFileSync(named("PYTHON"), ["-c", SQLITE, join(this.folder, "data", "mnemic.db"), sql]);
  }

  /** As a power cut: no chance to tidy up. */
  async kill(): Promise<void> {
    if (!this.child) return;
    this.child.kill("SIGKILL");
    await ended(this.child);
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
    if (this.database) administer(`DROP DATABASE IF EXISTS ${this.database} WITH (FORCE)`);
  }

  client(): Letta {
    return new Letta({ baseURL: this.url, apiKey: "sk-none", maxRetries: 0 });
  }
}
