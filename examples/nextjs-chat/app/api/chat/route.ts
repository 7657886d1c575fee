import { MnemicError } from "@mnemic/client";
import { client, companionId } from "@/lib/companion";
import { signedInUser } from "@/lib/session";

const MAX_MESSAGE = 8_000;

/** Says something to the companion as whoever is signed in, and streams the answer. */
export async function POST(request: Request): Promise<Response> {
  const userId = await signedInUser();
  if (userId === undefined) return refusal(401, "Please sign in.");
  const message = await messageOf(request);
  if (message === undefined) return refusal(400, `A message is a text of 1 to ${MAX_MESSAGE} characters.`);
  try {
    const stream = client.streamMessage(await companionId(), { message, userId, signal: request.signal });
    // A refusal is told by a status; what fails later breaks the stream.
    await stream.runId;
    return stream.toTextResponse({ headers: { "cache-control": "no-store" } });
  } catch (error) {
    if (!(error instanceof MnemicError)) throw error;
    console.error(error);
    return error.status === 429
      ? refusal(429, "That was a lot for now. Please try again a little later.")
      : refusal(503, "Juno can't be reached right now. Please try again in a moment.");
  }
}

/** The message and nothing else: whoever else a body names, it is the session that says who speaks. */
async function messageOf(request: Request): Promise<string | undefined> {
  const body: unknown = await request.json().catch(() => undefined);
  const message = typeof body === "object" && body !== null && "message" in body ? body.message : undefined;
  if (typeof message !== "string") return undefined;
  const text = message.trim();
  return text !== "" && text.length <= MAX_MESSAGE ? text : undefined;
}

function refusal(status: number, error: string): Response {
  return Response.json({ error }, { status });
}
