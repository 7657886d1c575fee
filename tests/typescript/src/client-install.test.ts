// The small client as npm installs it: what is packed, put into a folder that has nothing else.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const PACKAGE = dirname(dirname(dirname(fileURLToPath(import.meta.resolve("@mnemic/client")))));
const COMPILER = createRequire(import.meta.url).resolve("typescript/bin/tsc");

/** How a product may import the client, and what it says of what it got. */
const USE = `
const client = new LettaClient({ baseUrl: "http://127.0.0.1:1", maxRetries: 0 });
const list: AgentList = client.listAgents();
const failure: Promise<string> = list.then(() => "none", (error: unknown) => (error instanceof MnemicError ? error.code : "other"));
// @ts-expect-error: a message is a text
void (() => client.sendMessage("agent-1", { message: 7 }));
void failure.then((code: string) => console.log(code, MnemicClient === LettaClient));
`;
const IMPORT = `import { type AgentList, LettaClient, MnemicClient, MnemicError } from "@mnemic/client";\n${USE}`;
const REQUIRE = `import mnemic = require("@mnemic/client");
import type { AgentList } from "@mnemic/client";
const { LettaClient, MnemicClient, MnemicError } = mnemic;\n${USE}`;

describe("the packed client", { concurrency: true }, () => {
  const folder = mkdtempSync(join(tmpdir(), "mnemic-install-"));
  let files: string[];

  const run = async (command: string, ...args: string[]) => {
    const done = await promisify(execFile)(command, args, { cwd: folder }).catch((error: { stdout: string; message: string }) =>
      assert.fail(`${error.message}\n${error.stdout}`),
    );
    return done.stdout;
  };

  before(async () => {
    const packed = JSON.parse(await run("npm", "pack", PACKAGE, "--json", "--silent", "--pack-destination", folder));
    const [{ filename, files: found }] = Object.values(packed) as [{ filename: string; files: { path: string }[] }];
    files = found.map(({ path }) => path);
    writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true }));
    await run("npm", "install", "--offline", "--silent", "--no-audit", "--no-fund", `./${filename}`);
  });

  after(() => rmSync(folder, { recursive: true, force: true }));

  test("it is the built files, its page and its licences", () => {
    const others = files.filter((path) => !path.startsWith("dist/")).sort();
    assert.deepEqual(others, ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json"]);
    assert.ok(files.includes("dist/esm/index.d.ts") && files.includes("dist/cjs/index.js"));
  });

  for (const [name, module, moduleResolution, sources] of [
    ["Node", "node16", "node16", { "main.mts": IMPORT, "main.cts": REQUIRE }],
    ["bundlers", "esnext", "bundler", { "main.ts": IMPORT }],
  ] as const) {
    test(`its types and its code work for ${name}`, async () => {
      const at = join(folder, name);
      mkdirSync(at);
      for (const [file, text] of Object.entries(sources)) writeFileSync(join(at, file), text);
      const compilerOptions = { target: "es2022", lib: ["es2022", "dom"], types: [], strict: true, module, moduleResolution };
      writeFileSync(join(at, "tsconfig.json"), JSON.stringify({ compilerOptions, files: Object.keys(sources) }));
      await run(process.execPath, COMPILER, "-p", at);
      // What is made for a bundler is not for Node.
      for (const built of name === "Node" ? ["main.mjs", "main.cjs"] : []) {
        assert.equal(await run(process.execPath, join(at, built)), "network_error true\n");
      }
    });
  }
});
