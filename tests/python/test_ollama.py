"""Agents on Ollama, by its own protocol: the size of the context is ours."""

import json

import httpx
import letta_client
import pytest

from conftest import client_of
from programs import configured, eventually
from talk import of_kind, reply, send, stop_reason, stream
from test_images import DATA, said

PROVIDERS = """
[[providers]]
name = "ollama"
protocol = "ollama"
base_url = "http://{address}"
"""
MODEL = "ollama/scripted"


@pytest.fixture(scope="module")
def server(engine, model):
    with configured(engine, model, PROVIDERS) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as sdk:
        yield sdk


@pytest.fixture
def agent(make_agent):
    return make_agent(model=MODEL)


def test_its_models_are_listed_with_windows_that_fit_a_usual_machine(client, agent):
    models = {m.handle: m for m in client.models.list()}
    assert models[MODEL].max_context_window == 16_384, "the model has 131,072; the machine may not"
    assert models["ollama/scripted-small"].max_context_window == 4_096
    assert models[MODEL].provider_type == "ollama" and models[MODEL].model_endpoint_type == "ollama"
    assert "ollama/scripted-embed" not in models
    assert "ollama/scripted-embed" in [m.handle for m in client.models.embeddings.list()]
    assert agent.llm_config.context_window == 16_384


def test_what_its_models_are_for_is_known_from_their_capabilities(server, agent):
    with httpx.Client(base_url=server.url, timeout=60) as http:
        archive = http.post("/v1/archives/", json={"name": "a", "embedding": "ollama/scripted-embed"}).json()["id"]
        for answer in (
            http.post("/v1/agents/", json={"model": "ollama/scripted-embed"}),
            http.patch(f"/v1/agents/{agent.id}", json={"model": "ollama/scripted-embed"}),
        ):
            assert answer.status_code == 400 and "makes embeddings" in answer.text, answer.text
        for answer in (
            http.post("/v1/agents/", json={"model": MODEL, "embedding": MODEL}),
            http.patch(f"/v1/agents/{agent.id}", json={"embedding": MODEL}),
            http.post("/v1/archives/", json={"name": "b", "embedding": MODEL}),
            http.patch(f"/v1/archives/{archive}", json={"embedding": MODEL}),
        ):
            assert answer.status_code == 400 and "makes no embeddings" in answer.text, answer.text


@pytest.mark.parametrize("streaming", [False, True])
def test_every_call_says_how_large_the_context_is(client, make_agent, model, token, streaming):
    agent = make_agent(model=MODEL, context_window_limit=40_000)
    text = f"hello {token}"
    messages = stream(client, agent, text, stream_tokens=True) if streaming else send(client, agent, text).messages
    assert reply(messages).startswith("Reply ")
    request = model.last_request(token)
    assert request["options"]["num_ctx"] == 40_000 and 0 < request["options"]["num_predict"] <= 20_000
    assert request["stream"] is streaming and request["truncate"] is False
    assert "keep_alive" not in request


def test_a_window_beyond_the_models_own_is_not_asked_for(client, make_agent, model, token):
    agent = make_agent(model="ollama/scripted-small", context_window_limit=64_000)
    send(client, agent, token)
    assert model.last_request(token)["options"]["num_ctx"] == 4_096


def test_tokens_are_streamed_with_thoughts_before_them(client, agent, model, token):
    frames = stream(client, agent, f"[[reasoning one two three]] {token}", stream_tokens=True)
    thoughts = of_kind(frames, "reasoning_message")
    assert "".join(f.reasoning for f in thoughts) == "one two three" and len(thoughts) == 3
    assert len(of_kind(frames, "assistant_message")) > 5 and reply(frames).startswith("Reply ")
    assert stop_reason(frames) == "end_turn"
    assert model.last_request(token)["think"] is True


@pytest.mark.parametrize("streaming", [False, True])
def test_the_tool_loop_edits_memory(client, agent, model, token, streaming):
    text = f"[[reasoning deep]] please remember {token}"
    messages = stream(client, agent, text, stream_tokens=True) if streaming else send(client, agent, text).messages
    assert of_kind(messages, "tool_return_message")[0].status == "success"
    assert "Done: " in reply(messages)
    assert f"Fact: {text}" in client.agents.blocks.retrieve("human", agent_id=agent.id).value
    calling, returned = model.last_request(token)["messages"][-2:]
    assert calling["thinking"] == "deep", "within a turn it goes on thinking where it was"
    (call,) = calling["tool_calls"]
    assert call["function"]["arguments"]["label"] == "human"
    assert returned["tool_name"] == "memory_insert" and returned["tool_call_id"] == call["id"]


def test_an_image_is_raw_base64(client, agent, model, token):
    source = {"type": "base64", "media_type": "image/png", "data": DATA}
    client.agents.messages.create(agent.id, **said(f"look {token}", source))
    assert model.last_request(f"look {token}")["messages"][-1]["images"] == [DATA]


@pytest.mark.parametrize("streaming", [False, True])
def test_usage_is_counted_and_an_answer_cut_by_its_limit_says_so(client, agent, token, streaming):
    text = f"[[length]] {token}"
    if streaming:
        frames = stream(client, agent, text)
        (usage,), reason = of_kind(frames, "usage_statistics"), stop_reason(frames)
    else:
        answer = send(client, agent, text)
        usage, reason = answer.usage, answer.stop_reason.stop_reason
    assert reason == "max_tokens_exceeded"
    assert usage.prompt_tokens > 200 and usage.completion_tokens > 5


def test_an_overflow_is_a_400_that_says_so_and_the_agent_goes_on(client, agent, token):
    with pytest.raises(letta_client.BadRequestError, match="context"):
        send(client, agent, f"[[overflow]] {token}")
    assert reply(send(client, agent, f"after {token}"))


def test_a_passing_failure_is_tried_again(client, agent, model, token):
    assert reply(send(client, agent, f"[[error-once 503]] {token}"))
    assert len(model.requests(token)) == 2


def test_a_prompt_that_was_cut_is_told_in_the_log(client, server, agent, token):
    send(client, agent, f"[[read 4090]] {token} " + "word " * 8_000)
    eventually(lambda: "read only the end of the prompt" in server.log(400), "the log warns of the cut")
    assert "context_window_limit" in server.log(400)


def test_history_from_another_protocol_goes_on_there_and_back(client, agent, model, token):
    send(client, agent, f"please remember {token}")
    request = model.last_request(token)
    assert [m["role"] for m in request["messages"]] == ["system", "user", "assistant", "tool"]
    assert json.dumps(request).count("tool_call_id") == 1


def test_a_small_window_is_warned_of_in_the_list_and_once_in_the_log(client, server):
    for _ in range(3):
        models = {m.handle: m for m in client.models.list()}
    small = models["ollama/scripted-small"].model_dump()
    assert "4096 tokens" in small["warning"] and "context_window" in small["warning"]
    assert not models[MODEL].model_dump().get("warning")
    assert server.log(1_000).count("its context window has 4096 tokens") == 1
