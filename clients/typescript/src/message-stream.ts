import { errorOfFrame, isRecord, MnemicError } from "./errors.js";
import { frames, type Frame } from "./frames.js";
import { sseOf, uiChunks } from "./ui-message-stream.js";
import type { MemoryChanges, Usage } from "./types.js";
import { deferred, quiet } from "./promises.js";
import { contentOf, memoryOf, usageOf } from "./wire.js";

/** A piece of what the agent says, and the message it belongs to: an agent may say something before and after it uses a tool. */
export interface Delta {
  messageId: string;
  text: string;
}

/** What a stream needs of the client. */
export interface StreamSource {
  /** Sends the message; `signal` ends the request, `repeatSignal` only the pauses before it is sent again. */
  open(signal: AbortSignal, repeatSignal: AbortSignal): Promise<Response>;
  cancelRun(runId: string): Promise<void>;
  /** The caller's own. */
  signal: AbortSignal | undefined;
}

/** How a `Response` is made. */
export interface UIMessageStreamInit extends ResponseInit {
  /** What the browser is told of a failure; it is not told the failure itself, which may name what it must not know. */
  onError?: (error: unknown) => string;
}

/** The server sends a sign of life every 20 seconds. */
const LONGEST_SILENCE_MS = 65_000;
/** How long a cancelled stream waits to learn which run it has to cancel. */
const LONGEST_LEAVE_MS = 10_000;

/**
 * The answer while the agent speaks: iterate over it for the pieces of its text. The message is on its way as soon as this
 * exists. Leaving the loop early, aborting the signal and cancelling a response's body all cancel the run on the server.
 */
export class MessageStream implements AsyncIterable<string> {
  /** The run's id, as soon as the server has taken the message; fails as the request does. */
  readonly runId: Promise<string>;
  /** What the turn wrote into the memory; there when the stream has ended. */
  readonly memory: Promise<MemoryChanges>;
  /** What the turn cost; there when the stream has ended. */
  readonly usage: Promise<Usage>;
  /** Why the turn ended; there when the stream has ended. */
  readonly stopReason: Promise<string>;
  /** The whole text; there when the stream has ended. */
  readonly text: Promise<string>;

  private readonly deltas: Delta[] = [];
  private readonly told: { memory: MemoryChanges; usage: Usage; stopReason: string } = {
    memory: memoryOf({}),
    usage: usageOf({}),
    stopReason: "",
  };
  private readonly taken = deferred<string>();
  private readonly whole = deferred<void>();
  private readonly request = new AbortController();
  private readonly repeats = new AbortController();
  private end: { failed: boolean; reason?: unknown } | undefined;
  private isLeft = false;
  private leaving: Promise<void> | undefined;
  private changed = deferred<void>();

  constructor(private readonly source: StreamSource) {
    const { promise } = this.whole;
    this.runId = this.taken.promise;
    this.memory = quiet(promise.then(() => this.told.memory));
    this.usage = quiet(promise.then(() => this.told.usage));
    this.stopReason = quiet(promise.then(() => this.told.stopReason));
    this.text = quiet(promise.then(() => joined(this.deltas)));
    const { signal } = source;
    if (signal?.aborted) {
      this.isLeft = true;
      this.finish({ failed: true, reason: signal.reason });
      this.taken.reject(signal.reason);
      return;
    }
    const leave = () => void this.cancel(signal?.reason);
    signal?.addEventListener("abort", leave, { once: true });
    void this.readAll().finally(() => signal?.removeEventListener("abort", leave));
  }

