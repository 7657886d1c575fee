// The handler behind the server that Deno and Bun have of their own.

import { answer } from "./handler.js";

interface Serving {
  Deno?: { serve(options: { hostname: string; port: number }, handler: typeof answer): unknown };
  Bun?: { serve(options: { hostname: string; port: number; fetch: typeof answer }): unknown };
}

const { Deno, Bun } = globalThis as Serving;
const place = { hostname: "127.0.0.1", port: Number(process.argv.at(-1)) };
if (Deno) Deno.serve(place, answer);
else Bun?.serve({ ...place, fetch: answer });
