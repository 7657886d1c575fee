"""The posts that tell a client's server that a run ended."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from programs import MODEL, Server, eventually


class Receiver:
    """A client's own server: it keeps what is posted to it, and answers as told."""

    def __init__(self):
        self.posts, self.statuses = [], []
        receiver = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.posts.append((time.monotonic(), json.loads(body)))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ended"
        threading.Thread(target=self.server.serve_forever).start()

    def of(self, run_id):
        return [body for _, body in self.posts if body["run_id"] == run_id]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def open_server(engine, model):
    """A server that may post to this machine."""
    running = Server(engine, model, MNEMIC_ALLOW_PRIVATE_URLS="true").start()
    yield running
    running.close()


def begin(sdk, agent, text, url):
    said = [{"role": "user", "content": text}]
    return sdk.agents.messages.create_async(agent.id, messages=said, callback_url=url)


def test_the_end_of_a_run_is_posted_once_with_its_answer(open_server, own_client, receiver, token):
    sdk = own_client(open_server)
    agent = sdk.agents.create(model=MODEL)
    run = begin(sdk, agent, f"[[echo]] {token}", receiver.url)
    assert run.callback_url == receiver.url
    eventually(lambda: sdk.runs.retrieve(run.id).callback_sent_at, "the callback is noted on its run")
    [body] = receiver.of(run.id)
    assert body["status"] == "completed"
    assert body["completed_at"]
    [message] = body["metadata"]["result"]["messages"]
    assert message["message_type"] == "assistant_message"
    assert token in message["content"]
    stored = sdk.runs.retrieve(run.id)
    assert stored.callback_status_code == 204
    assert stored.callback_error is None
    time.sleep(2.5)
    assert len(receiver.of(run.id)) == 1


def test_a_failed_and_a_cancelled_run_are_posted_as_such(open_server, own_client, receiver):
    sdk = own_client(open_server)
    agent = sdk.agents.create(model=MODEL)
    failed = begin(sdk, agent, "[[error 400]]", receiver.url)
    eventually(lambda: receiver.of(failed.id), "the failure is posted")
    [body] = receiver.of(failed.id)
    assert body["status"] == "failed"
    assert body["metadata"]["error"]["error_type"].startswith("llm_")
    assert "result" not in body["metadata"]
    waiting = begin(sdk, agent, "[[hang]]", receiver.url)
    sdk.agents.messages.cancel(agent.id, run_ids=[waiting.id])
    eventually(lambda: receiver.of(waiting.id), "the cancel is posted")
    assert receiver.of(waiting.id)[0]["status"] == "cancelled"


def test_a_receiver_that_fails_is_asked_again(open_server, own_client, receiver):
    sdk = own_client(open_server)
    agent = sdk.agents.create(model=MODEL)
    receiver.statuses = [503]
    run = begin(sdk, agent, "hello", receiver.url)
    eventually(lambda: len(receiver.of(run.id)) == 2, "the second try", 20)
    eventually(lambda: sdk.runs.retrieve(run.id).callback_status_code == 204, "the second try is noted")


def test_a_callback_outlives_the_server(engine, model, own_client, receiver, token):
    server = Server(engine, model, MNEMIC_ALLOW_PRIVATE_URLS="true").start()
    try:
        sdk = own_client(server)
        agent = sdk.agents.create(model=MODEL)
        run = begin(sdk, agent, f"[[hold {token}]] hello", receiver.url)
        server.kill()
        model.release(token)
        server.start()
        eventually(lambda: receiver.of(run.id), "the end is posted by the next process", 20)
        assert receiver.of(run.id)[0]["status"] == "completed"
    finally:
        server.close()


def test_nothing_is_posted_to_private_addresses(client, http, agent, receiver):
    """The shared server has the default: no private addresses."""
    body = {"messages": [{"role": "user", "content": "hello"}], "callback_url": receiver.url}
    answer = http.post(f"/v1/agents/{agent.id}/messages/async", json=body)
    assert answer.status_code == 422, answer.text
    assert "callback_url" in answer.text and "allow_private_urls" in answer.text
    named = receiver.url.replace("127.0.0.1", "localhost")
    answer = http.post(f"/v1/agents/{agent.id}/messages/async", json=body | {"callback_url": named})
    assert answer.status_code == 200, answer.text
    run = answer.json()["id"]
    eventually(lambda: client.runs.retrieve(run).callback_error, "the refusal is noted")
    assert "public" in client.runs.retrieve(run).callback_error
    assert receiver.posts == []
    for odd in ["ftp://example.com", "no url", "http://user:password@example.com", "http://example.com/" + "x" * 9000]:
        answer = http.post(f"/v1/agents/{agent.id}/messages/async", json=body | {"callback_url": odd})
        assert answer.status_code == 422, answer.text
