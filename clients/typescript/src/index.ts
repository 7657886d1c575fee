export { AgentList } from "./agent-list.js";
export { LettaClient, LettaClient as MnemicClient } from "./client.js";
export { MnemicError } from "./errors.js";
export { MessageStream, type UIMessageStreamInit } from "./message-stream.js";
export type { ClientOptions } from "./settings.js";
export type {
  AddedMemory,
  AddMemoryOptions,
  Agent,
  AssistantMessage,
  CallOptions,
  CreateAgentOptions,
  DatabaseCopy,
  ForgetReceipt,
  HistoryMessage,
  HistoryOptions,
  MemoryChanges,
  MessageOptions,
  MessageResponse,
  SearchOptions,
  SearchResult,
  Usage,
  UserToken,
  UserTokenOptions,
} from "./types.js";
