// The AI SDK's UI message stream protocol (`x-vercel-ai-ui-message-stream: v1`), in the chunks that its version 5 and all
// later ones read: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol

import type { Delta } from "./message-stream.js";

/** A chunk of the protocol. */
export type UIChunk =
  | { type: "start" | "start-step" | "finish-step" | "finish" | "abort" }
  | { type: "text-start" | "text-end"; id: string }
  | { type: "text-delta"; id: string; delta: string }
  | { type: "error"; errorText: string };

/** How the stream ended. */
export interface Outcome {
  stopReason: Promise<string>;
  /** Whether whoever reads has cancelled it. */
  isLeft(): boolean;
}

/** The chunks of an answer; each message of the agent is a text part. */
export async function* uiChunks(
  deltas: AsyncIterable<Delta>,
  outcome: Outcome,
  onError: (error: unknown) => string,
): AsyncGenerator<UIChunk, void, void> {
  yield { type: "start" };
  yield { type: "start-step" };
  let messageId: string | undefined;
  let part = 0;
  const id = () => `text-${part}`;
  try {
    for await (const delta of deltas) {
      if (delta.messageId !== messageId) {
        if (messageId !== undefined) yield { type: "text-end", id: id() };
        messageId = delta.messageId;
        part += 1;
        yield { type: "text-start", id: id() };
      }
      yield { type: "text-delta", id: id(), delta: delta.text };
    }
    if (messageId !== undefined) yield { type: "text-end", id: id() };
    if ((await outcome.stopReason) === "cancelled") return yield { type: "abort" };
    yield { type: "finish-step" };
    yield { type: "finish" };
  } catch (error) {
    yield outcome.isLeft() ? { type: "abort" } : { type: "error", errorText: onError(error) };
  }
}

/** Chunks as server-sent events. */
export async function* sseOf(chunks: AsyncIterable<UIChunk>): AsyncGenerator<string, void, void> {
  for await (const chunk of chunks) yield `data: ${JSON.stringify(chunk)}\n\n`;
  yield "data: [DONE]\n\n";
}
