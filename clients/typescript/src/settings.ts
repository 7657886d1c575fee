import { MnemicError } from "./errors.js";

/** How a client finds the server and asks it. */
export interface ClientOptions {
  /** An API key, the server's password, or a user token; else `MNEMIC_TOKEN`, `LETTA_API_KEY` or `LETTA_TOKEN`. */
  apiKey?: string | undefined;
  /** The server's address; else `MNEMIC_BASE_URL`, `LETTA_BASE_URL` or `http://localhost:8283`. */
  baseUrl?: string | undefined;
  /** Milliseconds for a call in which no agent speaks; 60,000 unless set. */
  timeout?: number | undefined;
  /** Milliseconds for a whole answer of an agent; 600,000 unless set. Streams have no such limit. */
  turnTimeout?: number | undefined;
  /** How often a call is repeated that the server was too busy for, or that the network lost; 2 unless set. */
  maxRetries?: number | undefined;
  /** Headers that go along with every request. */
  headers?: Record<string, string> | undefined;
  /** What is called in the place of the global `fetch`. */
  fetch?: typeof fetch | undefined;
}

/** The same with nothing left open. */
export interface Settings {
  apiKey: string | undefined;
  /** Whether the key is a user token: whatever names nobody is about its person then. */
  isOnePersons: boolean;
  baseUrl: string;
  timeout: number;
  turnTimeout: number;
  maxRetries: number;
  headers: Record<string, string>;
  fetch: typeof fetch;
}

const BASE_URL = "http://localhost:8283";
const TIMEOUT_MS = 60_000;
const TURN_TIMEOUT_MS = 600_000;
const MAX_RETRIES = 2;
/** What the server begins its user tokens with. */
const USER_TOKEN = "mnu_";

export function settingsOf(options: ClientOptions): Settings {
  const apiKey = options.apiKey || fromEnvironment("MNEMIC_TOKEN", "LETTA_API_KEY", "LETTA_TOKEN");
  const baseUrl = options.baseUrl || fromEnvironment("MNEMIC_BASE_URL", "LETTA_BASE_URL") || BASE_URL;
  return {
    apiKey,
    isOnePersons: apiKey?.startsWith(USER_TOKEN) === true,
    baseUrl: checked(baseUrl),
    timeout: options.timeout ?? TIMEOUT_MS,
    turnTimeout: options.turnTimeout ?? TURN_TIMEOUT_MS,
    maxRetries: options.maxRetries ?? MAX_RETRIES,
    headers: { ...options.headers },
    // Browsers refuse a `fetch` that is called as a method of something else than the global object.
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
  };
}

function checked(baseUrl: string): string {
  if (!/^https?:\/\/[^/]/i.test(baseUrl)) {
    throw new MnemicError(`baseUrl is ${JSON.stringify(baseUrl)}; it has to begin with http:// or https://`, {
      code: "invalid_base_url",
    });
  }
  return baseUrl.replace(/\/+$/, "");
}

/** Browsers have no environment, and Deno may refuse to show it; both count as an empty one. */
function fromEnvironment(...names: string[]): string | undefined {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  for (const name of names) {
    try {
      const value = process?.env?.[name];
      if (value) return value;
    } catch {
      return undefined;
    }
  }
  return undefined;
}
