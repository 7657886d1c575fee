"""Calls that a person has to approve, or that the client runs: nothing runs before they are answered, and nothing that a
client does or leaves undone stops the conversation for good."""

import json
import pytest
from letta_client import APIStatusError

from programs import MODEL, eventually
from talk import kinds, of_kind, raw_stream, reply, send, user

ADD = '''
def NAME(a: int, b: int):
    """
    Adds.

    Args:
        a: the first
        b: the second
    """
    print("adding")
    return a + b
'''
PICK = {
    "name": "pick_color",
    "description": "Picks a colour.",
    "parameters": {"type": "object", "properties": {"hue": {"type": "string"}}, "required": ["hue"]},
}
CALL = '[[call pick_color {"hue": "red"}]]'
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture
def asked(client, token):
    """A tool that a person has to approve."""
    return client.tools.create(source_code=ADD.replace("NAME", f"add_{token}"), default_requires_approval=True)


@pytest.fixture
def free(client, token):
    return client.tools.create(source_code=ADD.replace("NAME", f"free_{token}"))


def call(tool, **arguments):
    return f"[[call {tool.name} {json.dumps(arguments)}]]"


def waiting(answer):
    """The calls that an answer ends with, which somebody has to answer."""
    assert answer.stop_reason.stop_reason == "requires_approval", answer
    request = answer.messages[-1]
    assert request.message_type == "approval_request_message", answer
    return request


def ids(answer):
    return [one.tool_call_id for one in waiting(answer).tool_calls]


def answer(client, agent, *answers, then=(), **options):
    messages = [{"type": "approval", "approvals": list(answers)}, *then]
    return client.agents.messages.create(agent.id, messages=messages, **options)


def approve(id, approve=True, **fields):
    return {"type": "approval", "tool_call_id": id, "approve": approve, **fields}


def result(id, value, status="success", **fields):
    return {"type": "tool", "tool_call_id": id, "tool_return": value, "status": status, **fields}


def returns(answer):
    return [(one.status, one.tool_return) for one in of_kind(answer.messages, "tool_return_message")]


def history(client, agent):
    return list(client.agents.messages.list(agent.id, order="asc", limit=100))


