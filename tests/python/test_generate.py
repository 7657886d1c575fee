"""One answer of an agent's model that no conversation hears of, in a form where one is asked for, on every protocol."""

import json

import httpx
import pytest

from conftest import client_of
from contexts import history
from programs import configured
from talk import send

HANDLES = {
    "chat": "plain/scripted",
    "without tools": "plain/scripted-toolless",
    "responses": "reasoner/scripted",
    "anthropic": "anthropic/scripted",
    "gemini": "google_ai/scripted",
    "ollama": "ollama/scripted",
}

PROVIDERS = """
[[providers]]
name = "plain"
protocol = "openai"
base_url = "http://{address}/v1"
api_key = "sk-secret-chat"

[[providers]]
name = "reasoner"
protocol = "openai-responses"
base_url = "http://{address}/v1"
api_key = "sk-secret-responses"

[[providers]]
name = "anthropic"
protocol = "anthropic"
base_url = "http://{address}"
api_key = "sk-ant-secret"

[[providers]]
name = "google_ai"
protocol = "gemini"
base_url = "http://{address}/v1beta"
api_key = "AIza-secret"

[[providers]]
name = "ollama"
protocol = "ollama"
base_url = "http://{address}"
"""

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["city", "size"],
}
FOUND = {"city": "Bergen", "size": 3}


@pytest.fixture(scope="module")
def server(engine, model):
    with configured(engine, model, PROVIDERS) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as sdk:
        yield sdk


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=60) as raw:
        yield raw


@pytest.fixture(params=HANDLES)
def agent(request, make_agent):
    return make_agent(model=HANDLES[request.param])


def generate(http, agent, prompt, status=200, **fields):
    answer = http.post(f"/v1/agents/{agent.id}/generate", json={"prompt": prompt, **fields})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_prompt_is_answered_and_nothing_is_stored(http, client, agent, model, token):
    before = len(history(client, agent))
    answer = generate(http, agent, f"[[echo]] {token}")
    assert token in answer["content"] and agent.llm_config.handle.endswith(answer["model"])
    usage = answer["usage"]
    assert usage["message_type"] == "usage_statistics" and usage["prompt_tokens"] > 0 and usage["step_count"] == 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert len(history(client, agent)) == before
    assert not list(client.runs.list(agent_id=agent.id))
    asked = json.dumps(model.last_request(token))
    assert "Ada sails." not in asked and "memory_insert" not in asked


def test_a_system_prompt_is_told(http, agent, model, token):
    answer = generate(http, agent, f"[[echo-system]] {token}", system_prompt=f"Be brief, {token}.")
    assert f"Be brief, {token}." in answer["content"]


def test_an_answer_has_the_form_that_is_asked_for(http, agent, token):
    call = f"[[call answer {json.dumps(FOUND)}]]"
    if agent.llm_config.handle.endswith("toolless"):
        call = f"[[echo]] {json.dumps(FOUND)}"
    answer = generate(http, agent, f"{call}", response_schema=SCHEMA)
    assert json.loads(answer["content"]) == FOUND


def test_what_is_forced_reaches_the_provider(http, agent, model, token):
    generate(http, agent, f'[[call answer {json.dumps(FOUND)}]] {json.dumps(FOUND)} [[echo]] {token}', response_schema=SCHEMA)
    asked = json.dumps(model.last_request(token))
    assert '"city"' in asked and '"size"' in asked
    handle = agent.llm_config.handle
    forced = {
        "plain/scripted": '"tool_choice": "required"',
        "plain/scripted-toolless": '"json_schema"',
        "reasoner/scripted": '"tool_choice": "required"',
        "anthropic/scripted": '"type": "tool", "name": "answer"',
        "google_ai/scripted": '"mode": "ANY"',
        "ollama/scripted": '"name": "answer"',
    }
    assert forced[handle] in asked or '"name": "answer", "type": "tool"' in asked, asked


def test_a_schema_that_is_no_object_can_be_asked_for(http, client, make_agent):
    agent = make_agent(model=HANDLES["chat"])
    schema = {"type": "array", "items": {"type": "integer"}}
    answer = generate(http, agent, '[[call answer {"answer": [1, 2]}]]', response_schema=schema)
    assert json.loads(answer["content"]) == [1, 2]


def test_an_answer_without_the_form_is_asked_for_again_then_it_is_an_error(http, make_agent, token):
    agent = make_agent(model=HANDLES["chat"])
    refused = generate(http, agent, f"[[call answer {{}}]] {token}", 502, response_schema=SCHEMA)
    assert "response_schema" in json.dumps(refused)


