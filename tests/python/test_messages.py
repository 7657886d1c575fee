"""A message and its answer as JSON."""

import json
import re

import letta_client
import pytest

from talk import kinds, of_kind, reply, send, user

OTID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


def test_a_message_is_answered(client, agent, token):
    answer = send(client, agent, f"Hello, {token}")
    assert kinds(answer.messages) == ["assistant_message"]
    (message,) = answer.messages
    assert message.content.startswith("Reply ")
    assert message.id.startswith("message-") and message.run_id.startswith("run-")
    assert message.step_id.startswith("step-") and OTID.match(message.otid)
    assert answer.stop_reason.stop_reason == "end_turn"


def test_the_answer_has_its_recorded_shape(http, agent):
    body = http.post(f"/v1/agents/{agent.id}/messages", json={"input": "Hello"}).json()
    assert set(body) == {"messages", "stop_reason", "usage", "logprobs", "turns"}
    assert set(body["messages"][0]) == {
        "id", "date", "name", "message_type", "otid", "sender_id", "step_id", "is_err", "seq_id", "run_id", "content",
    }
    assert re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$", body["messages"][0]["date"])
    assert body["stop_reason"] == {"message_type": "stop_reason", "stop_reason": "end_turn"}
    assert set(body["usage"]) == {
        "message_type", "completion_tokens", "prompt_tokens", "total_tokens", "step_count", "run_ids",
        "cached_input_tokens", "cache_write_tokens", "reasoning_tokens", "context_tokens",
    }


def test_messages_that_share_a_stored_id_have_otids_of_their_own(http, agent):
    text = "[[reasoning let me think]] remember this"
    body = http.post(f"/v1/agents/{agent.id}/messages", json={"input": text}).json()
    shared = [m for m in body["messages"] if m["id"] == body["messages"][0]["id"]]
    assert [m["message_type"] for m in shared] == ["reasoning_message", "tool_call_message"]
    otids = [m["otid"] for m in body["messages"]]
    assert len(set(otids)) == len(otids)
    stored = body["messages"][0]["id"].removeprefix("message-")
    assert [m["otid"][:-2] for m in shared] == [stored[:-2]] * 2


def test_a_short_form_of_the_input_is_taken(client, agent, model, token):
    answer = client.agents.messages.create(agent.id, input=f"short {token}")
    assert reply(answer)
    assert model.last_request(f"short {token}")["messages"][-1] == {"role": "user", "content": f"short {token}"}


def test_content_may_come_in_parts(client, agent, model, token):
    parts = [{"type": "text", "text": f"one {token}"}, {"type": "text", "text": "two"}]
    answer = client.agents.messages.create(agent.id, messages=[{"role": "user", "content": parts}])
    assert reply(answer)
    assert f"one {token}" in str(model.last_request(token)) and "two" in str(model.last_request(token))


def test_several_messages_are_one_turn(client, agent, model, token):
    messages = [user(f"first {token}"), {"role": "system", "content": f"aside {token}"}, user(f"last {token}")]
    answer = client.agents.messages.create(agent.id, messages=messages)
    assert kinds(answer.messages) == ["assistant_message"]
    said = str(model.last_request(f"last {token}")["messages"])
    assert said.index(f"first {token}") < said.index(f"aside {token}") < said.index(f"last {token}")


def test_the_next_turn_sees_the_ones_before(client, agent, model, token):
    first = send(client, agent, f"first {token}")
    send(client, agent, f"second {token}")
    messages = model.last_request(f"second {token}")["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert messages[1]["content"] == f"first {token}"
    assert messages[2]["content"] == reply(first)


def test_tool_calls_reach_the_model_in_its_own_form(client, agent, model, token):
    send(client, agent, f"remember {token}")
    call, result = model.last_request(f"remember {token}")["messages"][-2:]
    assert call["role"] == "assistant" and result["role"] == "tool"
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]
    assert json.loads(call["tool_calls"][0]["function"]["arguments"])["label"] == "human"


def test_max_steps_ends_a_run(client, agent):
    answer = send(client, agent, "remember one step", max_steps=1)
    assert kinds(answer.messages) == ["tool_call_message", "tool_return_message"]
    assert answer.stop_reason.stop_reason == "max_steps"
    assert answer.usage.step_count == 1
    assert send(client, agent, "and on").stop_reason.stop_reason == "end_turn"


def test_a_run_goes_on_over_several_steps(client, agent):
    text = '[[steps 3]] [[call memory_insert {"label": "human", "new_string": "again"}]]'
    answer = send(client, agent, text)
    assert kinds(answer.messages) == ["tool_call_message", "tool_return_message"] * 3 + ["assistant_message"]
    assert answer.usage.step_count == 4
    assert len({m.step_id for m in answer.messages}) == 4


