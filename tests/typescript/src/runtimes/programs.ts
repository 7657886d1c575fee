// The runtimes that the conformance program runs in, and how each is started.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ended, eventually, freePort } from "../programs.js";
import type { Outcome, Place } from "./conformance.js";

const HERE = dirname(fileURLToPath(import.meta.url));
const MODULE = join(HERE, "module.js");
const COMMONJS = join(HERE, "commonjs.cjs");

const isArm = process.arch === "arm64";
const resolve = createRequire(import.meta.url).resolve;
const program = (name: string, path: string) => join(dirname(resolve(`${name}/package.json`)), path);
const DENO = program(`@deno/linux-${process.arch}-glibc`, "deno");
const BUN = program(isArm ? "@oven/bun-linux-aarch64" : "@oven/bun-linux-x64-baseline", "bin/bun");
const WORKERD = program(isArm ? "@cloudflare/workerd-linux-arm64" : "@cloudflare/workerd-linux-64", "bin/workerd");

const VARIABLES = "MNEMIC_BASE_URL,LETTA_BASE_URL,MNEMIC_TOKEN,LETTA_API_KEY,LETTA_TOKEN";

/** An environment that has nothing of ours. */
const CLEAN = { PATH: process.env["PATH"], HOME: tmpdir(), DENO_NO_UPDATE_CHECK: "1" };

/** Runs the conformance program somewhere. */
export type Runtime = (place: Place) => Promise<Outcome[]>;

export const RUNTIMES: Record<string, Runtime> = {
  "Node by import": (place) => printed(process.execPath, MODULE, JSON.stringify(place)),
  "Node by require": (place) => printed(process.execPath, COMMONJS, JSON.stringify(place)),
  // With no right but to ask the server and to read these variables.
  Deno: (place) => printed(...deno("--allow-net=127.0.0.1", `--allow-env=${VARIABLES}`), MODULE, JSON.stringify(place)),
  "Bun by import": (place) => printed(BUN, "run", MODULE, JSON.stringify(place)),
  "Bun by require": (place) => printed(BUN, "run", COMMONJS, JSON.stringify(place)),
  // The one of Next.js.
  "the edge runtime": inEdgeRuntime,
  // The one of Cloudflare's workers.
  workerd: inWorkerd,
};

/** The handler of a product behind the servers that some of them have; with their addresses. */
export const SERVERS: Record<string, (use: (url: string) => Promise<void>) => Promise<void>> = {
  Deno: (use) => servedBy(deno("--allow-net=127.0.0.1", `--allow-env=${VARIABLES}`), use),
  Bun: (use) => servedBy([BUN, "run"], use),
  workerd: servedByWorkerd,
};

/** The command that runs a program in Deno with some rights. */
export function deno(...rights: string[]): [string, ...string[]] {
  return [DENO, "run", "--no-prompt", "--no-remote", "--node-modules-dir=manual", ...rights];
}

/** What a program prints. */
export async function said(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, args, { env: CLEAN });
  return stdout;
}

async function printed(command: string, ...args: string[]): Promise<Outcome[]> {
  return JSON.parse(await said(command, ...args)) as Outcome[];
}

/** The program and the client in one file, as bundlers make it for what has no modules of its own. */
async function bundled(entry: string, form: "esm" | "iife", folder: string): Promise<string> {
  const bundle = join(folder, "bundle.js");
  await said(BUN, "build", "--target=browser", `--format=${form}`, join(HERE, entry), `--outfile=${bundle}`);
  return bundle;
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "mnemic-runtime-"));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function inEdgeRuntime(place: Place): Promise<Outcome[]> {
  return inFolder(async (folder) => {
    const bundle = await bundled("edge.js", "iife", folder);
    return printed(process.execPath, join(HERE, "edge-host.js"), bundle, JSON.stringify(place));
  });
}

async function inWorkerd(place: Place): Promise<Outcome[]> {
  return servedByWorkerd(async (url) => {
    const answer = await fetch(url, { method: "POST", body: JSON.stringify(place) });
    assert.ok(answer.ok, await answer.clone().text());
    return (await answer.json()) as Outcome[];
  });
}

function servedByWorkerd<T>(use: (url: string) => Promise<T>): Promise<T> {
  return inFolder(async (folder) => {
    await bundled("worker.js", "esm", folder);
    const port = await freePort();
    const config = join(folder, "config.capnp");
    writeFileSync(config, configOf(port));
    return served([WORKERD, "serve", config], port, use);
  });
}

/** Does something with a server while it runs. */
async function served<T>([command, ...args]: [string, ...string[]], port: number, use: (url: string) => Promise<T>): Promise<T> {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"], env: CLEAN });
  const url = `http://127.0.0.1:${port}`;
  try {
    await eventually(`${command} serves`, async () => {
      assert.equal(child.exitCode, null, `${command} ended`);
      return fetch(url).catch(() => undefined);
    });
    return await use(url);
  } finally {
    child.kill("SIGKILL");
    await ended(child);
  }
}

async function servedBy<T>(command: [string, ...string[]], use: (url: string) => Promise<T>): Promise<T> {
  const port = await freePort();
  return served([...command, join(HERE, "server.js"), String(port)], port, use);
}

function configOf(port: number): string {
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker", esModule = embed "bundle.js")],
      compatibilityDate = "2026-11-01",
    )),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
`;
}