def test_an_answer_that_breaks_any_part_of_its_schema_is_asked_for_again_and_told_why(http, make_agent, model, token):
    agent = make_agent(model=HANDLES["chat"])
    schema = {"type": "object", "properties": {"size": {"type": "integer", "maximum": 9}}, "additionalProperties": False}
    for wrong, why in (({"size": "big"}, "size must be of the type integer"), ({"size": 10}, "at most 9"), ({"x": 1}, "x must not")):
        refused = generate(http, agent, f"[[call answer {json.dumps(wrong)}]] {why} {token}", 502, response_schema=schema)
        assert "response_schema" in json.dumps(refused)
        asked = model.requests(f"{why} {token}")
        # Once more in this form; what it then says in words, it is asked for in the form of a call, as always.
        told = [said["content"] for said in asked[-1]["messages"] if said["content"].startswith("Your last answer")]
        assert len(asked) >= 2 and len(told) == 1 and why in told[0]


def test_another_model_answers_in_its_place(http, make_agent):
    agent = make_agent(model=HANDLES["chat"])
    answer = generate(http, agent, "[[echo]] hello", override_model=HANDLES["anthropic"])
    assert answer["model"] == "scripted" and "hello" in answer["content"]
    generate(http, agent, "hello", 404, override_model="plain/nothing")


def test_what_goes_wrong_is_told(http, make_agent):
    agent = make_agent(model=HANDLES["chat"])
    for body in ({}, {"prompt": ""}, {"prompt": 3}, {"prompt": "a", "response_schema": []}):
        assert http.post(f"/v1/agents/{agent.id}/generate", json=body).status_code == 422, body
    nobody = "agent-00000000-0000-4000-8000-000000000000"
    assert http.post(f"/v1/agents/{nobody}/generate", json={"prompt": "a"}).status_code == 404
    failed = http.post(f"/v1/agents/{agent.id}/generate", json={"prompt": "[[error 401]]"})
    assert failed.status_code in (401, 502) and failed.json()


# Previews of what a message would send.


