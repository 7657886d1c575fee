"""Conversations through the official `openai` package: agents are its models."""

import concurrent.futures

import openai
import pytest

from programs import MODEL
from talk import of_kind


def openai_of(server, path="/v1", **options):
    settings = {"base_url": server.url + path, "api_key": "sk-none", "max_retries": 0, "timeout": 60, **options}
    return openai.OpenAI(**settings)


@pytest.fixture(scope="session")
def gpt(server):
    with openai_of(server) as sdk:
        yield sdk


def ask(sdk, agent, text, **options):
    messages = [{"role": "user", "content": text}]
    return sdk.chat.completions.create(model=agent.id, messages=messages, **options)


def said(completion):
    return completion.choices[0].message.content


def streamed(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_conversation_whose_past_the_server_remembers(gpt, agent, model, token):
    first = ask(gpt, agent, f"one {token}")
    assert first.choices[0].finish_reason == "stop"
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens > 0
    # A client repeats what was said; the server does not take it in twice.
    messages = [
        {"role": "system", "content": f"You are somebody else {token}."},
        {"role": "user", "content": f"one {token}"},
        {"role": "assistant", "content": said(first)},
        {"role": "user", "content": f"two {token}"},
    ]
    second = gpt.chat.completions.create(model=agent.id, messages=messages)
    asked = model.last_request(f"two {token}")["messages"]
    assert [m["role"] for m in asked] == ["system", "user", "assistant", "user"]
    assert f"somebody else {token}" not in asked[0]["content"]
    assert said(second) != said(first)


def test_a_stream_says_the_same_and_counts_its_tokens(gpt, agent, token):
    whole = said(ask(gpt, agent, f"[[echo]] words {token}"))
    chunks = list(ask(gpt, agent, f"[[echo]] words {token}", stream=True, stream_options={"include_usage": True}))
    assert streamed(chunks) == whole
    assert chunks[-1].usage.completion_tokens > 0
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert all(chunk.usage is None for chunk in list(ask(gpt, agent, "plain", stream=True)))


def test_tools_of_the_agent_are_its_own_affair(gpt, client, agent, token):
    with ask(gpt, agent, f"remember {token}", stream=True) as chunks:
        found = list(chunks)
    assert all(not chunk.choices[0].delta.tool_calls for chunk in found)
    assert "Done" in streamed(found)
    assert token in client.agents.blocks.retrieve("human", agent_id=agent.id).value


def test_two_users_have_threads_of_their_own(gpt, client, agent, model, token):
    for user, text in [("ann", f"one {token}"), ("bob", f"two {token}"), ("ann", f"three {token}")]:
        ask(gpt, agent, text, user=f"{user}-{token}")
    asked = [m["content"] for m in model.last_request(f"three {token}")["messages"] if m["role"] == "user"]
    assert asked == [f"one {token}", f"three {token}"]
    assert len(client.conversations.list(agent_id=agent.id)) == 2


@pytest.mark.parametrize("field", ["user", "safety_identifier"])
def test_an_empty_user_is_refused_and_never_taken_for_everybody(gpt, agent, field):
    ask = {"model": agent.id, "extra_body": {field: ""}}
    for call in (
        lambda: gpt.chat.completions.create(messages=[{"role": "user", "content": "hi"}], **ask),
        lambda: gpt.responses.create(input="hi", **ask),
    ):
        with pytest.raises(openai.BadRequestError, match="must not be empty") as raised:
            call()
        assert raised.value.param == "user"


def test_first_messages_of_one_user_at_once_make_one_thread(gpt, client, agent, token):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: ask(gpt, agent, f"{n} {token}", user=token), range(8)))
    assert all(said(answer) for answer in answers)
    (thread,) = client.conversations.list(agent_id=agent.id)
    history = client.conversations.messages.list(thread.id, order="asc")
    assert len(of_kind(history, "user_message")) == 8


