"""A server that answers as each test says, for what a client does when requests fail, wait, or break off."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Seen:
    """A request."""

    method: str
    url: str
    headers: dict
    body: dict | None


class FakeServer:
    """Answers each request as the next of `answers` does, the last one again and again."""

    def __init__(self):
        self.seen, self.answers = [], []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def _handler(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.seen.append(Seen(self.command, self.path, headers, body))
                answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                answer(self)

            do_GET = do_POST = do_DELETE = answer

        return Handler

    def close(self):
        self.http.shutdown()
        self.http.server_close()


def sends(status, body, **headers):
    """A whole answer; names of headers are written with underscores."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler):
        handler.send_response(status)
        for name, value in {"content-length": len(data), "x-request-id": "request-7", **headers}.items():
            handler.send_header(name.replace("_", "-"), str(value))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def cuts_off(handler):
    """The connection ends without an answer."""
    handler.close_connection = True


def frames(*all_frames):
    """The bytes of a stream."""
    texts = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in all_frames)
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def streams(data, size=None, until=None):
    """A stream in chunks of `size` bytes; before it ends it waits for an event."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("connection", "close")
        handler.end_headers()
        for at in range(0, len(data), size or len(data)):
            handler.wfile.write(data[at : at + (size or len(data))])
            handler.wfile.flush()
        if until:
            until.wait(20)
        handler.close_connection = True

    return answer


PING = {"message_type": "ping", "run_id": "run-1"}
END = ({"message_type": "stop_reason", "stop_reason": "end_turn"}, "[DONE]")
ANSWER = {
    "messages": [{"role": "assistant", "content": "Hello.", "id": "message-1"}],
    "memory": {"blocks": [], "passages": []}, "usage": {}, "stop_reason": "end_turn",
    "run_id": "run-1", "conversation_id": "default", "user_id": None,
}


def says(content, message_id="message-1"):
    """A frame of what the agent says."""
    return {"message_type": "assistant_message", "id": message_id, "content": content, "run_id": "run-1"}
