// A server that answers as each test says, for what a client does when requests fail, wait, or break off.

import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

/** A request, and how it is answered. */
export interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: Record<string, unknown>;
  response: ServerResponse;
}

/** Answers each request as the next of `answers` does, the last one again and again. */
export class FakeServer {
  readonly seen: Seen[] = [];
  answers: ((seen: Seen) => void)[] = [];
  url = "";
  private readonly server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      const seen = { method, url, headers, body: text === "" ? {} : JSON.parse(text), response };
      this.seen.push(seen);
      const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
      answer?.(seen);
    });
  });

  async start(): Promise<void> {
    await new Promise<void>((up) => this.server.listen(0, "127.0.0.1", up));
    const address = this.server.address();
    assert.ok(typeof address === "object" && address);
    this.url = `http://127.0.0.1:${address.port}`;
  }

  stop(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

export const json =
  (status: number, body: unknown, headers: Record<string, string> = {}) =>
  ({ response }: Seen) => {
  response.writeHead(status, { "content-type": "application/json", "x-request-id": "request-7", ...headers });
  response.end(JSON.stringify(body));
};
export const cutOff = ({ response }: Seen) => void response.destroy();
export const silence = () => undefined;
export const frames = (...all: (object | string)[]) =>
  all.map((one) => `data: ${typeof one === "string" ? one : JSON.stringify(one)}\n\n`).join("");
export const stream = (...all: (object | string)[]) => ({ response }: Seen) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(frames(...all));
  if (all.at(-1) === "[DONE]") response.end();
};
export const PING = { message_type: "ping", run_id: "run-1" };
export const says = (content: string, id = "message-1") => ({ message_type: "assistant_message", id, content, run_id: "run-1" });
export const ANSWER = {
  messages: [{ role: "assistant", content: "Hello.", id: "message-1" }],
  memory: { blocks: [], passages: [] },
  usage: {},
  stop_reason: "end_turn",
  run_id: "run-1",
  conversation_id: "default",
  user_id: null,
};