def test_a_call_runs_when_it_was_approved(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    first = send(client, agent, call(asked, a=2, b=3))
    request = waiting(first)
    assert request.tool_call.name == asked.name and json.loads(request.tool_call.arguments) == {"a": 2, "b": 3}
    assert request.otid == request.id
    assert kinds(first.messages) == ["approval_request_message"] and first.usage.step_count == 1
    run = client.runs.retrieve(request.run_id)
    assert (run.status, run.stop_reason) == ("completed", "requires_approval")
    shown = http.get(f"/v1/agents/{agent.id}?include=agent.pending_approval").json()["pending_approval"]
    assert shown["id"] == request.id and shown["message_type"] == "approval_request_message"
    second = answer(client, agent, approve(request.tool_call.tool_call_id))
    assert kinds(second.messages) == ["tool_return_message", "assistant_message"] and returns(second) == [("success", "5")]
    returned = second.messages[0]
    assert returned.name == asked.name and returned.stdout == ["adding"] and returned.step_id == request.step_id
    assert second.stop_reason.stop_reason == "end_turn" and second.usage.step_count == 1
    assert http.get(f"/v1/agents/{agent.id}?include=agent.pending_approval").json()["pending_approval"] is None
    assert reply(send(client, agent, "And now?"))
    told = history(client, agent)
    assert kinds(told)[1:] == [
        "user_message", "approval_request_message", "approval_response_message", "tool_return_message", "assistant_message",
        "user_message", "assistant_message",
    ]
    assert told[3].approvals[0].approve is True


def test_a_denied_call_is_an_error_that_the_model_reads(client, model, token, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    first = send(client, agent, f"{token} {call(asked, a=2, b=3)}")
    second = answer(client, agent, approve(ids(first)[0], approve=False, reason="not on Sundays"))
    [(status, text)] = returns(second)
    assert status == "error" and "denied" in text and "not on Sundays" in text
    seen = model.requests(token)[-1]["messages"]
    assert seen[-1]["role"] == "tool" and "not on Sundays" in seen[-1]["content"]
    assert reply(second)


def test_nothing_else_is_heard_before_the_answer(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    request = waiting(send(client, agent, call(asked, a=2, b=3)))
    body = {"messages": [user("hello?")]}
    for path in (f"/v1/agents/{agent.id}/messages", f"/v1/agents/{agent.id}/messages/stream", f"/v1/agents/{agent.id}/messages/async"):
        refused = http.post(path, json=body)
        assert refused.status_code == 409 and refused.headers["x-should-retry"] == "false", refused.text
        detail = refused.json()["detail"]
        assert detail["code"] == "PENDING_APPROVAL" and detail["pending_request_id"] == request.id
        assert "waiting for approval" in detail["message"]
    # Other threads of the agent go on.
    other = client.conversations.create(agent_id=agent.id)
    assert http.post(f"/v1/conversations/{other.id}/messages", json=body | {"streaming": False}).status_code == 200
    assert returns(answer(client, agent, approve(request.tool_call.tool_call_id))) == [("success", "5")]


@pytest.mark.parametrize("mode", ["all", "sliding_window", "self_compact_all", "self_compact_sliding_window"])
@pytest.mark.parametrize("thread", ["the agent's", "another"])
def test_what_waits_is_not_compacted_away(client, http, make_agent, asked, mode, thread):
    agent = make_agent(tool_ids=[asked.id])
    path, compact = f"/v1/agents/{agent.id}", "summarize"
    if thread == "another":
        path, compact = f"/v1/conversations/{client.conversations.create(agent_id=agent.id).id}", "compact"
    say = lambda *messages: http.post(f"{path}/messages", json={"messages": messages, "streaming": False}).raise_for_status().json()
    for number in range(6):
        say(user(f"The {number}. wind comes from the west, and the boat lies in the harbour."))
    asking = say(user(call(asked, a=2, b=3) + call(asked, a=4, b=5)))
    one, two = [c["tool_call_id"] for m in asking["messages"] if m["message_type"] == "approval_request_message" for c in m["tool_calls"]]
    settings = {"compaction_settings": {"mode": mode}}
    done = http.post(f"{path}/{compact}", json=settings)
    assert done.status_code == 200, done.text
    assert done.json()["num_messages_after"] < done.json()["num_messages_before"]
    # Again, where little is left.
    assert http.post(f"{path}/{compact}", json=settings).status_code in (200, 400)
    told = say({"type": "approval", "approvals": [approve(one), approve(two)]})["messages"]
    assert [m["tool_return"] for m in told if m["message_type"] == "tool_return_message"] == ["5", "9"]
    assert told[-1]["message_type"] == "assistant_message"


def test_answers_that_fit_nothing_are_refused_and_nothing_is_lost(client, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    with pytest.raises(APIStatusError) as refused:
        answer(client, agent, approve("call_1"))
    assert refused.value.status_code == 400 and "No tool call is currently awaiting approval" in str(refused.value)
    [id] = ids(send(client, agent, call(asked, a=2, b=3)))
    for wrong in ([approve("call_1")], [approve(id), approve("call_1")], [approve(id), approve(id)]):
        with pytest.raises(APIStatusError) as refused:
            answer(client, agent, *wrong)
        assert refused.value.status_code == 400 and "Invalid tool call IDs" in str(refused.value), wrong
    for wrong in ({"type": "approval"}, {"type": "approval", "approvals": []}, {"type": "approval", "approvals": [{"type": "x", "tool_call_id": id}]}):
        with pytest.raises(APIStatusError) as refused:
            client.agents.messages.create(agent.id, messages=[wrong])
        assert refused.value.status_code == 422, wrong
    assert returns(answer(client, agent, approve(id))) == [("success", "5")]


def test_answers_that_are_sent_again_run_nothing_again(client, model, token, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    [id] = ids(send(client, agent, f"{token} {call(asked, a=2, b=3)}"))
    answer(client, agent, approve(id))
    before, calls = kinds(history(client, agent)), len(model.requests(token))
    again = answer(client, agent, approve(id))
    assert again.messages == [] and again.stop_reason.stop_reason == "end_turn"
    assert kinds(history(client, agent)) == before and len(model.requests(token)) == calls
    with_more = answer(client, agent, approve(id), then=[user("And now?")])
    assert kinds(with_more.messages) == ["assistant_message"]


@pytest.mark.parametrize("agent_type", ["memgpt_v2_agent", "memgpt_agent", "react_agent", "workflow_agent"])
def test_answers_sent_again_in_the_older_loops_run_nothing_again(client, http, model, token, make_agent, asked, agent_type):
    agent = make_agent(tool_ids=[asked.id], agent_type=agent_type)
    [id] = ids(send(client, agent, f"{token} {call(asked, a=2, b=3, thinking='hm', request_heartbeat=False)}"))
    assert returns(answer(client, agent, approve(id))) == [("success", "5")]
    before, calls = kinds(history(client, agent)), len(model.requests(token))
    answered = next(iter(client.runs.list(agent_id=agent.id))).id
    for run in (None, answered):
        if run:
            http.delete(f"/v1/runs/{run}").raise_for_status()
        again = answer(client, agent, approve(id))
        assert again.messages == [] and again.stop_reason.stop_reason == "end_turn"
        assert kinds(history(client, agent)) == before and len(model.requests(token)) == calls


def test_calls_of_one_answer_wait_for_each_other(client, make_agent, asked, free):
    agent = make_agent(tool_ids=[asked.id, free.id])
    first = send(client, agent, call(free, a=1, b=1) + call(asked, a=2, b=2) + call(asked, a=3, b=3))
    assert kinds(first.messages) == ["tool_call_message", "approval_request_message"]
    yes, no = ids(first)
    second = answer(client, agent, approve(no, approve=False), approve(yes))
    assert [status for status, _ in returns(second)] == ["success", "success", "error"]
    assert [text for _, text in returns(second)][:2] == ["2", "4"]


def test_messages_may_follow_an_answer(client, model, token, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    [id] = ids(send(client, agent, call(asked, a=2, b=3)))
    second = answer(client, agent, approve(id), then=[user(f"and {token}")])
    assert kinds(second.messages) == ["tool_return_message", "assistant_message"]
    assert [message["role"] for message in model.requests(token)[-1]["messages"][-2:]] == ["tool", "user"]


def test_the_old_form_of_an_answer_is_for_all_calls(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    request = waiting(send(client, agent, call(asked, a=2, b=3) + call(asked, a=1, b=1)))
    body = {"messages": [{"type": "approval", "approve": True, "approval_request_id": request.id}]}
    told = http.post(f"/v1/agents/{agent.id}/messages", json=body).json()["messages"]
    assert [one["tool_return"] for one in told if one["message_type"] == "tool_return_message"] == ["5", "2"]


def test_an_answer_in_the_old_form_is_for_the_request_that_it_names(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    request = waiting(send(client, agent, f"[[steps 2]] {call(asked, a=2, b=3)}"))
    body = {"messages": [{"type": "approval", "approve": True, "approval_request_id": request.id}]}
    path = f"/v1/agents/{agent.id}/messages"
    first = http.post(path, json=body).json()
    assert first["stop_reason"]["stop_reason"] == "requires_approval", "the second call waits"
    # Sent again, it is no answer to what waits now.
    again = http.post(path, json=body)
    assert again.status_code == 400 and "No tool call is currently awaiting approval" in again.text, again.text
    second = http.get(f"/v1/agents/{agent.id}?include=agent.pending_approval").json()["pending_approval"]
    body["messages"][0]["approval_request_id"] = second["id"]
    assert http.post(path, json=body).json()["stop_reason"]["stop_reason"] == "end_turn"
    repeated = http.post(path, json=body)
    assert repeated.status_code == 200 and repeated.json()["messages"] == [], "nothing waits: it was taken in before"


def test_a_client_tool_that_is_only_approved_is_not_run_by_the_server(client, make_agent, free):
    agent = make_agent(tool_ids=[free.id])
    mine = PICK | {"name": free.name}
    [id] = ids(send(client, agent, call(free, a=1, b=2), client_tools=[mine]))
    [(status, text)] = returns(answer(client, agent, approve(id), client_tools=[mine]))
    assert status == "error" and "its result was not sent" in text


def test_a_cancelled_request_is_denied_and_the_next_message_is_heard(client, model, token, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    run = waiting(send(client, agent, call(asked, a=2, b=3))).run_id
    assert client.agents.messages.cancel(agent.id) == {run: "cancelled"}
    assert (client.runs.retrieve(run).status, client.runs.retrieve(run).stop_reason) == ("cancelled", "cancelled")
    assert reply(send(client, agent, f"never mind {token}"))
    seen = model.requests(token)[-1]["messages"]
    assert seen[-2]["role"] == "tool" and "cancelled" in seen[-2]["content"]
    with pytest.raises(APIStatusError) as refused:
        client.agents.messages.cancel(agent.id)
    assert refused.value.status_code == 409, "nothing waits any more"


def test_a_request_expires(own_server, own_client):
    server = own_server(MNEMIC_APPROVAL_EXPIRY_SECONDS="1")
    sdk = own_client(server)
    tool = sdk.tools.create(source_code=ADD.replace("NAME", "add"), default_requires_approval=True)
    agent = sdk.agents.create(model=MODEL, tool_ids=[tool.id])
    waiting(send(sdk, agent, call(tool, a=2, b=3)))

    def heard():
        try:
            return send(sdk, agent, "hello?")
        except APIStatusError as error:
            assert error.status_code == 409
            return None

    later = eventually(heard, "the request expires", 10)
    [(status, text)] = returns(later)
    assert status == "error" and "in time" in text and reply(later)


def test_a_request_survives_a_power_cut(own_server, own_client):
    server = own_server()
    sdk = own_client(server)
    tool = sdk.tools.create(source_code=ADD.replace("NAME", "add"), default_requires_approval=True)
    agent = sdk.agents.create(model=MODEL, tool_ids=[tool.id])
    [id] = ids(send(sdk, agent, call(tool, a=2, b=3)))
    server.kill()
    server.start()
    assert returns(answer(sdk, agent, approve(id))) == [("success", "5")]


def test_an_agent_that_forgets_still_knows_what_it_asked(client, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id], message_buffer_autoclear=True)
    send(client, agent, "forget this")
    [id] = ids(send(client, agent, call(asked, a=2, b=3)))
    assert returns(answer(client, agent, approve(id))) == [("success", "5")]
    assert reply(send(client, agent, "And now?"))


def test_a_message_that_waited_in_line_is_told_that_the_agent_waits(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    body = {"messages": [user(f"[[sleep 1500]] {call(asked, a=2, b=3)}")]}
    first = http.post(f"/v1/agents/{agent.id}/messages/async", json=body).json()
    second = http.post(f"/v1/agents/{agent.id}/messages/async", json={"messages": [user("hello?")]}).json()
    third = http.post(f"/v1/agents/{agent.id}/messages", json={"messages": [user("and I?")]})
    assert third.status_code == 409 and third.json()["detail"]["code"] == "PENDING_APPROVAL", third.text
    assert third.headers["x-should-retry"] == "false"
    runs = [eventually(lambda: over(client, run["id"]), "it is over", 20) for run in (first, second)]
    assert [run.stop_reason for run in runs] == ["requires_approval", "error"]
    request = http.get(f"/v1/agents/{agent.id}?include=agent.pending_approval").json()["pending_approval"]
    assert returns(answer(client, agent, approve(request["tool_call"]["tool_call_id"]))) == [("success", "5")]


def over(client, run_id):
    run = client.runs.retrieve(run_id)
    return run if run.status in ("completed", "failed", "cancelled") else None


def test_a_stream_ends_with_the_request_and_its_answer_goes_on(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    body = {"messages": [user(call(asked, a=2, b=3))], "stream_tokens": True, "streaming": True}
    frames = [data for _, data in raw_stream(http, f"/v1/agents/{agent.id}/messages", body)]
    parts = [frame for frame in frames if isinstance(frame, dict) and frame["message_type"] == "approval_request_message"]
    assert parts and len({part["id"] for part in parts}) == 1 and parts[0]["otid"] == parts[0]["id"]
    assert all(set(part["tool_call"]) == {"name", "arguments", "tool_call_id"} for part in parts), "nulls are kept"
    assert "".join(part["tool_call"]["name"] or "" for part in parts) == asked.name
    assert json.loads("".join(part["tool_call"]["arguments"] or "" for part in parts)) == {"a": 2, "b": 3}
    stopped = next(frame for frame in frames if isinstance(frame, dict) and frame["message_type"] == "stop_reason")
    assert stopped["stop_reason"] == "requires_approval" and frames[-1] == "[DONE]"
    answers = [{"type": "approval", "approvals": [approve(parts[0]["tool_call"]["tool_call_id"])]}]
    with client.agents.messages.stream(agent.id, messages=answers, stream_tokens=True) as told:
        told = list(told)
    assert [frame.tool_return for frame in of_kind(told, "tool_return_message")] == ["5"] and reply(told)


def test_a_background_run_that_waits_can_be_followed_later(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    body = {"messages": [user(call(asked, a=2, b=3))], "stream_tokens": True, "streaming": True, "background": True}
    live = raw_stream(http, f"/v1/agents/{agent.id}/messages", body)
    run_id = next(data["run_id"] for _, data in live if isinstance(data, dict) and data.get("run_id"))
    again = raw_stream(http, f"/v1/runs/{run_id}/stream", {"starting_after": 0})
    numbered = [data for _, data in live if isinstance(data, dict) and data.get("seq_id")]
    assert [data for _, data in again if isinstance(data, dict) and data.get("seq_id")] == numbered


def test_a_client_runs_its_own_tool(client, model, token, make_agent):
    agent = make_agent()
    first = send(client, agent, f"{token} {CALL}", client_tools=[PICK])
    request = waiting(first)
    assert request.tool_call.name == "pick_color"
    names = [tool["function"]["name"] for tool in model.requests(token)[0]["tools"]]
    assert "pick_color" in names and "memory_insert" in names
    parts = [{"type": "text", "text": "red it is"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}]
    second = answer(client, agent, result(ids(first)[0], parts), client_tools=[PICK])
    assert returns(second) == [("success", "red it is\n[image 1]")] and reply(second)
    assert second.messages[0].tool_returns[0].tool_return[1].source.data == PIXEL
    sent = model.requests(token)[-1]["messages"]
    assert sent[-2]["content"] == "red it is\n[image 1]" and PIXEL in json.dumps(sent[-1])
    # They belong to a request: the next one has none unless it names them.
    send(client, agent, f"hello {token}")
    assert "pick_color" not in [tool["function"]["name"] for tool in model.requests(token)[-1]["tools"]]


def test_a_client_tool_takes_the_place_of_the_agents_own(client, model, token, make_agent, free):
    agent = make_agent(tool_ids=[free.id])
    mine = PICK | {"name": free.name}
    first = send(client, agent, f"{token} {call(free, hue='blue')}", client_tools=[mine])
    assert waiting(first).tool_call.name == free.name
    offered = [tool["function"] for tool in model.requests(token)[0]["tools"] if tool["function"]["name"] == free.name]
    assert [tool["description"] for tool in offered] == ["Picks a colour."]
    second = answer(client, agent, result(ids(first)[0], "no such file", status="error"), client_tools=[mine])
    assert returns(second) == [("error", "no such file")]
    # Without it the agent's own is there again.
    assert returns(send(client, agent, call(free, a=1, b=2))) == [("success", "3")]


def test_client_and_server_calls_of_one_answer_get_their_returns_in_order(client, make_agent, free, asked):
    agent = make_agent(tool_ids=[free.id, asked.id])
    first = send(client, agent, CALL + call(free, a=1, b=2) + call(asked, a=3, b=4), client_tools=[PICK])
    mine, theirs = ids(first)
    second = answer(client, agent, result(mine, "red"), approve(theirs), client_tools=[PICK])
    assert returns(second) == [("success", "red"), ("success", "3"), ("success", "7")]


def test_client_tools_are_called_one_turn_after_the_other(client, make_agent):
    agent = make_agent()
    first = send(client, agent, CALL, client_tools=[PICK])
    again = answer(client, agent, result(ids(first)[0], f"take another: {CALL}"), client_tools=[PICK], then=[user(CALL)])
    assert kinds(again.messages) == ["tool_return_message", "approval_request_message"]
    last = answer(client, agent, result(ids(again)[0], "done"), client_tools=[PICK])
    assert last.stop_reason.stop_reason == "end_turn"


def test_results_may_come_as_tool_returns(client, http, make_agent):
    agent = make_agent()
    [id] = ids(send(client, agent, CALL, client_tools=[PICK]))
    body = {"messages": [{"type": "tool_return", "tool_returns": [result(id, "red")]}], "client_tools": [PICK]}
    told = http.post(f"/v1/agents/{agent.id}/messages", json=body).json()["messages"]
    assert [one["message_type"] for one in told] == ["tool_return_message", "assistant_message"]


def test_client_tools_work_in_conversations_and_streams(client, http, make_agent):
    agent = make_agent()
    thread = client.conversations.create(agent_id=agent.id)
    path = f"/v1/conversations/{thread.id}/messages"
    body = {"messages": [user(CALL, otid="a")], "client_tools": [PICK], "stream_tokens": True, "background": True}
    frames = [data for _, data in raw_stream(http, path, body) if isinstance(data, dict)]
    id = next(frame["tool_call"]["tool_call_id"] for frame in frames if frame["message_type"] == "approval_request_message")
    answers = [{"type": "approval", "approvals": [result(id, [{"type": "text", "text": "red"}])], "otid": "b"}]
    frames = [data for _, data in raw_stream(http, path, body | {"messages": answers}) if isinstance(data, dict)]
    assert [frame["tool_return"] for frame in frames if frame["message_type"] == "tool_return_message"] == ["red"]
    # Sent again under its otid, it is the same run's stream.
    again = [data for _, data in raw_stream(http, path, body | {"messages": answers}) if isinstance(data, dict)]
    assert {frame["run_id"] for frame in again if frame.get("run_id")} == {frame["run_id"] for frame in frames if frame.get("run_id")}


def test_skills_of_a_client_are_told_to_the_model(client, http, model, token, make_agent):
    agent = make_agent()
    skill = {"name": "sailing", "description": "How to sail.\nSafely.", "location": "/skills/sailing"}
    body = {"messages": [user(f"hello {token}")], "client_skills": [skill]}
    assert http.post(f"/v1/agents/{agent.id}/messages", json=body).status_code == 200
    prompt = model.requests(token)[-1]["messages"][0]["content"]
    assert "- sailing (/skills/sailing): How to sail. Safely." in prompt
    send(client, agent, f"hello {token}")
    assert "sailing" not in model.requests(token)[-1]["messages"][0]["content"]


@pytest.mark.parametrize(
    "tools",
    [
        [{"name": "a b"}],
        [{"name": ""}],
        [{"name": "a"}, {"name": "a"}],
        [{"name": "a", "parameters": [1]}],
        [{"description": "nameless"}],
        [{"name": f"t{n}"} for n in range(300)],
    ],
)
def test_client_tools_that_no_model_can_call_are_refused(http, make_agent, tools):
    body = {"messages": [user("hello")], "client_tools": tools}
    assert http.post(f"/v1/agents/{make_agent().id}/messages", json=body).status_code == 422


def test_an_agent_that_forgets_keeps_its_question_through_every_answer(client, model, token, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id], message_buffer_autoclear=True)
    [id] = ids(send(client, agent, f"[[steps 2]] {token} {call(asked, a=2, b=3)}"))
    [id] = ids(answer(client, agent, approve(id)))
    answer(client, agent, approve(id))
    roles = [message["role"] for message in model.requests(token)[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool"]


def test_a_stream_and_the_history_name_the_same_calls_alike(client, http, make_agent, asked, free):
    agent = make_agent(tool_ids=[asked.id, free.id])
    body = {"messages": [user(call(asked, a=2, b=3) + call(free, a=1, b=1))], "stream_tokens": True, "streaming": True}
    frames = [data for _, data in raw_stream(http, f"/v1/agents/{agent.id}/messages", body) if isinstance(data, dict)]
    kinds = ("approval_request_message", "tool_call_message")
    streamed = {frame["message_type"]: frame["otid"] for frame in frames if frame["message_type"] in kinds}
    kept = {one.message_type: one.otid for one in history(client, agent) if one.message_type in kinds}
    assert streamed == kept and len(kept) == 2


def test_what_a_client_returns_is_kept_as_far_as_a_model_may_see_it(client, make_agent):
    agent = make_agent()
    first = send(client, agent, CALL, client_tools=[PICK])
    huge = result(ids(first)[0], "x" * 600_000, stdout=["y" * 600_000])
    answer(client, agent, huge, client_tools=[PICK])
    told = history(client, agent)
    response, returned = told[-3], told[-2]
    assert (response.message_type, returned.message_type) == ("approval_response_message", "tool_return_message")
    assert "[cut:" in returned.tool_return and len(returned.tool_return) < 200_000
    assert response.approvals[0].tool_return == returned.tool_return
    assert len("".join(returned.stdout)) < 200_000


def test_a_return_of_a_client_may_have_eight_images(client, make_agent):
    agent = make_agent()
    [id] = ids(send(client, agent, CALL, client_tools=[PICK]))
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    with pytest.raises(APIStatusError) as refused:
        answer(client, agent, result(id, [image] * 9), client_tools=[PICK])
    assert refused.value.status_code == 422
    assert returns(answer(client, agent, result(id, [image] * 8), client_tools=[PICK]))[0][0] == "success"


def test_what_was_noted_of_an_answer_does_not_outlive_it(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    [id] = ids(send(client, agent, call(asked, a=2, b=3)))
    before = client.agents.retrieve(agent.id).message_ids
    assert returns(answer(client, agent, approve(id))) == [("success", "5")]
    http.patch(f"/v1/agents/{agent.id}", json={"message_ids": before}).raise_for_status()
    [(status, text)] = returns(answer(client, agent, approve(id, approve=False, reason="not again")))
    assert status == "error" and "not again" in text


def test_an_answer_that_waited_in_line_is_checked_as_well(client, http, make_agent):
    agent = make_agent()
    body = {"messages": [user("[[sleep 1500]] hello")]}
    http.post(f"/v1/agents/{agent.id}/messages/async", json=body).raise_for_status()
    answers = {"messages": [{"type": "approval", "approvals": [approve("call_never")]}]}
    refused = http.post(f"/v1/agents/{agent.id}/messages", json=answers)
    assert refused.status_code == 400 and "No tool call is currently awaiting approval" in refused.text, refused.text
