"""A provider that speaks Gemini's protocol."""

import pytest

from conftest import client_of
from programs import configured
from talk import kinds, of_kind, reply, send, stream
from test_images import DATA

HANDLE = "google_ai/scripted"

PROVIDER = """
[[providers]]
name = "google_ai"
protocol = "gemini"
base_url = "http://{address}/v1beta"
api_key = "AIza-none"
"""


@pytest.fixture(scope="module")
def server(engine, model):
    with configured(engine, model, PROVIDER) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as sdk:
        yield sdk


@pytest.fixture
def agent(make_agent):
    return make_agent(model=HANDLE)


def test_its_models_are_listed_with_their_windows(client, agent):
    models = {m.handle: m for m in client.models.list()}
    assert models[HANDLE].provider_type == "google_ai" and models[HANDLE].max_context_window == 128_000
    assert "google_ai/scripted-painter" not in models
    assert agent.llm_config.model_endpoint_type == "google_ai"
    assert "google_ai/scripted-embed" in [m.handle for m in client.models.embeddings.list()]


def test_a_conversation_with_tools_whole_and_streamed(client, agent, model, token):
    first = send(client, agent, f"remember {token}")
    assert kinds(first.messages)[:2] == ["tool_call_message", "tool_return_message"]
    assert token in client.agents.blocks.retrieve("human", agent_id=agent.id).value
    streamed = stream(client, agent, f"remember again {token}", stream_tokens=True)
    assert reply(streamed).startswith("Done")
    asked = model.last_request(f"again {token}")
    roles = [content["role"] for content in asked["contents"]]
    assert roles == ["user", "model", "user", "model", "user", "model", "user"]
    call = asked["contents"][1]["parts"][-1]["functionCall"]
    answer = asked["contents"][2]["parts"][0]["functionResponse"]
    assert (call["name"], call["id"]) == (answer["name"], answer["id"])
    assert "systemInstruction" in asked and asked["tools"][0]["functionDeclarations"]


def test_signatures_of_thoughts_go_back_with_the_call(client, agent, model, token):
    answer = send(client, agent, f"remember {token} [[reasoning I-wonder]]")
    assert of_kind(answer.messages, "reasoning_message")[0].reasoning == "I-wonder"
    calls = model.last_request(token)["contents"][1]["parts"]
    signed = [part["thoughtSignature"] for part in calls if "functionCall" in part]
    assert len(signed) == 1 and signed[0].startswith("signed-")


def test_usage_counts_the_cache_and_the_thoughts(client, agent, token):
    usage = send(client, agent, f"[[reasoning a b c]] [[cached 100]] {token}").usage
    assert (usage.cached_input_tokens, usage.reasoning_tokens) == (100, 3)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_images_are_sent(client, agent, model, token):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
    content = [{"type": "text", "text": f"see {token}"}, image]
    client.agents.messages.create(agent.id, messages=[{"role": "user", "content": content}])
    parts = model.last_request(f"see {token}")["contents"][-1]["parts"]
    assert parts[-1]["inlineData"]["data"] == DATA


def test_what_is_too_long_is_made_shorter(client, agent, token):
    for n in range(3):
        send(client, agent, f"{n} {token} " + "word " * 400)
    assert reply(send(client, agent, f"[[overflow-above 6000]] {token}"))


def test_errors_are_the_contracts(client, agent, token):
    with pytest.raises(Exception, match="429|scripted"):
        send(client, agent, f"[[error 429]] {token}")
    assert reply(send(client, agent, f"after {token}"))


def test_embeddings(client, make_agent, token):
    agent = make_agent(model=HANDLE, embedding="google_ai/scripted-embed")
    client.agents.passages.create(agent.id, text=f"The keel {token}")
    assert token in client.agents.passages.search(agent.id, query=f"keel {token}").results[0].content
