"""A model hub on this machine, which serves the real files of the embedding model."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from programs import named

MODEL_ID = "all-MiniLM-L6-v2"
PIECE = 1 << 20


def files():
    """The folder with the real files."""
    return Path(named("MNEMIC_MODELS_DIR")) / MODEL_ID


class Hub:
    """Serves files whole or from a byte on. `stop_after` bytes of a file it waits until `go_on` is set."""

    def __init__(self, folder=None, stop_after=None):
        self.folder = folder or files()
        self.stop_after = stop_after
        self.stopped = threading.Event()
        self.go_on = threading.Event()
        self.asked = []
        hub = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rsplit("/", 1)[1]
                start = int(self.headers.get("range", "bytes=0-")[6:-1])
                hub.asked.append((name, start))
                body = (hub.folder / name).read_bytes()
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("content-range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.send_header("content-length", str(len(body) - start))
                self.end_headers()
                try:
                    hub.send(self.wfile, body, start)
                except OSError:
                    pass  # The client went away.

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def send(self, output, body, start):
        for at in range(start, len(body), PIECE):
            if self.stop_after is not None and at >= self.stop_after:
                self.stopped.set()
                self.go_on.wait()
            output.write(body[at : at + PIECE])
            output.flush()

    def close(self):
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()
