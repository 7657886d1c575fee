"""Requests and refusals, whatever they are about: ids, slashes, sizes, headers."""

import http.client
import re
import socket
import time

import pytest

from talk import send

UUID = "00000000-0000-4000-8000-0000000000ff"
COLLECTIONS = ["agents", "blocks", "tools", "runs", "steps", "conversations", "models", "messages", "tags", "providers"]


@pytest.mark.parametrize("bad", ["not-an-id", f"agent-{UUID}".replace("-4000-", "-1000-"), f"block-{UUID}", f"agent-{UUID}x"])
def test_a_malformed_id_is_422_with_an_example(http, bad):
    answer = http.get(f"/v1/agents/{bad}")
    assert answer.status_code == 422
    body = answer.json()
    assert set(body) == {"trace_id", "detail", "examples"}
    assert "string_pattern_mismatch" in body["detail"] and "agent_id" in body["detail"] and bad in body["detail"]
    assert re.match(r"^agent-[0-9a-f-]{36}$", body["examples"][0])


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/agents/agent-{UUID}", f"/v1/blocks/block-{UUID}", f"/v1/runs/run-{UUID}", f"/v1/steps/step-{UUID}",
        f"/v1/tools/tool-{UUID}", f"/v1/conversations/conv-{UUID}", f"/v1/messages/message-{UUID}",
        f"/v1/agents/agent-{UUID}/messages", f"/v1/agents/agent-{UUID}/core-memory/blocks",
        f"/v1/agents/agent-{UUID}/tools",
    ],
)
def test_an_unknown_id_is_404_with_a_reason(http, path):
    answer = http.get(path)
    assert answer.status_code == 404, answer.text
    assert isinstance(answer.json()["detail"], str) and answer.json()["detail"]


@pytest.mark.parametrize("noun", COLLECTIONS)
def test_both_slash_forms_of_a_collection_answer_directly(http, noun):
    bare, slashed = http.get(f"/v1/{noun}"), http.get(f"/v1/{noun}/")
    assert bare.status_code == slashed.status_code == 200
    assert isinstance(bare.json(), list)


def test_both_slash_forms_take_a_body(http):
    for path in ("/v1/blocks", "/v1/blocks/"):
        assert http.post(path, json={"label": "x", "value": "y"}).status_code == 200


def test_routes_are_mirrored_under_latest(http):
    assert http.get("/latest/health/").json()["status"] == "ok"
    assert http.get("/latest/agents").status_code == 200


def test_an_unknown_path_is_404_and_a_wrong_method_405(http):
    answer = http.get("/v1/nope")
    assert answer.status_code == 404 and answer.json() == {"detail": "Not Found"}
    answer = http.put("/v1/health/")
    assert answer.status_code == 405 and answer.json() == {"detail": "Method Not Allowed"}


def test_health_says_ok(http):
    for path in ("/v1/health", "/v1/health/", "/v1/ready/"):
        body = http.get(path).json()
        assert body["status"] == "ok" and body["version"]


def test_a_body_over_the_limit_is_413(http):
    answer = http.post("/v1/blocks/", json={"label": "x", "value": "y" * (40 * 1024 * 1024)})
    assert answer.status_code == 413 and answer.json()["detail"]


def test_a_field_of_a_wrong_type_is_422_and_named(http):
    answer = http.post("/v1/agents/", json={"name": 5})
    assert answer.status_code == 422
    body = answer.json()
    assert body["trace_id"] == "" and "('body', 'name')" in body["detail"]


def test_an_unknown_kind_of_agent_is_422_and_the_kinds_are_named(http):
    answer = http.post("/v1/agents/", json={"agent_type": "nope", "model": "openai-proxy/scripted"})
    assert answer.status_code == 422
    assert "agent_type" in answer.text and "letta_v1_agent" in answer.text


