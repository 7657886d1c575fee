"""Images in messages."""

import base64
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from talk import of_kind


def png():
    """A picture of one red pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


DATA = base64.b64encode(png()).decode()


def said(text, source):
    content = [{"type": "text", "text": text}, {"type": "image", "source": source}]
    return {"messages": [{"role": "user", "content": content}]}


@pytest.fixture
def picture_server():
    """A server of this machine, as an attacker would name it."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-type", "image/png")
            self.end_headers()
            self.wfile.write(png())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


def test_an_image_reaches_the_model_as_it_was(http, agent, model, token):
    source = {"type": "base64", "media_type": "image/png", "data": DATA}
    answer = http.post(f"/v1/agents/{agent.id}/messages", json=said(f"look {token}", source))
    assert answer.status_code == 200, answer.text
    text, image = model.last_request(f"look {token}")["messages"][-1]["content"]
    assert text == {"type": "text", "text": f"look {token}"}
    assert image["type"] == "image_url" and image["image_url"]["url"] == f"data:image/png;base64,{DATA}"


def test_an_image_stays_in_the_history_and_in_the_context(http, client, agent, model, token):
    source = {"type": "base64", "media_type": "image/png", "data": DATA}
    http.post(f"/v1/agents/{agent.id}/messages", json=said("look", source)).raise_for_status()
    (message,) = of_kind(client.agents.messages.list(agent.id), "user_message")
    text, image = message.content
    assert text.text == "look" and image.type == "image" and image.source.media_type == "image/png"
    http.post(f"/v1/agents/{agent.id}/messages", json={"input": f"and? {token}"}).raise_for_status()
    assert DATA in str(model.last_request(f"and? {token}")["messages"][1])


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{}", "localhost:{}", "0.0.0.0:{}", "[::1]:{}", "[::ffff:127.0.0.1]:{}", "2130706433:{}"]
)
def test_the_server_does_not_fetch_from_its_own_machine(http, client, agent, picture_server, host):
    port, asked = picture_server
    url = f"http://{host.format(port)}/picture.png"
    answer = http.post(f"/v1/agents/{agent.id}/messages", json=said("look", {"type": "url", "url": url}))
    assert answer.status_code == 400 and answer.json()["detail"]
    assert asked == []
    assert of_kind(client.agents.messages.list(agent.id), "user_message") == []


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://10.0.0.1/x.png", "file:///etc/passwd", "nonsense"])
def test_other_private_places_and_schemes_are_refused_too(http, agent, url):
    answer = http.post(f"/v1/agents/{agent.id}/messages", json=said("look", {"type": "url", "url": url}))
    assert answer.status_code in (400, 422) and answer.json()["detail"]


@pytest.mark.parametrize(
    "source",
    [
        {"type": "base64", "media_type": "image/png", "data": "not base64!"},
        {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"<html>no picture</html>").decode()},
        {"type": "base64"},
        {"type": "riddle"},
    ],
)
def test_what_is_no_image_is_refused(http, agent, source):
    answer = http.post(f"/v1/agents/{agent.id}/messages", json=said("look", source))
    assert answer.status_code in (400, 422), answer.text
