import { AgentList } from "./agent-list.js";
import { type Ask, Connection, segment } from "./connection.js";
import { MessageStream } from "./message-stream.js";
import { type ClientOptions, settingsOf } from "./settings.js";
import type {
  AddedMemory,
  AddMemoryOptions,
  Agent,
  CallOptions,
  CreateAgentOptions,
  ForgetReceipt,
  HistoryMessage,
  HistoryOptions,
  MessageOptions,
  MessageResponse,
  SearchOptions,
  SearchResult,
  UserToken,
  UserTokenOptions,
} from "./types.js";
import { agentOf, historyMessageOf, type Json, receiptOf, records, responseOf, resultOf, tokenOf } from "./wire.js";

const PAGE = 100;
const HISTORY = 50;
/** The kinds of a history; a summary that is asked for does not pass as something that the user said. */
const SPOKEN = ["user_message", "assistant_message", "summary_message"];

/** Agents that remember, and what they know of each of your users. Constructing one asks nothing of the server. */
export class LettaClient {
  /** The server's address. */
  readonly baseUrl: string;
  private readonly connection: Connection;

  constructor(options: ClientOptions = {}) {
    this.connection = new Connection(settingsOf(options));
    this.baseUrl = this.connection.settings.baseUrl;
  }

  /** Makes an agent; with `ifNotExists`, only where there is none of that name. */
  async createAgent(options: CreateAgentOptions): Promise<Agent> {
    const { ifNotExists, requireUser, embeddingConfig, signal, timeout, ...body } = options;
    const json = await this.connection.json<Json>({
      method: "POST",
      path: "/api/agents/",
      body: { ...body, embedding_config: embeddingConfig, if_not_exists: ifNotExists, require_user: requireUser },
      repeatable: ifNotExists === true,
      signal,
      timeout,
    });
    return agentOf(json);
  }

  /** All agents: `await client.listAgents()` is an array, `await client.listAgents().find(...)` one of them. */
  listAgents(options: CallOptions = {}): AgentList {
    return new AgentList(() => this.agents(options));
  }

  /** One agent. */
  async getAgent(agentId: string, options: CallOptions = {}): Promise<Agent> {
    const json = await this.connection.json<Json>({
      method: "GET",
      path: `${agentPath(agentId)}?include_relationships=`,
      repeatable: true,
      ...options,
    });
    return agentOf(json);
  }

  /** Deletes an agent, with all that it knows. */
  async deleteAgent(agentId: string, options: CallOptions = {}): Promise<void> {
    await this.connection.json({ method: "DELETE", path: agentPath(agentId), repeatable: true, ...options });
  }

  /** Says something to an agent and waits for its answer. With a `signal` that aborts, the agent stops as well. */
  async sendMessage(agentId: string, options: MessageOptions): Promise<MessageResponse> {
    const { signal, timeout = this.connection.settings.turnTimeout } = options;
    signal?.throwIfAborted();
    const named = { ...options, otid: options.otid ?? newOtid() };
    try {
      return responseOf(await this.connection.json<Json>({ ...this.message(agentId, named), signal, timeout }));
    } catch (error) {
      // Under the same otid a stream attaches to the run, and tells which one has to be cancelled.
      if (signal?.aborted) void this.streamMessage(agentId, { ...named, signal: undefined }).cancel();
      throw error;
    }
  }

  /** Says something to an agent; the answer comes while it speaks. */
  streamMessage(agentId: string, options: MessageOptions): MessageStream {
    const ask = this.message(agentId, options, { stream: true });
    const cancel = `${agentPath(agentId)}/messages/cancel`;
    return new MessageStream({
      open: (signal, repeatSignal) => this.connection.open({ ...ask, signal, repeatSignal, timeout: options.timeout }),
      cancelRun: async (runId) => {
        await this.connection.json({ method: "POST", path: cancel, body: { run_ids: [runId] }, repeatable: true });
      },
      signal: options.signal,
    });
  }

