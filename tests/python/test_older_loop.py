"""Agents of the older types: they speak by a tool, think in its arguments, and say with each call whether another follows."""

import json

import pytest

from programs import MODEL
from talk import kinds, of_kind, raw_stream, reply, send, stream, stop_reason, user

INSERT = {"thinking": "I note it.", "label": "human", "new_string": "Likes tea."}


def call(name, **arguments):
    return f"[[call {name} {json.dumps(arguments)}]]"


@pytest.fixture(params=["memgpt_v2_agent", "memgpt_agent"])
def older(request, make_agent):
    return make_agent(agent_type=request.param)


@pytest.fixture
def speaker(make_agent):
    return make_agent(agent_type="memgpt_v2_agent")


def test_what_it_says_is_an_assistants_message_with_its_thoughts_before_it(client, model, older, token):
    answer = send(client, older, f"hello {token}")
    assert kinds(answer.messages) == ["reasoning_message", "assistant_message"]
    thought, said = answer.messages
    assert (thought.source, thought.reasoning) == ("non_reasoner_model", "I answer.")
    assert thought.id == said.id and thought.otid != said.otid
    assert answer.stop_reason.stop_reason == "end_turn" and answer.usage.step_count == 1
    request = model.last_request(token)
    assert request["tool_choice"] == "required"
    for tool in request["tools"]:
        properties = list(tool["function"]["parameters"]["properties"])
        assert properties[0] == "thinking"
        assert (properties[-1] == "request_heartbeat") == (tool["function"]["name"] != "send_message")


def test_the_calls_themselves_are_shown_to_who_wants_them(client, http, speaker, token):
    answer = send(client, speaker, f"hello {token}", use_assistant_message=False)
    assert kinds(answer.messages) == ["reasoning_message", "tool_call_message", "tool_return_message"]
    made = json.loads(answer.messages[1].tool_call.arguments)
    assert list(made) == ["message"], "thoughts are no argument"
    path = f"/v1/agents/{speaker.id}/messages"
    spoken = http.get(path, params={"order": "asc"}).json()
    assert [one["message_type"] for one in spoken[-2:]] == ["reasoning_message", "assistant_message"]
    raw = http.get(path, params={"order": "asc", "use_assistant_message": "false"}).json()
    assert [one["message_type"] for one in raw[-2:]] == ["tool_call_message", "tool_return_message"]
    other = {"assistant_message_tool_name": "memory_insert", "assistant_message_tool_kwarg": "new_string"}
    send(client, speaker, call("memory_insert", **INSERT))
    found = http.get(path, params={"order": "asc", **other}).json()
    assert "Likes tea." in [one.get("content") for one in found if one["message_type"] == "assistant_message"]


def test_a_rule_or_a_wish_goes_on_and_the_model_hears_why(client, model, speaker, token):
    text = f"{token} " + call("memory_insert", **INSERT, request_heartbeat=False)
    answer = send(client, speaker, text)
    assert kinds(answer.messages) == [
        "reasoning_message", "tool_call_message", "tool_return_message", "reasoning_message", "assistant_message",
    ]
    assert answer.messages[0].reasoning == "I note it."
    made = json.loads(answer.messages[1].tool_call.arguments)
    assert made == {"label": "human", "new_string": "Likes tea.", "request_heartbeat": False}
    second = max(model.requests(token), key=lambda request: len(request["messages"]))
    *_, earlier, returned, beat = second["messages"]
    assert list(json.loads(earlier["tool_calls"][0]["function"]["arguments"]))[0] == "thinking"
    assert returned["role"] == "tool" and "Likes tea." in returned["content"]
    assert beat["role"] == "user" and json.loads(beat["content"])["type"] == "heartbeat"
    assert client.agents.blocks.retrieve("human", agent_id=speaker.id).value == "Ada sails.\nLikes tea."


def test_without_a_wish_the_turn_ends_after_a_call(client, make_agent):
    agent = make_agent(agent_type="memgpt_v2_agent", include_base_tool_rules=False)
    answer = send(client, agent, call("memory_insert", **INSERT, request_heartbeat=False))
    assert answer.usage.step_count == 1 and answer.stop_reason.stop_reason == "end_turn"
    answer = send(client, agent, call("memory_insert", **INSERT, request_heartbeat=True))
    assert answer.usage.step_count == 2 and reply(answer)


def test_a_call_that_could_not_be_made_does_not_end_the_turn(client, make_agent):
    agent = make_agent(agent_type="memgpt_v2_agent", include_base_tool_rules=False)
    answer = send(client, agent, call("no_such_tool", request_heartbeat=False))
    assert of_kind(answer.messages, "tool_return_message")[0].status == "error" and reply(answer)


