"""Turns that call a tool of an OpenAI client and one that a person has to approve: neither of the two waits for the other,
and whichever comes last, the conversation goes on."""

import openai
import pytest

from programs import MODEL
from talk import kinds
from test_approvals import ADD, answer, approve, asked, history, ids, returns, send
from test_openai_clients import gpt, openai_of, said
from test_openai_tools import FLAT, PICK, pick, whole

__all__ = ["asked", "gpt"]  # the fixtures

NEXT = {"role": "user", "content": "and now?"}


def mixed(tool, token=""):
    """A message upon which the model calls the client's tool and the one to approve."""
    return f'{token} [[call pick_color {{"hue": "red"}}]][[call {tool.name} {{"a": 1, "b": 2}}]]'


def pending(http, agent):
    shown = http.get(f"/v1/agents/{agent.id}?include=agent.pending_approval").json()["pending_approval"]
    return shown and [call["tool_call_id"] for call in shown["tool_calls"]]


def returned(model, token):
    return [message["content"] for message in model.requests(token)[-1]["messages"] if message["role"] == "tool"]


class Chat:
    """A client of chat completions that keeps what was said, as they all do."""

    def __init__(self, sdk, agent, stream=False):
        self.sdk, self.agent, self.stream, self.messages = sdk, agent, stream, []

    def say(self, *messages):
        """What the agent answers, and why it ended."""
        self.messages += messages
        got = self.sdk.chat.completions.create(
            model=self.agent.id, messages=self.messages, tools=[PICK], stream=self.stream
        )
        if self.stream:
            message, reason = whole(got)
        else:
            message, reason = got.choices[0].message.model_dump(exclude_none=True), got.choices[0].finish_reason
        self.messages.append(message)
        return message, reason

    def refused(self, *messages):
        """A 409 does not enter what was said."""
        with pytest.raises(openai.ConflictError) as conflict:
            self.sdk.chat.completions.create(model=self.agent.id, messages=[*self.messages, *messages], tools=[PICK])
        assert "approval" in str(conflict.value)


def results(message):
    return [
        {"role": "tool", "tool_call_id": call["id"], "content": pick(call["function"]["arguments"])}
        for call in message["tool_calls"]
    ]


@pytest.fixture
def agent(make_agent, asked):
    return make_agent(tool_ids=[asked.id])


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_gives_its_result_and_a_person_approves_later(gpt, client, http, agent, asked, model, token, stream):
    chat = Chat(gpt, agent, stream)
    first, reason = chat.say({"role": "user", "content": mixed(asked, token)})
    assert reason == "tool_calls" and [call["function"]["name"] for call in first["tool_calls"]] == ["pick_color"]
    both = pending(http, agent)
    assert len(both) == 2
    second, reason = chat.say(*results(first))
    # Nothing runs before the person decides, and the client has nothing left to do.
    assert reason == "stop" and not second.get("tool_calls") and len(model.requests(token)) == 1
    [left] = pending(http, agent)
    assert left in both and left != first["tool_calls"][0]["id"]
    chat.refused(NEXT)
    done = answer(client, agent, approve(left))
    assert done.stop_reason.stop_reason == "end_turn"
    assert returned(model, token) == ["red it is", "3"] and pending(http, agent) is None
    assert chat.say(NEXT)[1] == "stop"
    told = history(client, agent)
    assert kinds(told)[1:5] == ["user_message", "approval_request_message", "approval_response_message", "tool_return_message"]
    assert [one.type for one in told[3].approvals] == ["tool", "approval"]


def test_a_person_answers_first_only_with_the_clients_result(gpt, client, agent, asked, model, token):
    """In the V1 API the answers are for all calls that wait, also for those of a client that is gone."""
    chat = Chat(gpt, agent)
    first, _ = chat.say({"role": "user", "content": mixed(asked, token)})
    [own] = [call["id"] for call in first["tool_calls"]]
    waiting = client.agents.retrieve(agent.id, include=["agent.pending_approval"]).pending_approval
    [other] = [call.tool_call_id for call in waiting.tool_calls if call.tool_call_id != own]
    with pytest.raises(Exception, match="Invalid tool call IDs"):
        answer(client, agent, approve(other))
    done = answer(client, agent, approve(other), approve(own, approve=False, reason="nobody is there"))
    assert ("success", "3") in returns(done)
    # The client comes back with its result, which is too late, and goes on all the same.
    with pytest.raises(openai.ConflictError):
        gpt.chat.completions.create(model=agent.id, messages=[*chat.messages, *results(first)], tools=[PICK])
    assert chat.say(NEXT)[1] == "stop"


def test_both_may_be_named_by_the_person_though_the_result_was_taken_before(gpt, client, agent, asked, model, token):
    chat = Chat(gpt, agent)
    first, _ = chat.say({"role": "user", "content": mixed(asked, token)})
    waiting = client.agents.retrieve(agent.id, include=["agent.pending_approval"]).pending_approval
    chat.say(*results(first))
    # As one that had listed the calls before does.
    answer(client, agent, *[approve(call.tool_call_id) for call in waiting.tool_calls])
    assert returned(model, token) == ["red it is", "3"]