  /** Cancels the run on the server; what reads the stream fails with `reason`. Done when the server has been told. */
  cancel(reason: unknown = new DOMException("the stream was cancelled", "AbortError")): Promise<void> {
    if (this.end === undefined) {
      this.isLeft = true;
      this.finish({ failed: true, reason });
      this.leaving = this.leave();
    }
    return this.leaving ?? Promise.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, void> {
    let before: Delta | undefined;
    for await (const delta of this.pieces()) {
      yield between(before, delta) + delta.text;
      before = delta;
    }
  }

  /** A `text/plain` response that streams the text. */
  toTextResponse(init?: ResponseInit): Response {
    return this.response(this[Symbol.asyncIterator](), { "content-type": "text/plain; charset=utf-8" }, init);
  }

  /** A response in the AI SDK's UI message stream protocol, as `useChat` reads it. */
  toUIMessageStreamResponse(init: UIMessageStreamInit = {}): Response {
    const { onError = () => "An error occurred.", ...rest } = init;
    const outcome = { stopReason: this.stopReason, isLeft: () => this.isLeft };
    const headers = {
      "content-type": "text/event-stream",
      "cache-control": "no-cache",
      "x-vercel-ai-ui-message-stream": "v1",
      "x-accel-buffering": "no",
    };
    return this.response(sseOf(uiChunks(this.pieces(), outcome, onError)), headers, rest);
  }

  private response(chunks: AsyncGenerator<string>, headers: Record<string, string>, init?: ResponseInit): Response {
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      cancel: () => this.cancel(),
    });
    const all = new Headers(headers);
    new Headers(init?.headers).forEach((value, name) => all.set(name, value));
    return new Response(body, { ...init, headers: all });
  }

  /** Every reader gets all pieces from the first on, and cancels the run when it stops before the last. */
  private async *pieces(): AsyncGenerator<Delta, void, void> {
    let isThrough = false;
    try {
      for (let next = 0; ; ) {
        const delta = this.isLeft ? undefined : this.deltas[next];
        if (delta !== undefined) {
          next++;
          yield delta;
        } else if (this.end === undefined) {
          await this.changed.promise;
        } else {
          isThrough = true;
          if (this.end.failed) throw this.end.reason;
          return;
        }
      }
    } finally {
      if (!isThrough) void this.cancel();
    }
  }

  private async readAll(): Promise<void> {
    try {
      const response = await this.source.open(this.request.signal, this.repeats.signal);
      await this.readBody(response);
    } catch (error) {
      this.finish({ failed: true, reason: error });
    } finally {
      this.taken.reject(this.end?.reason ?? new MnemicError("the stream named no run", { code: "stream_interrupted" }));
    }
  }

  private async readBody(response: Response): Promise<void> {
    const requestId = response.headers.get("x-request-id") ?? undefined;
    const interrupted = (why: string, cause?: unknown) =>
      new MnemicError(`${why}; the run goes on, and its answer will stand in the history`, {
        code: "stream_interrupted",
        requestId,
        cause,
      });
    let isSilent = false;
    const silence = () =>
      setTimeout(() => {
        isSilent = true;
        this.request.abort();
      }, LONGEST_SILENCE_MS);
    let timer = silence();
    try {
      if (response.body === null) throw new TypeError("the answer has no body");
      for await (const frame of frames(response.body)) {
        clearTimeout(timer);
        timer = silence();
        if (frame.data === "[DONE]") return this.finish({ failed: false });
        this.take(frame, requestId);
      }
    } catch (error) {
      if (error instanceof MnemicError) throw error;
      throw interrupted(isSilent ? `the server was silent for ${LONGEST_SILENCE_MS} ms` : "the stream broke off", error);
    } finally {
      clearTimeout(timer);
    }
    throw interrupted("the stream ended in the middle");
  }

  private take(frame: Frame, requestId: string | undefined): void {
    const json: unknown = JSON.parse(frame.data);
    if (!isRecord(json)) return;
    if (typeof json["run_id"] === "string") this.taken.resolve(json["run_id"]);
    const kind = json["message_type"];
    if (frame.event === "error" || kind === "error_message") throw errorOfFrame(json, requestId);
    if (kind === "usage_statistics") this.told.usage = usageOf(json);
    else if (kind === "memory") this.told.memory = memoryOf(json);
    else if (kind === "stop_reason") this.told.stopReason = String(json["stop_reason"]);
    else if (kind === "assistant_message") this.say(String(json["id"]), contentOf(json["content"]));
  }

  private say(messageId: string, text: string): void {
    if (text === "") return;
    this.deltas.push({ messageId, text });
    this.wake();
  }

  private finish(end: { failed: boolean; reason?: unknown }): void {
    if (this.end !== undefined) return;
    this.end = end;
    if (end.failed) this.whole.reject(end.reason);
    else this.whole.resolve();
    this.wake();
  }

  private wake(): void {
    this.changed.resolve();
    this.changed = deferred();
  }

  /** Tells the server, once it is known what to cancel; never fails, as nobody could do anything about it. */
  private async leave(): Promise<void> {
    this.repeats.abort();
    const timer = setTimeout(() => this.request.abort(), LONGEST_LEAVE_MS);
    try {
      await this.source.cancelRun(await this.taken.promise);
    } catch {
      // There is no run, or it ends by itself.
    } finally {
      clearTimeout(timer);
      this.request.abort();
    }
  }
}

/** What an agent says after it used a tool begins a new paragraph. */
function between(before: Delta | undefined, delta: Delta): string {
  return before === undefined || before.messageId === delta.messageId ? "" : "\n\n";
}

function joined(deltas: readonly Delta[]): string {
  return deltas.map((delta, index) => between(deltas[index - 1], delta) + delta.text).join("");
}