def test_a_conversation_goes_on_after_a_restart(own_server, own_client, model, token):
    server = own_server()
    agent = own_client(server).agents.create(model=MODEL)
    with openai_of(server) as sdk:
        for user in ("ann", "bob"):
            ask(sdk, agent, f"before {user} {token}", user=user)
        server.kill()
        server.start()
        streamed(ask(sdk, agent, f"after {token}", user="ann", stream=True))
        first = sdk.responses.create(model=agent.id, input=f"response {token}", user="ann")
    asked = [m["content"] for m in model.last_request(f"response {token}")["messages"] if m["role"] == "user"]
    assert asked == [f"before ann {token}", f"after {token}", f"response {token}"]
    assert first.output_text


def test_responses_follow_one_another(gpt, agent, model, token):
    first = gpt.responses.create(model=agent.id, input=f"one {token}", user=token)
    assert first.status == "completed" and first.output_text and first.usage.total_tokens > 0
    follows = {"previous_response_id": first.id}
    second = gpt.responses.create(model=agent.id, input=[{"role": "user", "content": f"two {token}"}], **follows)
    assert second.previous_response_id == first.id
    asked = [m["content"] for m in model.last_request(f"two {token}")["messages"] if m["role"] == "user"]
    assert asked == [f"one {token}", f"two {token}"]


def test_a_streamed_response_is_put_together_by_the_package(gpt, agent, token):
    with gpt.responses.stream(model=agent.id, input=f"[[echo]] words {token}") as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert deltas == final.output_text
    assert f"words {token}" in deltas
    kinds = [event.type for event in gpt.responses.create(model=agent.id, input="hello", stream=True)]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_the_agents_are_the_packages_models(gpt, client, make_agent, token):
    agent = make_agent(name=f"Petrel {token}")
    listed = {one.id: one for one in gpt.models.list()}
    assert listed[agent.id].name == agent.name
    assert gpt.models.retrieve(agent.id).owned_by == "mnemic"
    # To everybody else the list is that of the V1 API.
    assert MODEL in [one.handle for one in client.models.list()]
    by_name = gpt.chat.completions.create(model=agent.name, messages=[{"role": "user", "content": token}])
    assert said(by_name) and by_name.model == agent.name


def test_other_clients_have_a_base_url_of_their_own(server, http, agent, token):
    listed = http.get("/openai/v1/models").json()
    assert agent.id in [one["id"] for one in listed["data"]]
    with openai_of(server, "/openai/v1") as sdk:
        assert said(ask(sdk, agent, token))


def test_errors_are_those_that_the_package_knows(gpt, agent, token):
    with pytest.raises(openai.NotFoundError) as missing:
        gpt.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "hello"}])
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as refused:
        ask(gpt, agent, "hello", n=2)
    assert refused.value.param == "n"
    with pytest.raises(openai.RateLimitError):
        ask(gpt, agent, f"[[error 429]] {token}")
    with pytest.raises(openai.APIError, match="(?i)scripted|error"):
        list(ask(gpt, agent, f"[[error 400]] {token}", stream=True))
    assert said(ask(gpt, agent, "still here"))


def test_a_retry_of_the_package_is_not_taken_in_twice(own_server, own_client, model, token):
    server = own_server()
    agent = own_client(server).agents.create(model=MODEL)
    with openai_of(server, max_retries=8, timeout=1.0) as sdk:
        assert said(ask(sdk, agent, f"[[sleep 1500]] {token}"))
    assert len(model.requests(token)) == 1


def test_images_are_shown_to_the_model(gpt, agent, model, token):
    png = "data:image/png;base64,iVBORw0KGgo="
    content = [{"type": "text", "text": f"see {token}"}, {"type": "image_url", "image_url": {"url": png}}]
    gpt.chat.completions.create(model=agent.id, messages=[{"role": "user", "content": content}])
    parts = model.last_request(f"see {token}")["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url"]
