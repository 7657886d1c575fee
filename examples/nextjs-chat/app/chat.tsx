"use client";

import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";
import { forgetMe } from "./actions";

interface Message {
  id: string;
  role: "user" | "assistant";
  content: string;
}

const AWAY = "Juno can't be reached right now. What you have told her is safe; please try again in a moment.";

export function Chat({ history, isAway }: { history: Message[]; isAway: boolean }) {
  const [messages, setMessages] = useState(history);
  const [notice, setNotice] = useState(isAway ? AWAY : "");
  const [answering, setAnswering] = useState<AbortController>();
  const end = useRef<HTMLDivElement>(null);
  const question = useRef<HTMLDialogElement>(null);

  useEffect(() => {
    end.current?.scrollIntoView({ block: "end" });
  }, [messages]);

  async function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const message = String(new FormData(event.currentTarget).get("message")).trim();
    if (message === "" || answering) return;
    event.currentTarget.reset();
    const leaving = new AbortController();
    setAnswering(leaving);
    setNotice("");
    const id = crypto.randomUUID();
    setMessages((all) => [
      ...all,
      { id: `${id}-user`, role: "user", content: message },
      { id, role: "assistant", content: "" },
    ]);
    const hear = (piece: string) =>
      setMessages((all) => all.map((one) => (one.id === id ? { ...one, content: one.content + piece } : one)));
    try {
      await ask(message, leaving.signal, hear);
    } catch (error) {
      if (!leaving.signal.aborted) setNotice(error instanceof Refused ? error.message : "The answer broke off. Please try again.");
    } finally {
      setAnswering(undefined);
      setMessages((all) => all.filter((one) => one.id !== id || one.content !== ""));
    }
  }

  async function forget() {
    question.current?.close();
    const isForgotten = await forgetMe();
    if (isForgotten) setMessages([]);
    setNotice(isForgotten ? "Juno has forgotten you, and everything you said." : AWAY);
  }

  return (
    <>
      <main className="talk" role="log" aria-label="Conversation" aria-live="polite" aria-busy={answering !== undefined}>
        {messages.length === 0 && <p className="hint">Say hello. Juno will remember what you tell her.</p>}
        {messages.map(({ id, role, content }) => (
          <div key={id} className={`message ${role}`} data-role={role}>
            <span className="hidden">{role === "user" ? "You: " : "Juno: "}</span>
            {content || <span className="dots" role="status" aria-label="Juno is thinking"><i /><i /><i /></span>}
          </div>
        ))}
        <div ref={end} />
      </main>
      <p className="notice" role="status">{notice}</p>
      <form className="say" onSubmit={send}>
        <label className="hidden" htmlFor="message">Message</label>
        <textarea id="message" name="message" rows={1} maxLength={8000} placeholder="Write to Juno" onKeyDown={sendOnEnter} />
        {answering
          ? <button type="button" onClick={() => answering.abort()}>Stop</button>
          : <button>Send</button>}
      </form>
      <footer className="foot">
        <button className="quiet" onClick={() => question.current?.showModal()} disabled={answering !== undefined}>
          Forget me
        </button>
      </footer>
      <dialog ref={question} aria-labelledby="question">
        <h2 id="question">Shall Juno forget you?</h2>
        <p>Everything that you said and that she noted about you is removed. This cannot be undone.</p>
        <div className="choice">
          <button className="quiet" onClick={() => question.current?.close()}>Keep it</button>
          <button className="danger" onClick={forget}>Forget everything</button>
        </div>
      </dialog>
    </>
  );
}

/** The server said why it does not answer, in words for whoever reads the page. */
class Refused extends Error {}

async function ask(message: string, signal: AbortSignal, hear: (piece: string) => void): Promise<void> {
  const response = await fetch("/api/chat", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ message }),
    signal,
  });
  if (response.status === 401) return window.location.assign("/sign-in");
  if (!response.ok || !response.body) throw new Refused(((await response.json()) as { error: string }).error);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    hear(value);
  }
}

function sendOnEnter(event: KeyboardEvent<HTMLTextAreaElement>) {
  if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
  event.preventDefault();
  event.currentTarget.form?.requestSubmit();
}
