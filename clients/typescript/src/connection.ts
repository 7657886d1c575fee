import { errorOfAnswer, MnemicError } from "./errors.js";
import type { Settings } from "./settings.js";

/** One request to the server. */
export interface Ask {
  method: "GET" | "POST" | "PATCH" | "DELETE";
  path: string;
  query?: Record<string, string | number | readonly string[] | undefined>;
  body?: unknown;
  /** Whether it may be sent again when nobody knows if it arrived. */
  repeatable: boolean;
  signal?: AbortSignal | undefined;
  /** Ends the pauses between attempts, and no attempt. */
  repeatSignal?: AbortSignal | undefined;
  /** Milliseconds for one attempt; Infinity for none. */
  timeout?: number | undefined;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;
/** Whoever is asked to wait longer is told so in place of waiting. */
const LONGEST_RETRY_AFTER_S = 60;

/** Requests with their time limits, repeated where that is safe. */
export class Connection {
  constructor(readonly settings: Settings) {}

  /** The JSON of an answer. */
  async json<T>(ask: Ask): Promise<T> {
    return this.repeated(ask, async (response) => {
      const text = await response.text();
      if (!response.ok) throw errorOfAnswer(response, text);
      return parsed(response, text) as T;
    });
  }

  /** An answer whose body is still to be read; the time limit is that of its beginning. */
  async open(ask: Ask): Promise<Response> {
    return this.repeated(ask, async (response) => {
      if (!response.ok) throw errorOfAnswer(response, await response.text());
      return response;
    });
  }

  private async repeated<T>(ask: Ask, read: (response: Response) => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.attempt(ask, attempt, read);
      } catch (error) {
        if (!(error instanceof MnemicError) || attempt >= this.settings.maxRetries || !mayRepeat(error, ask)) throw error;
        await pause(pauseAfter(error, attempt), ask.repeatSignal ?? ask.signal);
      }
    }
  }

  private async attempt<T>(ask: Ask, attempt: number, read: (response: Response) => Promise<T>): Promise<T> {
    const { signal } = ask;
    signal?.throwIfAborted();
    const timeout = ask.timeout ?? this.settings.timeout;
    const ending = new AbortController();
    const leave = () => ending.abort(signal?.reason);
    signal?.addEventListener("abort", leave, { once: true });
    let timedOut = false;
    const timer = Number.isFinite(timeout)
      ? setTimeout(() => {
          timedOut = true;
          ending.abort();
        }, timeout)
      : undefined;
    let opened = false;
    try {
      const response = await this.settings.fetch(this.url(ask), this.request(ask, attempt, ending.signal));
      const answer = await read(response);
      opened = answer === response;
      return answer;
    } catch (error) {
      if (error instanceof MnemicError) throw error;
      signal?.throwIfAborted();
      throw timedOut ? tooLate(ask, timeout, error) : unreachable(this.settings.baseUrl, error);
    } finally {
      clearTimeout(timer);
      // The body of an open answer still ends with the signal.
      if (!opened) signal?.removeEventListener("abort", leave);
    }
  }

  private url(ask: Ask): string {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(ask.query ?? {})) {
      if (value === undefined) continue;
      for (const one of Array.isArray(value) ? value : [value]) query.append(name, String(one));
    }
    const asked = query.toString();
    return `${this.settings.baseUrl}${ask.path}${asked === "" ? "" : `?${asked}`}`;
  }

  private request(ask: Ask, attempt: number, signal: AbortSignal): RequestInit {
    const { apiKey, headers } = this.settings;
    return {
      method: ask.method,
      headers: {
        accept: "application/json",
        ...(ask.body === undefined ? {} : { "content-type": "application/json" }),
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        // By this the server knows a message again that it got before.
        ...(attempt === 0 ? {} : { "x-stainless-retry-count": String(attempt) }),
        ...headers,
      },
      ...(ask.body === undefined ? {} : { body: JSON.stringify(ask.body) }),
      signal,
    };
  }
}

/** A part of a path. What would change the path's meaning is refused: `users/..` is another route. */
export function segment(what: string, value: string): string {
  if (typeof value !== "string" || value === "" || value === "." || value === "..") {
    throw new MnemicError(`${what} is ${JSON.stringify(value)}, which can't be part of an address`, {
      code: "invalid_request",
    });
  }
  return encodeURIComponent(value);
}

function parsed(response: Response, text: string): unknown {
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch (cause) {
    throw new MnemicError("the answer is no JSON; is this the server's address?", {
      code: "bad_answer",
      status: response.status,
      details: text.slice(0, 500),
      cause,
    });
  }
}

function mayRepeat(error: MnemicError, ask: Ask): boolean {
  if (error.status === 429 || error.status === 503) return (error.retryAfter ?? 0) <= LONGEST_RETRY_AFTER_S;
  return error.code === "network_error" && ask.repeatable;
}

function pauseAfter(error: MnemicError, attempt: number): number {
  if (error.retryAfter !== undefined) return error.retryAfter * 1000;
  // Clients that failed together do not come back together.
  return Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS) * (0.75 + Math.random() / 4);
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", leave);
      resolve();
    }, ms);
    signal?.addEventListener("abort", leave, { once: true });
    if (signal?.aborted) leave();
  });
}

function tooLate(ask: Ask, timeout: number, cause: unknown): MnemicError {
  return new MnemicError(`${ask.method} ${ask.path} had no answer within ${timeout} ms`, { code: "timeout", cause });
}

function unreachable(baseUrl: string, cause: unknown): MnemicError {
  const why = cause instanceof Error ? (cause.cause instanceof Error ? cause.cause.message : cause.message) : String(cause);
  return new MnemicError(`no answer from ${baseUrl} (${why}); is the server running there?`, {
    code: "network_error",
    cause,
  });
}
