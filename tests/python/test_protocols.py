"""Providers that speak Anthropic's messages or OpenAI's responses rather than chat completions."""

import json

import httpx
import letta_client
import pytest

from conftest import client_of
from programs import configured
from talk import kinds, of_kind, raw_stream, reply, send, stop_reason, stream
from test_images import DATA, said

# Handles by protocol; the third provider speaks chat completions.
HANDLES = {"anthropic": "anthropic/scripted", "responses": "reasoner/scripted"}
CHAT = "plain/scripted"

PROVIDERS = """
[[providers]]
name = "anthropic"
protocol = "anthropic"
base_url = "http://{address}"
api_key = "sk-ant-none"

[[providers]]
name = "reasoner"
protocol = "openai-responses"
base_url = "http://{address}/v1"

[[providers]]
name = "plain"
protocol = "openai"
base_url = "http://{address}/v1"
"""


@pytest.fixture(scope="module")
def server(engine, model):
    with configured(engine, model, PROVIDERS) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as sdk:
        yield sdk


@pytest.fixture(params=HANDLES)
def protocol(request):
    return request.param


@pytest.fixture
def agent(make_agent, protocol):
    return make_agent(model=HANDLES[protocol])


def content(request):
    """What a request says to the model: Anthropic's messages, or the items of responses."""
    return request.get("messages") or request["input"]


def blocks(request, kind):
    """Anthropic's content blocks, or the items of responses, of one kind."""
    found = []
    for message in content(request):
        parts = message["content"] if isinstance(message.get("content"), list) else []
        found += [part for part in [message, *parts] if part.get("type") == kind]
    return found


def test_its_models_are_listed_and_agents_know_what_it_speaks(client, agent, protocol):
    models = {m.handle: m for m in client.models.list()}
    kind = "anthropic" if protocol == "anthropic" else "openai"
    assert models[HANDLES[protocol]].provider_type == kind
    assert agent.llm_config.model_endpoint_type == kind and agent.llm_config.handle == HANDLES[protocol]


def test_a_plain_answer(client, agent, model, token, protocol):
    answer = send(client, agent, f"hello {token}")
    assert reply(answer).startswith("Reply ") and answer.stop_reason.stop_reason == "end_turn"
    request = model.last_request(token)
    if protocol == "anthropic":
        assert request["max_tokens"] > 0 and request["system"][0]["text"]
        assert request["messages"][-1]["content"][0]["text"] == f"hello {token}"
        assert "input_schema" in request["tools"][0]
    else:
        assert request["store"] is False and request["instructions"]
        assert request["input"][-1]["content"] == f"hello {token}"
        assert request["tools"][0]["type"] == "function" and request["tools"][0]["name"]


def test_tokens_are_streamed_with_reasoning_before_them(client, agent, token):
    frames = stream(client, agent, f"[[reasoning one two three]] {token}", stream_tokens=True)
    thoughts = of_kind(frames, "reasoning_message")
    assert "".join(f.reasoning for f in thoughts) == "one two three" and len(thoughts) > 3
    assert [f.signature for f in thoughts if f.signature] == [thoughts[-1].signature]
    assert len(of_kind(frames, "assistant_message")) > 5 and reply(frames).startswith("Reply ")
    assert stop_reason(frames) == "end_turn"
    stored = [m for m in client.agents.messages.list(agent.id) if m.message_type == "reasoning_message"]
    assert stored[-1].reasoning == "one two three" and stored[-1].signature == thoughts[-1].signature


@pytest.mark.parametrize("streaming", [False, True])
def test_the_tool_loop_edits_memory(client, agent, model, token, protocol, streaming):
    text = f"please remember {token}"
    if streaming:
        messages = stream(client, agent, text, stream_tokens=True)
    else:
        messages = send(client, agent, text).messages
    assert of_kind(messages, "tool_return_message")[0].status == "success"
    assert "Done: " in reply(messages)
    assert f"Fact: {text}" in client.agents.blocks.retrieve("human", agent_id=agent.id).value
    request = model.last_request(token)
    if protocol == "anthropic":
        (called,), (returned,) = blocks(request, "tool_use"), blocks(request, "tool_result")
        assert called["id"] == returned["tool_use_id"] and called["input"]["label"] == "human"
        assert [m["role"] for m in request["messages"]] == ["user", "assistant", "user"]
    else:
        (called,), (returned,) = blocks(request, "function_call"), blocks(request, "function_call_output")
        assert called["call_id"] == returned["call_id"]
        assert json.loads(called["arguments"])["label"] == "human"


def test_parallel_calls_are_answered_together(client, agent, model, token, protocol):
    calls = [{"label": "human", "new_string": f"{token} {word}"} for word in ("one", "two")]
    text = " ".join(f"[[call memory_insert {json.dumps(call)}]]" for call in calls)
    answer = send(client, agent, text)
    assert len(of_kind(answer.messages, "tool_return_message")) == 2
    request = model.last_request(token)
    if protocol == "anthropic":
        results = request["messages"][-1]["content"]
        assert [block["type"] for block in results] == ["tool_result", "tool_result"]
    else:
        kinds = [item.get("type") for item in request["input"][-4:]]
        assert kinds == ["function_call"] * 2 + ["function_call_output"] * 2


