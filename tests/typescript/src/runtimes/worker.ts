// The conformance program as edge runtimes run it, within a request that an exported handler answers; beside it the handler of a product.

import * as mnemic from "@mnemic/client";
import { conformance, type Place } from "./conformance.js";
import { answer } from "./handler.js";

// Such runtimes refuse whatever does I/O before a request has come.
new mnemic.LettaClient().listAgents();

export default {
  async fetch(request: Request): Promise<Response> {
    if (request.method === "GET") return answer(request);
    return Response.json(await conformance(mnemic, (await request.json()) as Place));
  },
};
