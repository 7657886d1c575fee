// The conformance program in a module, for Node, Deno and Bun.

import * as mnemic from "@mnemic/client";
import { conformance, type Place } from "./conformance.js";

console.log(JSON.stringify(await conformance(mnemic, JSON.parse(process.argv.at(-1)!) as Place)));