def test_a_result_that_is_sent_again_changes_nothing(gpt, client, http, agent, asked, model, token):
    chat = Chat(gpt, agent)
    first, _ = chat.say({"role": "user", "content": mixed(asked, token)})
    for hue in ("red it is", "blue, rather"):
        result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": hue}
        again = gpt.chat.completions.create(model=agent.id, messages=[*chat.messages, result], tools=[PICK])
        assert again.choices[0].finish_reason == "stop"
    answer(client, agent, approve(pending(http, agent)[0]))
    assert returned(model, token) == ["red it is", "3"]
    late = gpt.chat.completions.create(model=agent.id, messages=[*chat.messages, *results(first)], tools=[PICK])
    assert late.choices[0].finish_reason == "stop" and len(model.requests(token)) == 2


def test_a_client_that_says_something_else_has_given_up_its_own_call_only(gpt, client, http, agent, asked, model, token):
    chat = Chat(gpt, agent)
    chat.say({"role": "user", "content": mixed(asked, token)})
    chat.refused({"role": "user", "content": "never mind"})
    [left] = pending(http, agent)
    answer(client, agent, approve(left))
    given_up, added = returned(model, token)
    assert "went on without" in given_up and added == "3"
    assert chat.say(NEXT)[1] == "stop"


def test_a_result_and_more_words_are_both_heard_in_the_end(gpt, client, http, agent, asked, model, token):
    chat = Chat(gpt, agent)
    first, _ = chat.say({"role": "user", "content": mixed(asked, token)})
    more = [*results(first), {"role": "user", "content": f"more {token}"}]
    chat.refused(*more)
    chat.refused(*more)
    answer(client, agent, approve(pending(http, agent)[0], approve=False))
    assert chat.say(*more)[1] == "stop"
    told = model.requests(token)[-1]["messages"]
    assert [m["content"] for m in told if m["role"] == "user"].count(f"more {token}") == 1
    assert returned(model, token)[0] == "red it is" and "denied" in returned(model, token)[1]


def test_a_cancel_denies_what_was_not_answered(gpt, client, http, agent, asked, model, token):
    chat = Chat(gpt, agent)
    first, _ = chat.say({"role": "user", "content": mixed(asked, token)})
    chat.say(*results(first))
    client.agents.messages.cancel(agent.id)
    assert pending(http, agent) is None
    assert chat.say({"role": "user", "content": f"on {token}"})[1] == "stop"
    kept, denied = returned(model, token)
    assert kept == "red it is" and "cancelled" in denied


@pytest.mark.parametrize("remembers", [False, True])
def test_responses_do_the_same(gpt, client, http, agent, asked, model, token, remembers):
    asks = [{"role": "user", "content": mixed(asked, token)}]
    first = gpt.responses.create(model=agent.id, input=asks, tools=[FLAT])
    [call] = [item for item in first.output if item.type == "function_call"]
    assert call.name == "pick_color"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "red it is"}
    if remembers:
        second = gpt.responses.create(model=agent.id, input=[result], tools=[FLAT], previous_response_id=first.id)
    else:
        past = [item.model_dump(exclude_none=True) for item in first.output]
        second = gpt.responses.create(model=agent.id, input=[*asks, *past, result], tools=[FLAT])
    assert second.status == "completed" and not second.output
    answer(client, agent, approve(pending(http, agent)[0]))
    assert returned(model, token) == ["red it is", "3"]
    third = gpt.responses.create(model=agent.id, input="on", previous_response_id=second.id)
    assert third.output_text


def test_each_user_has_such_calls_of_their_own(gpt, client, http, agent, asked, model, token):
    options = {"model": agent.id, "tools": [PICK], "user": f"ann-{token}"}
    asks = {"role": "user", "content": mixed(asked, token)}
    first = gpt.chat.completions.create(messages=[asks], **options).choices[0].message
    result = results(first.model_dump())
    gpt.chat.completions.create(messages=[asks, first, *result], **options)
    assert pending(http, agent) is None  # of the agent's own thread
    assert said(gpt.chat.completions.create(model=agent.id, messages=[NEXT], user=f"bob-{token}"))
    [thread] = [one for one in client.conversations.list(agent_id=agent.id) if len(one.in_context_message_ids) > 1][-1:]
    with pytest.raises(openai.ConflictError):
        gpt.chat.completions.create(messages=[asks, first, *result, NEXT], **options)


def test_what_was_answered_survives_a_power_cut(own_server, own_client, model, token):
    server = own_server()
    client = own_client(server)
    tool = client.tools.create(source_code=ADD.replace("NAME", f"add_{token}"), default_requires_approval=True)
    agent = client.agents.create(model=MODEL, tool_ids=[tool.id])
    with openai_of(server) as sdk:
        chat = Chat(sdk, agent)
        first, _ = chat.say({"role": "user", "content": mixed(tool, token)})
        chat.say(*results(first))
        server.kill()
        server.start()
        waiting = client.agents.retrieve(agent.id, include=["agent.pending_approval"]).pending_approval
        [left] = [call.tool_call_id for call in waiting.tool_calls]
        answer(client, agent, approve(left))
        assert returned(model, token) == ["red it is", "3"]
        assert chat.say(NEXT)[1] == "stop"


def test_calls_of_the_v1_api_are_still_answered_all_at_once(client, agent, asked):
    tools = [{"name": "pick_color", "description": "Picks.", "parameters": {"type": "object", "properties": {}}}]
    first = send(client, agent, mixed(asked), client_tools=tools)
    one, _ = ids(first)
    with pytest.raises(Exception, match="Invalid tool call IDs"):
        answer(client, agent, {"type": "tool", "tool_call_id": one, "tool_return": "red", "status": "success"})