  /** Searches what was stored: what is common to all and, with `userId`, what is that person's. */
  async searchMemory(agentId: string, options: SearchOptions): Promise<SearchResult[]> {
    const { query, limit, userId, ...call } = options;
    const json = await this.connection.json<Json>({
      method: "POST",
      path: `${agentPath(agentId)}/memory/search`,
      body: { query, limit, user_id: userId },
      repeatable: true,
      ...call,
    });
    return records(json["results"]).map(resultOf);
  }

  /** Stores something for a person, or for all. */
  async addMemory(agentId: string, options: AddMemoryOptions): Promise<AddedMemory> {
    const { content, type, userId, ...call } = options;
    return this.connection.json<AddedMemory>({
      method: "POST",
      path: `${agentPath(agentId)}/memory`,
      body: { content, type, user_id: userId },
      repeatable: false,
      ...call,
    });
  }

  /** What was said with a person, oldest first: the newest messages, or those before one of them. */
  async history(agentId: string, options: HistoryOptions = {}): Promise<HistoryMessage[]> {
    const { userId, limit = HISTORY, before, ...call } = options;
    const found: HistoryMessage[] = [];
    for (let after = before; found.length < limit; ) {
      const page: Json[] = await this.connection.json({
        method: "GET",
        path: `${agentPath(agentId)}/messages`,
        query: {
          user_id: userId,
          conversation_id: userId === undefined && !this.connection.settings.isOnePersons ? "default" : undefined,
          include_return_message_types: SPOKEN,
          order: "desc",
          limit: PAGE,
          after,
        },
        repeatable: true,
        ...call,
      });
      for (const json of page) {
        const message = historyMessageOf(json);
        if (message !== undefined) found.push(message);
      }
      after = String(page.at(-1)?.["id"]);
      if (page.length === 0) break;
    }
    return found.slice(0, limit).reverse();
  }

  /** Forgets a person: their thread, their blocks, their passages, and every trace of them. */
  async forgetUser(agentId: string, userId: string, options: CallOptions = {}): Promise<ForgetReceipt> {
    const json = await this.connection.json<Json>({
      method: "DELETE",
      path: `${agentPath(agentId)}/users/${segment("the userId", userId)}`,
      repeatable: true,
      ...options,
    });
    return receiptOf(json);
  }

  /** A token with which a browser may chat as this person, and do nothing else. */
  async createUserToken(options: UserTokenOptions): Promise<UserToken> {
    const { agentId, userId, ttl, ...call } = options;
    const json = await this.connection.json<Json>({
      method: "POST",
      path: "/v1/user-tokens",
      body: { agent_id: agentId, user_id: userId, ttl },
      repeatable: true,
      ...call,
    });
    return tokenOf(json);
  }

  private async *agents(options: CallOptions): AsyncGenerator<Agent, void, void> {
    for (let after: string | undefined; ; ) {
      const page: Json[] = await this.connection.json({
        method: "GET",
        path: "/v1/agents/",
        query: { limit: PAGE, order: "asc", include_relationships: "", after },
        repeatable: true,
        ...options,
      });
      yield* page.map(agentOf);
      after = String(page.at(-1)?.["id"]);
      if (page.length < PAGE) return;
    }
  }

  /** The request is safe to repeat: the server knows the message again by its otid. */
  private message(agentId: string, options: MessageOptions, more: Json = {}): Ask {
    const { message, userId, otid = newOtid() } = options;
    return {
      method: "POST",
      path: `/api/agents/${segment("the agent's id", agentId)}/messages`,
      body: { message, user_id: userId, otid, ...more },
      repeatable: true,
    };
  }
}

function agentPath(agentId: string): string {
  return `/v1/agents/${segment("the agent's id", agentId)}`;
}

/** A random UUID; browsers make one by themselves only on pages that came by https. */
function newOtid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