@pytest.mark.parametrize("body", [b"{not json", b"", b"[]", b'"text"', b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_422(http, body):
    answer = http.post("/v1/blocks/", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text


def test_every_answer_has_a_request_id(http):
    for path in ("/v1/health", "/v1/agents", "/v1/nope", "/v1/agents/bad"):
        assert http.get(path).headers["x-request-id"]
    first, second = (http.get("/v1/health").headers["x-request-id"] for _ in range(2))
    assert first != second


def test_a_given_request_id_comes_back(http):
    answer = http.get("/v1/agents", headers={"x-request-id": "trace-123"})
    assert answer.headers["x-request-id"] == "trace-123"
    assert http.get("/v1/agents", headers={"x-request-id": "bad\tid " + "x" * 500}).status_code == 200


def test_a_malformed_user_is_400(http):
    answer = http.get("/v1/agents/", headers={"user_id": "bob"})
    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "INVALID_ARGUMENT: Invalid user ID format: bob. Expected format: 'user-<uuid4>'"
    )


def test_the_default_user_may_be_named(http):
    headers = {"user_id": "user-00000000-0000-4000-8000-000000000000"}
    assert http.get("/v1/agents/", headers=headers).status_code == 200


def test_pages_of_this_machine_may_call_the_api(http):
    headers = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    answer = http.options("/v1/agents/", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    shown = http.get("/v1/agents/", headers=headers).headers["access-control-expose-headers"]
    assert {name.strip() for name in shown.split(",")} >= {"x-request-id", "retry-after"}
    foreign = http.options("/v1/agents/", headers={**headers, "origin": "http://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


def test_repeated_keys_are_one_list(http, agent):
    answer = http.get(
        f"/v1/agents/{agent.id}?include=agent.tools&include=agent.blocks", headers={"user-agent": "letta-client/1.12"}
    )
    body = answer.json()
    assert body["tools"] and body["blocks"] and body["tags"] == []


def test_unknown_query_parameters_are_ignored(http):
    assert http.get("/v1/agents/", params={"flavour": "mint"}).status_code == 200


def test_the_form_of_answers_is_sent_to_the_model_and_the_agents_own_one_wins(client, make_agent, model, token):
    def form(name):
        schema = {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}
        return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}

    def sent(agent, word):
        send(client, agent, f"{word} {token}")
        return model.last_request(f"{word} {token}").get("response_format")

    agent = make_agent(model_settings={"provider_type": "openai", "response_format": form("city")})
    assert sent(agent, "settings") == form("city")
    client.agents.update(agent.id, response_format=form("river"))
    assert sent(agent, "own") == form("river")
    client.agents.update(agent.id, response_format={"type": "text"})
    assert sent(agent, "text") is None


@pytest.mark.parametrize("comes", ["with the head", "after the answer"])
@pytest.mark.parametrize("method, path", [("POST", "/v1/nothing"), ("PUT", "/v1/health")])
def test_after_a_refusal_the_connection_goes_on_or_is_said_to_end(server, method, path, comes):
    body = b'{"messages": []}'
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(head + (body if comes == "with the head" else b""))
        answer = http.client.HTTPResponse(line, method=method)
        answer.begin()
        assert answer.status in (404, 405) and answer.read()
        if answer.getheader("connection") == "close":
            assert comes == "after the answer"
            return
        line.sendall((body if comes == "after the answer" else b"") + b"GET /v1/health HTTP/1.1\r\nHost: a\r\n\r\n")
        following = http.client.HTTPResponse(line, method="GET")
        following.begin()
        assert following.status == 200


def test_a_request_that_is_refused_for_its_path_leaves_the_connection_to_the_next(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    body = b'{"input": "hello"}'
    for _ in range(5):
        connection.putrequest("POST", "/v1/agents/nope/messages")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(len(body)))
        connection.endheaders()
        # The body comes when the path may have been looked at already.
        time.sleep(0.05)
        connection.send(body)
        answer = connection.getresponse()
        assert answer.status == 422 and answer.read()
        assert connection.sock is not None, "the connection was ended"
    connection.close()


@pytest.mark.parametrize("size", [20, 60_000])
def test_a_body_that_nobody_asked_for_does_no_harm_to_the_next_request(server, size):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for _ in range(10):
        connection.putrequest("POST", "/v1/tools/add-base-tools")
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(size))
        connection.endheaders()
        # Half of it comes late.
        connection.send(b" " * (size // 2))
        time.sleep(0.02)
        connection.send(b" " * (size - size // 2))
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read()
        assert connection.sock is not None, "the connection was ended"
    connection.close()
