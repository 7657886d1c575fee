// Hands a request to a program in the edge runtime of Next.js, in a process of its own: what it does with failures that
// nobody waits for concerns the whole process.

import { readFileSync } from "node:fs";
import { EdgeRuntime } from "edge-runtime";

const [bundle, place] = process.argv.slice(2);
const runtime = new EdgeRuntime({
  initialCode: readFileSync(bundle!, "utf8"),
  // Next.js gives it an environment, too.
  extend: (context) => Object.assign(context, { process: { env: {} } }),
});
const answer = await runtime.dispatchFetch("http://edge.example/", { method: "POST", body: place! });
console.log(await answer.text());
