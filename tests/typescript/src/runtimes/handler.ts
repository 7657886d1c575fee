// A product's route handler: what the agent says goes on to whoever asked.

import { LettaClient } from "@mnemic/client";

export async function answer(request: Request): Promise<Response> {
  const asked = new URL(request.url).searchParams;
  const [baseUrl, agentId] = [asked.get("server"), asked.get("agent")];
  if (!baseUrl || !agentId) return new Response(null, { status: 204 });
  const stream = new LettaClient({ baseUrl }).streamMessage(agentId, { message: "[[delay 50]] [[words 200]] A saga.", userId: "guest" });
  return stream.toTextResponse({ headers: { "x-run-id": await stream.runId } });
}