def test_parallel_calls_are_all_answered(client, agent, model, token):
    calls = "".join(
        f'[[call memory_insert {{"label": "human", "new_string": "{token} {n}"}}]]' for n in range(3)
    )
    answer = send(client, agent, calls)
    (call,) = of_kind(answer.messages, "tool_call_message")[:1]
    returns = of_kind(answer.messages, "tool_return_message")
    called = [c.tool_call_id for m in of_kind(answer.messages, "tool_call_message") for c in m.tool_calls]
    answered = [r.tool_call_id for m in returns for r in m.tool_returns]
    assert len(called) == 3 and called == answered
    assert call.tool_call.tool_call_id == called[0]
    results = [m for m in model.last_request(f"{token} 2")["messages"] if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in results] == called


def test_a_call_of_an_unknown_tool_is_told_to_the_agent_and_the_run_goes_on(client, agent):
    answer = send(client, agent, '[[call no_such_tool {"a": 1}]]')
    (returned,) = of_kind(answer.messages, "tool_return_message")
    assert returned.status == "error" and "no_such_tool" in returned.tool_return
    assert "memory_insert" in returned.tool_return, "the valid tools are named"
    assert answer.stop_reason.stop_reason == "end_turn" and reply(answer)


def test_arguments_that_are_no_json_are_told_to_the_agent(client, agent):
    answer = send(client, agent, "[[badargs memory_insert this is not json]]")
    (returned,) = of_kind(answer.messages, "tool_return_message")
    assert returned.status == "error" and "not valid JSON" in returned.tool_return
    assert "end in the middle" not in returned.tool_return
    assert answer.stop_reason.stop_reason == "end_turn"


def test_calls_without_ids_get_some(client, agent):
    answer = send(client, agent, '[[noid]] [[call memory_insert {"label": "human", "new_string": "x"}]]')
    (call,) = of_kind(answer.messages, "tool_call_message")
    (returned,) = of_kind(answer.messages, "tool_return_message")
    assert call.tool_call.tool_call_id and returned.tool_call_id == call.tool_call.tool_call_id


def test_reasoning_is_a_message_of_its_own(client, agent):
    answer = send(client, agent, "[[reasoning let me think]] hello")
    assert kinds(answer.messages) == ["reasoning_message", "assistant_message"]
    assert answer.messages[0].reasoning == "let me think"
    assert answer.messages[0].source == "reasoner_model"


def test_a_cut_answer_says_so(client, agent):
    answer = send(client, agent, "[[length]] go on")
    assert answer.stop_reason.stop_reason == "max_tokens_exceeded"


def test_usage_adds_up(client, agent):
    one = send(client, agent, "hello").usage
    assert one.prompt_tokens > 0 and one.completion_tokens > 0
    assert one.total_tokens == one.prompt_tokens + one.completion_tokens
    assert one.step_count == 1 and one.context_tokens >= one.prompt_tokens
    two = send(client, agent, "remember this").usage
    assert two.step_count == 2 and two.prompt_tokens > one.prompt_tokens
    assert two.total_tokens == two.prompt_tokens + two.completion_tokens


def test_the_answer_can_be_filtered_by_kind(client, agent):
    answer = send(client, agent, "remember filter", include_return_message_types=["assistant_message"])
    assert kinds(answer.messages) == ["assistant_message"]


def test_a_model_can_be_overridden_for_one_request(client, agent, model, token):
    send(client, agent, f"small {token}", override_model="openai-proxy/scripted-small")
    send(client, agent, f"usual {token}")
    assert model.requests(f"small {token}")[0]["model"] == "scripted-small"
    assert model.last_request(f"usual {token}")["model"] == "scripted"


def test_the_agents_last_run_is_noted(client, agent):
    send(client, agent, "hello")
    after = client.agents.retrieve(agent.id)
    assert after.last_stop_reason == "end_turn" and after.last_run_completion is not None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"input": "a", "messages": [{"role": "user", "content": "b"}]},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"message": "old form"},
        {"input": "x", "max_steps": 0},
        {"input": "x", "max_steps": "many"},
    ],
)
def test_a_request_that_makes_no_sense_is_422(http, agent, body):
    answer = http.post(f"/v1/agents/{agent.id}/messages", json=body)
    assert answer.status_code == 422 and answer.json()["detail"]


def test_broken_json_is_422(http, agent):
    answer = http.post(
        f"/v1/agents/{agent.id}/messages", content="{not json", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422 and "json" in answer.text.lower()


def test_an_approval_that_nobody_waits_for_is_refused(client, agent):
    approval = {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "call_1", "approve": True}]}
    with pytest.raises(letta_client.BadRequestError, match="No tool call is currently awaiting approval"):
        client.agents.messages.create(agent.id, messages=[approval])


def test_a_message_to_an_unknown_agent_is_404(client):
    with pytest.raises(letta_client.NotFoundError):
        send(client, "agent-00000000-0000-4000-8000-0000000000ff", "hello")


def test_text_of_every_kind_reaches_the_model_and_the_history(client, agent, model, token):
    text = f"{token} nul \x00 quote \" emoji 🦀 \r\n tab\t"
    send(client, agent, text)
    assert model.last_request(token)["messages"][-1]["content"] == text
    said = of_kind(client.agents.messages.list(agent.id, limit=10).items, "user_message")
    assert [m.content for m in said] == [text]
