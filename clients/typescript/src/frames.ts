/** One event of a stream of server-sent events. */
export interface Frame {
  event: string | undefined;
  data: string;
}

/** The events of a body, as https://html.spec.whatwg.org/multipage/server-sent-events.html reads them; comments are skipped. */
export async function* frames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame, void, void> {
  let event: string | undefined;
  let data: string[] = [];
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length > 0) yield { event, data: data.join("\n") };
      event = undefined;
      data = [];
      continue;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") data.push(value);
    else if (field === "event") event = value;
  }
}

/** Lines end with CR, LF or both; a chunk may end in the middle of a character or between CR and LF. */
async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      // Whether a last CR is half of a CR LF is known only with what follows.
      const whole = done || !rest.endsWith("\r") ? rest : rest.slice(0, -1);
      const found = whole.split(/\r\n|\r|\n/);
      const unfinished = found.pop() ?? "";
      rest = unfinished + rest.slice(whole.length);
      yield* found;
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