def proof(request, protocol):
    """The reasoning that a request sends back: its text and its signature."""
    if protocol == "anthropic":
        return [(b["thinking"], b["signature"]) for b in blocks(request, "thinking")]
    return [
        ("".join(part["text"] for part in b["summary"]), b["encrypted_content"])
        for b in blocks(request, "reasoning")
    ]


@pytest.mark.parametrize("streaming", [False, True])
def test_reasoning_goes_back_with_its_signature(client, agent, model, token, protocol, streaming):
    text = f"[[reasoning deep {token}]] please remember {token}"
    messages = stream(client, agent, text, stream_tokens=True) if streaming else send(client, agent, text).messages
    assert "Done: " in reply(messages)
    # The second step already carries the reasoning of the first, before its call.
    [(thoughts, signature)] = proof(model.last_request(token), protocol)
    assert thoughts == f"deep {token}" and signature.startswith(("signed-", "sealed-"))
    send(client, agent, f"and now? {token}")
    request = model.last_request(f"and now? {token}")
    assert proof(request, protocol) == [(thoughts, signature)] * 2
    if protocol == "anthropic":
        before = request["messages"][1]["content"]
        assert [block["type"] for block in before] == ["thinking", "tool_use"]
    else:
        assert blocks(request, "reasoning")[0]["id"].startswith("rs_")


def test_reasoning_survives_a_restart(engine, model, token, protocol):
    with configured(engine, model, PROVIDERS) as own, client_of(own) as client:
        agent = client.agents.create(model=HANDLES[protocol])
        send(client, agent, f"[[reasoning deep]] {token}")
        own.kill()
        own.start()
        send(client, agent, f"again {token}")
        [(thoughts, _)] = proof(model.last_request(f"again {token}"), protocol)
        assert thoughts == "deep"


def test_reasoning_goes_to_no_other_provider_and_comes_back_to_its_own(client, agent, model, token, protocol):
    send(client, agent, f"[[reasoning deep {token}]] {token}")
    other = next(handle for name, handle in HANDLES.items() if name != protocol)
    for handle in (other, CHAT):
        client.agents.update(agent.id, model=handle)
        assert reply(send(client, agent, f"via {handle} {token}"))
        request = model.last_request(f"via {handle} {token}")
        assert f"deep {token}" not in json.dumps([m for m in content(request) if m.get("role") != "user"])
        assert "signed-" not in json.dumps(request) and "sealed-" not in json.dumps(request)
    client.agents.update(agent.id, model=HANDLES[protocol])
    send(client, agent, f"back {token}")
    [(thoughts, _)] = proof(model.last_request(f"back {token}"), protocol)
    assert thoughts == f"deep {token}"


@pytest.mark.parametrize("streaming", [False, True])
def test_hidden_reasoning_is_shown_as_such_and_goes_back(client, agent, model, token, protocol, streaming):
    text = f"[[redacted secret]] {token}"
    messages = stream(client, agent, text, stream_tokens=True) if streaming else send(client, agent, text).messages
    (hidden,) = of_kind(messages, "hidden_reasoning_message")
    assert of_kind(messages, "reasoning_message") == []
    if protocol == "anthropic":
        assert hidden.state == "redacted" and hidden.hidden_reasoning.startswith("sealed-")
    else:
        assert hidden.state == "omitted"
    stored = kinds(client.agents.messages.list(agent.id))
    assert "hidden_reasoning_message" in stored
    send(client, agent, f"next {token}")
    request = model.last_request(f"next {token}")
    (sealed,) = blocks(request, "redacted_thinking" if protocol == "anthropic" else "reasoning")
    assert "sealed-" in json.dumps(sealed)


def test_an_image_reaches_the_model_in_its_own_form(server, client, agent, model, token, protocol):
    source = {"type": "base64", "media_type": "image/png", "data": DATA}
    client.agents.messages.create(agent.id, **said(f"look {token}", source))
    request = model.last_request(f"look {token}")
    if protocol == "anthropic":
        (image,) = blocks(request, "image")
        assert image["source"] == source
    else:
        (image,) = blocks(request, "input_image")
        assert image["image_url"] == f"data:image/png;base64,{DATA}"


@pytest.mark.parametrize("streaming", [False, True])
def test_usage_counts_the_whole_prompt_and_what_the_cache_had(client, agent, token, streaming):
    text = f"[[cached 50]] {token}"
    if streaming:
        (usage,) = of_kind(stream(client, agent, text), "usage_statistics")
    else:
        usage = send(client, agent, text).usage
    assert usage.cached_input_tokens == 50 and usage.prompt_tokens > 200
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_cache_is_told_what_to_keep(client, make_agent, model, token):
    agent = make_agent(model=HANDLES["anthropic"])
    for turn in ("first", "second"):
        send(client, agent, f"{turn} {token}")
    request = model.last_request(f"second {token}")
    keep = {"type": "ephemeral"}
    assert request["tools"][-1]["cache_control"] == keep and request["system"][-1]["cache_control"] == keep
    marked = [m["content"][-1].get("cache_control") == keep for m in request["messages"]]
    assert marked == [True, False, True]
    assert json.dumps(request).count("cache_control") == 4