def preview(http, agent, text, path=None, **fields):
    path = path or f"/v1/agents/{agent.id}/messages/preview-raw-payload"
    answer = http.post(path, json={"messages": [{"role": "user", "content": text}], **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def fixed(request):
    """A request without what differs from one time to the next."""
    return json.loads(json.dumps(request).replace("last compiled at", ""))


@pytest.mark.parametrize("streaming", [False, True])
def test_a_preview_is_the_request_that_the_message_makes(http, client, agent, model, token, streaming):
    send(client, agent, f'[[call memory_insert {{"label": "human", "new_string": "x"}}]] first {token}')
    options = {"streaming": streaming, "stream_tokens": streaming}
    shown = preview(http, agent, f"then? {token}", **options)
    ids = client.agents.retrieve(agent.id).message_ids
    assert preview(http, agent, f"then? {token}", **options) == shown, "nothing of it was stored"
    http.post(f"/v1/agents/{agent.id}/messages", json={"input": f"then? {token}", **options}).raise_for_status()
    assert model.last_request(f"then? {token}") == shown
    assert client.agents.retrieve(agent.id).message_ids[: len(ids)] == ids
    assert "secret" not in json.dumps(shown)


def test_rules_on_tools_hold_in_a_preview_as_well(http, make_agent):
    rules = [{"type": "run_first", "tool_name": "conversation_search"}]
    agent = make_agent(model=HANDLES["chat"], tool_rules=rules)
    shown = preview(http, agent, "hello")
    assert shown["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in shown["tools"]] == ["conversation_search"]


def test_a_conversation_s_preview_is_its_own(http, client, make_agent, model, token):
    agent = make_agent(model=HANDLES["chat"])
    conversation = client.conversations.create(agent_id=agent.id)
    send(client, agent, f"elsewhere {token}")
    path = f"/v1/conversations/{conversation.id}/messages/preview-raw-payload"
    shown = preview(http, agent, f"here {token}", path, override_system="Be somebody else.", streaming=False)
    assert [message["role"] for message in shown["messages"]] == ["system", "user"]
    assert shown["messages"][0]["content"] == "Be somebody else."
    assert preview(http, agent, "x", path, stream_tokens=True)["stream"] is True
    default = "/v1/conversations/default/messages/preview-raw-payload"
    assert f"elsewhere {token}" in json.dumps(preview(http, agent, "x", default, agent_id=agent.id))


def test_a_preview_of_what_can_t_be_sent_is_refused(http, client, make_agent):
    agent = make_agent(model=HANDLES["chat"])
    path = f"/v1/agents/{agent.id}/messages/preview-raw-payload"
    assert http.post(path, json={}).status_code == 422
    assert http.post(path, json={"input": "a", "override_model": "plain/nothing"}).status_code == 404
    nobody = path.replace(agent.id, "agent-00000000-0000-4000-8000-000000000000")
    assert http.post(nobody, json={"input": "a"}).status_code == 404
    answers = [{"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "1", "approve": True}]}]
    assert http.post(path, json={"messages": answers}).status_code == 400


def test_messages_can_t_be_changed(http, client, make_agent):
    agent = make_agent(model=HANDLES["chat"])
    (prompt,) = client.agents.retrieve(agent.id).message_ids
    refused = http.patch(f"/v1/agents/{agent.id}/messages/{prompt}", json={"content": "x"})
    assert refused.status_code == 405 and "cannot be changed" in refused.json()["detail"]


# Settings of models.


@pytest.mark.parametrize(
    "name, settings, path, value",
    [
        ("responses", {"provider_type": "openai", "reasoning": {"reasoning_effort": "low"}}, "reasoning.effort", "low"),
        ("chat", {"provider_type": "openai", "reasoning": {"reasoning_effort": "high"}}, "reasoning_effort", "high"),
        ("chat", {"provider_type": "openai", "verbosity": "low"}, "verbosity", "low"),
        ("responses", {"provider_type": "openai", "verbosity": "low"}, "text.verbosity", "low"),
        (
            "anthropic",
            {"provider_type": "anthropic", "thinking": {"type": "enabled", "budget_tokens": 3000}, "max_output_tokens": 9000},
            "output_config.effort",
            None,
        ),
        ("anthropic", {"provider_type": "anthropic", "effort": "low"}, "output_config.effort", "low"),
        (
            "gemini",
            {"provider_type": "google_ai", "thinking_config": {"include_thoughts": True, "thinking_budget": 2000}},
            "generationConfig.thinkingConfig.thinkingBudget",
            2000,
        ),
        ("ollama", {"provider_type": "openai", "reasoning": {"reasoning_effort": "none"}}, "think", False),
        ("chat", {"provider_type": "openai", "temperature": 0.3}, "temperature", 0.3),
        ("chat", {"provider_type": "openai", "max_output_tokens": 777}, "max_tokens", 777),
        ("gemini", {"provider_type": "google_ai", "max_output_tokens": 777}, "generationConfig.maxOutputTokens", 777),
        ("chat", {"provider_type": "openai", "response_format": {"type": "json_object"}}, "response_format.type", "json_object"),
        ("responses", {"provider_type": "openai", "response_format": {"type": "json_object"}}, "text.format.type", "json_object"),
        ("chat", {"provider_type": "openai", "response_format": {"type": "text"}}, "response_format", None),
    ],
)
def test_a_setting_of_the_model_reaches_its_provider(http, make_agent, name, settings, path, value):
    agent = make_agent(model=HANDLES[name], model_settings=settings)
    found = preview(http, agent, "hello")
    for key in path.split("."):
        found = (found or {}).get(key)
    assert found == value


def test_anthropic_s_budget_of_thoughts_reaches_it(http, make_agent):
    settings = {"provider_type": "anthropic", "thinking": {"type": "enabled", "budget_tokens": 3000}, "max_output_tokens": 9000}
    shown = preview(http, make_agent(model=HANDLES["anthropic"], model_settings=settings), "hello")
    assert shown["thinking"]["type"] in ("enabled", "adaptive") and shown["max_tokens"] == 9000


def test_a_form_of_answers_reaches_every_protocol(http, make_agent):
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
    places = {"chat": "response_format", "responses": "text", "anthropic": "output_config"}
    for name, key in places.items():
        agent = make_agent(model=HANDLES[name], response_format=form)
        assert '"size"' in json.dumps(preview(http, agent, "hello")[key]), name
    for name, key in {"gemini": "generationConfig", "ollama": "format"}.items():
        # A form would keep these from calling tools, so it is sent to agents without any.
        agent = make_agent(model=HANDLES[name], response_format=form, include_base_tools=False)
        shown = preview(http, agent, "hello")
        assert "tools" in shown or '"size"' in json.dumps(shown[key]), name
    object_only = make_agent(model=HANDLES["anthropic"], response_format={"type": "json_object"})
    assert "one JSON object" in preview(http, object_only, "hello")["system"][-1]["text"]
