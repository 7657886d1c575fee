// The conformance program in CommonJS, for Node and Bun.

import mnemic = require("@mnemic/client");
import type { Package, Place } from "./conformance.js" with { "resolution-mode": "import" };

async function main(): Promise<void> {
  const { conformance } = await import("./conformance.js");
  // The types of the two builds tell their classes apart.
  const required = mnemic as unknown as Package;
  console.log(JSON.stringify(await conformance(required, JSON.parse(process.argv.at(-1)!) as Place)));
}

void main();