def test_an_overflow_is_a_400_that_says_so_and_the_agent_goes_on(client, agent, token):
    with pytest.raises(letta_client.BadRequestError, match="context"):
        send(client, agent, f"[[overflow]] {token}")
    assert reply(send(client, agent, f"after {token}"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, letta_client.AuthenticationError), (429, letta_client.RateLimitError), (529, letta_client.APIStatusError)],
)
def test_errors_have_their_own_exceptions(client, agent, token, status, kind):
    with pytest.raises(kind) as error:
        send(client, agent, f"[[error {status}]] {token}")
    assert "sk-ant" not in str(error.value)
    assert reply(send(client, agent, f"after {token}"))


def test_a_passing_overload_is_tried_again(client, agent, model, token):
    assert reply(send(client, agent, f"[[error-once 529]] {token}"))
    assert len(model.requests(token)) == 2


def test_an_answer_cut_by_its_limit_says_so(client, agent, token):
    assert send(client, agent, f"[[length]] {token}").stop_reason.stop_reason == "max_tokens_exceeded"


def test_broken_arguments_are_answered_and_do_not_brick_the_agent(client, agent, model, token):
    answer = stream(client, agent, f"[[badargs memory_insert {{broken]] {token}", stream_tokens=True)
    assert of_kind(answer, "tool_return_message")[0].status == "error"
    assert reply(send(client, agent, f"and on {token}"))
    assert "not_json" in json.dumps(content(model.last_request(f"and on {token}")))


@pytest.mark.parametrize(
    "words", ["[[cut 6]] [[words 40]]", '[[cut {frames}]] [[call conversation_search {{"query": "sails"}}]]']
)
def test_a_stream_that_ends_before_the_answer_does_is_an_error_and_nothing_of_it_is_done(
    server, client, agent, model, token, protocol, words
):
    """As behind a proxy that gives up: the connection ends in good order, the answer does not."""
    text = words.format(frames={"anthropic": 3, "responses": 2}[protocol])
    body = {"messages": [{"role": "user", "content": f"{text} {token}"}], "stream_tokens": True}
    with httpx.Client(base_url=server.url, timeout=60) as http:
        frames = raw_stream(http, f"/v1/agents/{agent.id}/messages/stream", body)
    (event, error), (_, done) = frames[-2:]
    assert event == "error" and error["error_type"] == "stream_incomplete" and done == "[DONE]"
    assert "ended before the answer did" in error["message"] and "try again" in error["message"]
    assert not [frame for _, frame in frames[:-1] if frame["message_type"] == "tool_return_message"]
    assert reply(send(client, agent, f"still there? {token}"))
    assert kinds(client.agents.messages.list(agent.id)).count("tool_call_message") == 0


def test_settings_of_anthropic_reach_the_request(client, make_agent, model, token):
    settings = {
        "provider_type": "anthropic", "max_output_tokens": 3000, "parallel_tool_calls": False,
        "thinking": {"type": "enabled", "budget_tokens": 2000}, "effort": "low",
    }
    agent = make_agent(model=HANDLES["anthropic"], model_settings=settings)
    send(client, agent, token)
    request = model.last_request(token)
    assert request["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert request["max_tokens"] == 3000 and request["output_config"] == {"effort": "low"}
    assert request["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert "temperature" not in request
    shown = client.agents.retrieve(agent.id)
    assert shown.llm_config.enable_reasoner is True and shown.llm_config.max_reasoning_tokens == 2000


def test_settings_of_openai_reach_the_request(client, make_agent, model, token):
    settings = {
        "provider_type": "openai", "max_output_tokens": 3000, "parallel_tool_calls": False,
        "reasoning": {"reasoning_effort": "low"},
    }
    agent = make_agent(model=HANDLES["responses"], model_settings=settings)
    send(client, agent, token)
    request = model.last_request(token)
    assert request["reasoning"] == {"effort": "low", "summary": "auto"}
    assert request["include"] == ["reasoning.encrypted_content"]
    assert request["max_output_tokens"] == 3000 and request["parallel_tool_calls"] is False


def test_the_environment_alone_makes_anthropic_a_provider(own_server, own_client, model, token):
    server = own_server(
        with_model=False, ANTHROPIC_API_KEY="sk-ant-none", ANTHROPIC_BASE_URL=f"http://{model.address}"
    )
    client = own_client(server)
    agent = client.agents.create(model="anthropic/scripted")
    assert reply(send(client, agent, token)).startswith("Reply ")
    assert model.last_request(token)["system"]
