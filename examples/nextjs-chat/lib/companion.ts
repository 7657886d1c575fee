// The agent that all people talk to, each with a thread and a memory of their own.

import { type HistoryMessage, LettaClient, MnemicError } from "@mnemic/client";

/** Finds the server by MNEMIC_BASE_URL and MNEMIC_TOKEN; asks nothing before it is used. */
export const client = new LettaClient();

let made: Promise<string> | undefined;

/** The agent's id; the agent is made when somebody first needs it, also when several processes do so at once. */
export function companionId(): Promise<string> {
  made ??= client
    .createAgent({
      name: "Juno",
      persona: "I am Juno. I am warm and curious, I keep my answers short, and I remember the people I talk to.",
      human: "I do not know this person yet.",
      model: process.env.MNEMIC_MODEL || "gpt-4o-mini",
      ifNotExists: true,
      requireUser: true,
    })
    .then(({ id }) => id);
  made.catch(() => (made = undefined));
  return made;
}

/** What was said with a person; undefined while the server cannot be reached. */
export async function historyOf(userId: string): Promise<HistoryMessage[] | undefined> {
  try {
    return await client.history(await companionId(), { userId });
  } catch (error) {
    if (!(error instanceof MnemicError)) throw error;
    console.error(error);
    return undefined;
  }
}
