/** What an answer of the server, or the way to it, says about a failure. */
export interface ErrorFacts {
  status?: number | undefined;
  code: string;
  requestId?: string | undefined;
  retryAfter?: number | undefined;
  details?: unknown;
  cause?: unknown;
}

/** Every failure of a call. Only a call that your own signal ended fails with that signal's reason instead. */
export class MnemicError extends Error {
  override readonly name = "MnemicError";
  /** The HTTP status; undefined when no answer came. */
  readonly status: number | undefined;
  /** A word to branch on, such as `not_found`, `rate_limited`, `network_error`, `timeout`. */
  readonly code: string;
  /** The id under which the server's log has the request. */
  readonly requestId: string | undefined;
  /** Seconds after which the server would like to be asked again. */
  readonly retryAfter: number | undefined;
  /** The answer's body, or the frame of the stream, that told of the failure. */
  readonly details: unknown;

  constructor(message: string, facts: ErrorFacts) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.status = facts.status;
    this.code = facts.code;
    this.requestId = facts.requestId;
    this.retryAfter = facts.retryAfter;
    this.details = facts.details;
  }
}

const CODES: Record<number, string> = {
  400: "bad_request",
  401: "unauthorized",
  402: "insufficient_credits",
  403: "forbidden",
  404: "not_found",
  409: "conflict",
  413: "too_large",
  422: "invalid_request",
  429: "rate_limited",
  503: "unavailable",
};

/** What the server says of a credential that it does not know (any more), and what its caller can do about it. */
const REFUSED = "Unauthorized";
const WHY_REFUSED = "the server does not take this apiKey: it is missing or wrong, was revoked, or its time is over; get a new one";

/** The error of an answer that is not a success. */
export function errorOfAnswer(response: Response, text: string): MnemicError {
  const body = parsed(text);
  const { code, message } = named(body);
  const { status } = response;
  const told = status === 401 && message === REFUSED ? WHY_REFUSED : message;
  return new MnemicError(told ?? `the server answered ${status} ${response.statusText}`.trimEnd(), {
    status,
    code: code ?? CODES[status] ?? (status >= 500 ? "server_error" : "request_failed"),
    requestId: response.headers.get("x-request-id") ?? undefined,
    retryAfter: secondsOf(response.headers.get("retry-after")),
    details: body,
  });
}

/** The error of a stream's last frame. */
export function errorOfFrame(frame: Record<string, unknown>, requestId: string | undefined): MnemicError {
  const message = typeof frame["message"] === "string" ? frame["message"] : "the agent's run failed";
  const code = typeof frame["error_type"] === "string" ? frame["error_type"] : "run_failed";
  return new MnemicError(message, { status: 200, code, requestId, details: frame });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The server says `{"detail": "..."}`, `{"detail": {code, message}}`, `{"detail": [{loc, msg}]}` or `{"error": {type, message}}`. */
function named(body: unknown): { code?: string | undefined; message?: string | undefined } {
  if (!isRecord(body)) return { message: typeof body === "string" && body !== "" ? body.slice(0, 500) : undefined };
  const { detail, error } = body;
  if (typeof detail === "string") return { message: detail };
  if (Array.isArray(detail)) return { message: detail.map(issue).join("; ") };
  for (const told of [detail, error]) {
    if (!isRecord(told)) continue;
    const code = told["code"] ?? told["type"];
    const message = told["message"];
    return {
      code: typeof code === "string" ? code.toLowerCase() : undefined,
      message: typeof message === "string" ? message : JSON.stringify(told),
    };
  }
  return { message: typeof error === "string" ? error : undefined };
}

function issue(one: unknown): string {
  if (!isRecord(one)) return String(one);
  const place = Array.isArray(one["loc"]) ? `${one["loc"].join(".")}: ` : "";
  return `${place}${String(one["msg"] ?? JSON.stringify(one))}`;
}

/** `Retry-After` is a number of seconds or a date. */
function secondsOf(header: string | null): number | undefined {
  if (header === null || header.trim() === "") return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const until = Date.parse(header);
  return Number.isNaN(until) ? undefined : Math.max(0, (until - Date.now()) / 1000);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
