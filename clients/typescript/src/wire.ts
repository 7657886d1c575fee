// The server's JSON, read into what the client shows. What an older server leaves out is read as nothing.

import { isRecord } from "./errors.js";
import type {
  Agent,
  ForgetReceipt,
  HistoryMessage,
  MemoryChanges,
  MessageResponse,
  SearchResult,
  Usage,
  UserToken,
} from "./types.js";

export type Json = Record<string, unknown>;

export function agentOf(json: Json): Agent {
  const { id, name, description, model, tags, metadata, created_at, require_user } = json;
  return {
    id: text(id),
    name: text(name),
    description: orNull(description),
    model: orNull(model),
    tags: Array.isArray(tags) ? tags.map(text) : [],
    metadata: isRecord(metadata) ? metadata : null,
    createdAt: orNull(created_at),
    requireUser: require_user === true,
  };
}

export function responseOf(json: Json): MessageResponse {
  const messages = records(json["messages"]).map(({ id, content }) => ({
    id: text(id),
    role: "assistant" as const,
    content: contentOf(content),
  }));
  const [first = { id: "", role: "assistant" as const, content: "" }, ...more] = messages;
  return {
    messages: [first, ...more],
    memory: memoryOf(isRecord(json["memory"]) ? json["memory"] : {}),
    usage: usageOf(isRecord(json["usage"]) ? json["usage"] : {}),
    stopReason: stopReasonOf(json["stop_reason"]),
    runId: text(json["run_id"]),
    conversationId: text(json["conversation_id"]),
    userId: orNull(json["user_id"]),
  };
}

/** A word, or the frame of a stream that holds it. */
function stopReasonOf(reason: unknown): string {
  return text(isRecord(reason) ? reason["stop_reason"] : reason);
}

export function memoryOf(json: Json): MemoryChanges {
  return {
    blocks: records(json["blocks"]).map(({ id, label, before, after }) => ({
      id: text(id),
      label: text(label),
      before: orNull(before),
      after: text(after),
    })),
    passages: records(json["passages"]).map(({ id, content }) => ({ id: text(id), content: text(content) })),
  };
}

export function usageOf(json: Json): Usage {
  return {
    promptTokens: count(json["prompt_tokens"]),
    completionTokens: count(json["completion_tokens"]),
    totalTokens: count(json["total_tokens"]),
    cachedInputTokens: count(json["cached_input_tokens"]),
    reasoningTokens: count(json["reasoning_tokens"]),
    stepCount: count(json["step_count"]),
  };
}

export function resultOf(json: Json): SearchResult {
  const { id, content, score, created_at, tags, user_id } = json;
  return {
    id: text(id),
    content: text(content),
    score: count(score),
    createdAt: orNull(created_at),
    tags: Array.isArray(tags) ? tags.map(text) : [],
    userId: orNull(user_id),
  };
}

export function historyMessageOf(json: Json): HistoryMessage | undefined {
  const { id, message_type, content, date } = json;
  if (message_type !== "user_message" && message_type !== "assistant_message") return undefined;
  const role = message_type === "user_message" ? "user" : "assistant";
  return { id: text(id), role, content: contentOf(content), createdAt: orNull(date) };
}

export function tokenOf(json: Json): UserToken {
  const { token, agent_id, user_id, expires_at } = json;
  return { token: text(token), agentId: text(agent_id), userId: text(user_id), expiresAt: text(expires_at) };
}

export function receiptOf(json: Json): ForgetReceipt {
  const { user_id, removed, common_blocks, erased, left, copies } = json;
  const counted = Object.entries(isRecord(removed) ? removed : {}).map(([kind, count]) => [kind, Number(count)] as const);
  return {
    userId: orNull(user_id),
    removed: Object.fromEntries(counted),
    commonBlocks: Array.isArray(common_blocks) ? common_blocks.map(text) : [],
    erased: erased === true,
    left: orNull(left),
    copies: records(copies).map(({ name, made_at, expires_at }) => ({
      name: text(name),
      madeAt: text(made_at),
      expiresAt: text(expires_at),
    })),
  };
}

/** Content is a text, or parts of which some are texts. */
export function contentOf(content: unknown): string {
  if (typeof content === "string") return content;
  return records(content)
    .map((part) => (typeof part["text"] === "string" ? part["text"] : ""))
    .join("");
}

export function records(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function orNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function count(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