@pytest.mark.parametrize("text", ["hello", call("memory_insert", **INSERT, request_heartbeat=True)])
def test_a_token_stream_comes_to_what_the_history_shows(client, http, speaker, text):
    frames = stream(client, speaker, text, stream_tokens=True)
    whole = {}
    for one in frames:
        if one.message_type in ("reasoning_message", "assistant_message", "tool_call_message", "tool_return_message"):
            key = (one.id, one.otid, one.message_type)
            words = {"reasoning_message": "reasoning", "assistant_message": "content", "tool_return_message": "tool_return"}
            field = words.get(one.message_type)
            piece = getattr(one, field) if field else (one.tool_call.arguments or "")
            whole[key] = whole.get(key, "") + piece
    assert stop_reason(frames) == "end_turn"
    kept = http.get(f"/v1/agents/{speaker.id}/messages", params={"order": "asc", "limit": 100}).json()
    run = {one.run_id for one in frames if one.message_type == "assistant_message"}.pop()
    history = {}
    for one in kept:
        if one["run_id"] == run and one["message_type"] != "user_message":
            body = one.get("reasoning") or one.get("content") or one.get("tool_return") or one["tool_call"]["arguments"]
            history[(one["id"], one["otid"], one["message_type"])] = body
    assert {key: "".join(text.split()) for key, text in whole.items()} == {key: "".join(text.split()) for key, text in history.items()}


def test_words_come_while_they_are_made(http, speaker):
    body = {"messages": [user("[[words 40]] [[delay 5]]")], "stream_tokens": True}
    frames = [data for _, data in raw_stream(http, f"/v1/agents/{speaker.id}/messages/stream", body) if isinstance(data, dict)]
    said = [one for one in frames if one["message_type"] == "assistant_message"]
    assert len(said) > 5 and not [one for one in frames if one["message_type"] == "tool_call_message"]


def test_an_answer_in_words_where_a_call_was_wanted_is_kept(client, make_agent, token):
    agent = make_agent(agent_type="react_agent", tools=["memory_insert"], include_base_tool_rules=False)
    answer = send(client, agent, f"hello {token}")
    assert answer.stop_reason.stop_reason == "no_tool_call" and reply(answer)
    assert client.runs.list(agent_id=agent.id).items[0].status == "failed"
    answer = send(client, agent, call("memory_insert", **INSERT, request_heartbeat=False))
    assert answer.stop_reason.stop_reason == "end_turn"


def test_it_speaks_by_its_tool_although_nobody_gave_it_to_it(client, make_agent):
    agent = make_agent(agent_type="react_agent", tools=["memory_insert"])
    answer = send(client, agent, call("send_message", message="here I am"))
    assert reply(answer) == "here I am" and answer.stop_reason.stop_reason == "end_turn"


def test_an_agent_without_tools_answers_in_words(client, make_agent):
    for kind in ("react_agent", "workflow_agent"):
        answer = send(client, make_agent(agent_type=kind), "hello")
        assert reply(answer) and answer.stop_reason.stop_reason == "end_turn", kind


def test_thoughts_are_left_out_where_the_model_reasons_itself(client, http, model, token):
    body = {"model": MODEL, "agent_type": "memgpt_v2_agent",
            "model_settings": {"provider_type": "openai", "reasoning": {"reasoning_effort": "high"}}}
    agent = http.post("/v1/agents/", json=body).json()
    send(client, agent["id"], f"hello {token}")
    for tool in model.last_request(token)["tools"]:
        assert "thinking" not in tool["function"]["parameters"]["properties"]


def test_heartbeats_are_nobodys_words_for_a_search(client, http, speaker, token):
    send(client, speaker, f"{token} " + call("memory_insert", **INSERT, request_heartbeat=True))
    found = http.post("/v1/messages/search", json={"query": "heartbeat automatic rule"}).text
    assert '\\"type\\": \\"heartbeat\\"' not in found and '\\"type\\":\\"heartbeat\\"' not in found


def test_clients_of_openai_hear_what_it_says(http, speaker, token):
    for streamed in (False, True):
        body = {"model": speaker.id, "stream": streamed, "messages": [user(f"hello {token}")]}
        answer = http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200
        if streamed:
            frames = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
            said = "".join(one["choices"][0]["delta"].get("content") or "" for one in frames if one["choices"])
        else:
            said = answer.json()["choices"][0]["message"]["content"]
        assert said.startswith("Reply") or len(said.split()) > 5, said


def test_a_person_approves_calls_of_an_older_agent_too(client, make_agent):
    rules = [{"type": "requires_approval", "tool_name": "memory_insert"}, {"type": "exit_loop", "tool_name": "send_message"}]
    agent = make_agent(agent_type="memgpt_v2_agent", tool_rules=rules)
    request = send(client, agent, call("memory_insert", **INSERT, request_heartbeat=True)).messages[-1]
    assert request.message_type == "approval_request_message"
    assert "thinking" not in json.loads(request.tool_calls[0].arguments)
    approval = {"type": "approval", "tool_call_id": request.tool_calls[0].tool_call_id, "approve": True}
    answer = client.agents.messages.create(agent.id, messages=[{"type": "approval", "approvals": [approval]}])
    assert of_kind(answer.messages, "tool_return_message")[0].status == "success" and reply(answer)
