/** What any call may be given besides. */
export interface CallOptions {
  /** Ends the call; for messages, also the agent's run on the server. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for this call, in the place of the client's. */
  timeout?: number | undefined;
}

/** A new agent. Any other field of the V1 API (`memory_blocks`, `tools`, `tags`, ...) may stand here too and goes along as it is. */
export interface CreateAgentOptions extends CallOptions {
  name?: string | undefined;
  /** Who the agent is; the same for all its users. */
  persona?: string | undefined;
  /** What it knows at first about the person it talks to. */
  human?: string | undefined;
  /** A model's handle (`openai/gpt-4o`) or its bare name (`gpt-4o`). */
  model?: string | undefined;
  /** The embedding model's handle, or its V1 configuration. */
  embeddingConfig?: string | Record<string, unknown> | undefined;
  /** Answers the agent of this name where there is one, atomically: parallel calls make one agent. */
  ifNotExists?: boolean | undefined;
  /** Refuses messages, searches and additions without a userId. */
  requireUser?: boolean | undefined;
  [field: string]: unknown;
}

/** An agent. */
export interface Agent {
  id: string;
  name: string;
  description: string | null;
  model: string | null;
  tags: string[];
  metadata: Record<string, unknown> | null;
  createdAt: string | null;
  requireUser: boolean;
}

/** A message to an agent. */
export interface MessageOptions extends CallOptions {
  message: string;
  /** The person for whom the agent answers: with a thread and a memory of their own. */
  userId?: string | undefined;
  /** Names the message; sent again under this name it is not taken in twice. Made up unless given. */
  otid?: string | undefined;
}

/** What the agent said. */
export interface AssistantMessage {
  id: string;
  role: "assistant";
  content: string;
}

/** What a turn wrote into the memory. */
export interface MemoryChanges {
  /** Core memory: the block's value before and after the turn; `before` is null for a block that the turn made. */
  blocks: { id: string; label: string; before: string | null; after: string }[];
  /** Archival memory: what was added. */
  passages: { id: string; content: string }[];
}

/** What a turn cost. */
export interface Usage {
  promptTokens: number;
  completionTokens: number;
  totalTokens: number;
  cachedInputTokens: number;
  reasoningTokens: number;
  /** How many times the model was asked. */
  stepCount: number;
}

/** An agent's answer. */
export interface MessageResponse {
  /** `messages[0].content` is the answer's whole text. */
  messages: [AssistantMessage, ...AssistantMessage[]];
  memory: MemoryChanges;
  usage: Usage;
  /** Why the turn ended: `end_turn`, or what went wrong. */
  stopReason: string;
  runId: string;
  conversationId: string;
  userId: string | null;
}

/** A search in the archival memory. */
export interface SearchOptions extends CallOptions {
  query: string;
  /** How many results at the most; 10 unless set. */
  limit?: number | undefined;
  /** Also searches what this person's turns stored; without it only what is common to all. */
  userId?: string | undefined;
}

/** Something found. */
export interface SearchResult {
  id: string;
  content: string;
  score: number;
  createdAt: string | null;
  tags: string[];
  /** Whose it is; null for what is common to all. */
  userId: string | null;
}

/** Something to remember. */
export interface AddMemoryOptions extends CallOptions {
  content: string;
  /** `core_memory` is always before the agent's eyes, `archival_memory` is searched. */
  type: "core_memory" | "archival_memory";
  /** Whose memory it is; without it, it is common to all. */
  userId?: string | undefined;
}

/** Where it was put: a passage, or a block with its value. */
export interface AddedMemory {
  type: "core_memory" | "archival_memory";
  id: string;
  label?: string;
  value?: string;
}

/** Which part of a history. */
export interface HistoryOptions extends CallOptions {
  /** Whose thread; without it the agent's default one, or that of the user token's person. */
  userId?: string | undefined;
  /** How many messages at the most, the newest; 50 unless set. */
  limit?: number | undefined;
  /** Only messages older than the one with this id. */
  before?: string | undefined;
}

/** A message of a history. */
export interface HistoryMessage {
  id: string;
  role: "user" | "assistant";
  content: string;
  createdAt: string | null;
}

/** For whom a token is. */
export interface UserTokenOptions extends CallOptions {
  agentId: string;
  userId: string;
  /** Seconds for which it holds: 60 to 86,400, 3,600 unless set. */
  ttl?: number | undefined;
}

/** A token for one person's chat, history, search and data; safe to give to their browser. */
export interface UserToken {
  token: string;
  agentId: string;
  userId: string;
  expiresAt: string;
}

/** A copy of the database that the server made before it changed its tables, and that still holds what was forgotten. */
export interface DatabaseCopy {
  name: string;
  madeAt: string;
  /** When the server deletes it. */
  expiresAt: string;
}

/** What forgetting a person removed, and what is left. */
export interface ForgetReceipt {
  userId: string | null;
  /** How many of each kind went: messages, passages, blocks and more. */
  removed: Record<string, number>;
  /** Blocks of everybody that lost the lines which this person's turns had added to them. */
  commonBlocks: string[];
  /** Whether nothing of it is in the database's files any more. */
  erased: boolean;
  /** What is left in them, and why. */
  left: string | null;
  copies: DatabaseCopy[];
}
