"""Rules on an agent's tools: which it may call next, with which arguments, and when its turn ends."""

import json

import pytest
from letta_client import APIStatusError

from programs import MODEL, eventually
from talk import of_kind, raw_stream, reply, send, user

SAY = '''
def NAME(text: str, times: int = 1):
    """
    Says a text.

    Args:
        text: the text
        times: how often
    """
    return text * times
'''


@pytest.fixture
def tools(client, token):
    """Three tools that return what they are told: their names, by a letter."""
    made = {letter: client.tools.create(source_code=SAY.replace("NAME", f"{letter}_{token}")) for letter in "abc"}
    return {letter: tool.name for letter, tool in made.items()}


@pytest.fixture
def ruled(client, tools):
    """Makes agents with these tools and rules, in which tools are named by their letters."""

    def make(*rules, **fields):
        def named(value):
            if isinstance(value, dict):
                return {key: named(one) for key, one in value.items()}
            if isinstance(value, list):
                return [named(one) for one in value]
            return tools.get(value, value) if isinstance(value, str) else value

        given = {"model": MODEL, "include_base_tools": False, "tools": list(tools.values()), **fields}
        return client.agents.create(tool_rules=[named(rule) for rule in rules], **given)

    return make


def call(name, **arguments):
    return f"[[call {name} {json.dumps(arguments)}]]"


def returns(answer):
    return [(one.name[0], one.status, one.tool_return) for one in of_kind(answer.messages, "tool_return_message")]


def shown(request):
    """The letters of the tools that a request to the model shows, and whether one of them has to be called."""
    letters = "".join(tool["function"]["name"][0] for tool in request.get("tools", []))
    return ("!" if request.get("tool_choice") == "required" else "") + letters


def steps(model, text):
    """What each step of a turn showed the model, in the order of their length."""
    asked = sorted(model.requests(text), key=lambda request: len(request["messages"]))
    return [shown(request) for request in asked]


def test_a_turn_begins_with_what_runs_first_and_the_rules_arguments_win(client, model, ruled, tools, token):
    agent = ruled({"type": "run_first", "tool_name": "b", "args": {"text": "ours"}})
    text = f"go {token} " + call(tools["b"], text="mine", times=2)
    answer = send(client, agent, text)
    assert returns(answer) == [("b", "success", "oursours")]
    made = of_kind(answer.messages, "tool_call_message")[0].tool_call
    assert json.loads(made.arguments) == {"text": "ours", "times": 2}
    assert steps(model, text) == ["!b", "abc"]
    # Each request begins anew.
    send(client, agent, text + " again")
    assert steps(model, text + " again")[0] == "!b"


def test_a_stream_shows_the_arguments_as_they_are_kept(client, http, ruled, tools, token):
    agent = ruled({"type": "run_first", "tool_name": "a", "args": {"text": "ours"}})
    body = {"messages": [user(call(tools["a"], text="mine"))], "stream_tokens": True}
    frames = raw_stream(http, f"/v1/agents/{agent.id}/messages/stream", body)
    calls = [data["tool_call"] for _, data in frames if isinstance(data, dict) and data["message_type"] == "tool_call_message"]
    assert json.loads("".join(one.get("arguments") or "" for one in calls)) == {"text": "ours"}
    otids = {data["otid"] for _, data in frames if isinstance(data, dict) and data["message_type"] == "tool_call_message"}
    kept = of_kind(client.agents.messages.list(agent.id).items, "tool_call_message")
    assert [one.otid for one in kept] == list(otids)


def test_children_follow_their_parent(client, model, ruled, tools, token):
    agent = ruled({"type": "constrain_child_tools", "tool_name": "a", "children": ["b", "c"]})
    text = f"go {token} " + call(tools["a"], text="x")
    send(client, agent, text)
    assert steps(model, text)[:2] == ["abc", "!bc"]


def test_a_call_out_of_order_is_refused_told_and_not_made(client, model, ruled, tools, token):
    agent = ruled({"type": "parent_last_tool", "tool_name": "a", "children": ["b"]})
    text = f"go {token} " + call(tools["b"], text="x")
    answer = send(client, agent, text)
    ((letter, status, told),) = returns(answer)
    assert (letter, status) == ("b", "error") and tools["a"] in told and "rules" in told
    assert reply(answer) and answer.stop_reason.stop_reason == "end_turn"
    assert steps(model, text) == ["ac", "ac"]


@pytest.mark.parametrize(("returned", "following"), [("True", "!b"), ("2", "!c"), ("other", "!a")])
def test_what_a_tool_returns_decides_on_the_next(client, model, ruled, tools, token, returned, following):
    mapping = {"true": "b", "2.0": "c"}
    rule = {"type": "conditional", "tool_name": "a", "child_output_mapping": mapping, "default_child": "a"}
    agent = ruled(rule)
    text = f"go {token} " + call(tools["a"], text=returned)
    send(client, agent, text)
    # Right after the rule's tool the one that it names is the only one shown.
    assert steps(model, text)[:2] == ["abc", following]


def test_a_return_without_a_next_tool_ends_the_run_with_words_and_not_the_agent(client, ruled, tools):
    rule = {"type": "conditional", "tool_name": "a", "child_output_mapping": {"yes": "b"}, "require_output_mapping": True}
    agent = ruled(rule)
    with pytest.raises(APIStatusError) as error:
        send(client, agent, call(tools["a"], text="no"))
    assert error.value.status_code == 400 and "child_output_mapping" in str(error.value)
    run = client.runs.list(agent_id=agent.id).items[0]
    assert (run.status, run.stop_reason) == ("failed", "invalid_tool_call")
    assert reply(send(client, agent, "and now?"))


def test_arguments_that_a_tool_can_not_take_end_the_run_with_words(client, ruled, tools):
    agent = ruled({"type": "run_first", "tool_name": "a", "args": {"times": "many"}})
    with pytest.raises(APIStatusError) as error:
        send(client, agent, call(tools["a"], text="x"))
    assert error.value.status_code == 400 and "times" in str(error.value)
    run = client.runs.list(agent_id=agent.id).items[0]
    assert (run.status, run.stop_reason) == ("failed", "invalid_tool_call")


def test_a_tool_runs_as_often_as_it_may(client, ruled, tools):
    agent = ruled({"type": "max_count_per_step", "tool_name": "a", "max_count_limit": 2})
    text = "[[steps 3]]" + call(tools["a"], text="x")
    assert [status for _, status, _ in returns(send(client, agent, text))] == ["success", "success", "error"]
    assert [status for _, status, _ in returns(send(client, agent, text))] == ["success", "success", "error"], "counted anew"


def test_a_turn_can_not_end_before_what_is_required(client, model, ruled, tools, token):
    agent = ruled({"type": "required_before_exit", "tool_name": "a"})
    answer = send(client, agent, f"hello {token}", max_steps=3)
    assert answer.stop_reason.stop_reason == "max_steps"
    told = [json.loads(one.content) for one in of_kind(answer.messages, "user_message")]
    assert len(told) == 2 and {one["type"] for one in told} == {"heartbeat"}
    assert tools["a"] in told[0]["reason"]
    answer = send(client, agent, call(tools["a"], text="x"))
    assert answer.stop_reason.stop_reason == "end_turn" and not of_kind(answer.messages, "user_message")
    found = client.agents.messages.list(agent.id, limit=100).items
    assert len(of_kind(found, "user_message")) == 4, "heartbeats are part of the history"


def test_the_end_of_a_turn_waits_for_what_is_required_too(client, ruled, tools):
    agent = ruled({"type": "exit_loop", "tool_name": "a"}, {"type": "required_before_exit", "tool_name": "b"})
    answer = send(client, agent, call(tools["a"], text="x"), max_steps=2)
    assert answer.stop_reason.stop_reason == "max_steps"
    only = ruled({"type": "exit_loop", "tool_name": "a"})
    answer = send(client, only, call(tools["a"], text="x"))
    assert answer.stop_reason.stop_reason == "tool_rule" and answer.usage.step_count == 1


def test_only_one_call_at_a_time_is_made_where_there_is_an_order(client, model, ruled, tools, token):
    agent = ruled({"type": "continue_loop", "tool_name": "a"})
    text = f"go {token} " + call(tools["a"], text="1") + call(tools["b"], text="2")
    assert returns(send(client, agent, text)) == [("a", "success", "1")]
    assert all(request.get("parallel_tool_calls") is False for request in model.requests(text))
    free = ruled({"type": "requires_approval", "tool_name": "c"})
    assert [letter for letter, _, _ in returns(send(client, free, text))] == ["a", "b"]


def test_an_approved_call_counts_for_what_may_follow(client, model, ruled, tools, token):
    agent = ruled(
        {"type": "requires_approval", "tool_name": "a"},
        {"type": "constrain_child_tools", "tool_name": "a", "children": ["b"]},
    )
    text = f"go {token} " + call(tools["a"], text="x")
    request = send(client, agent, text).messages[-1]
    assert request.message_type == "approval_request_message"
    approval = {"type": "approval", "tool_call_id": request.tool_calls[0].tool_call_id, "approve": True}
    client.agents.messages.create(agent.id, messages=[{"type": "approval", "approvals": [approval]}])
    assert steps(model, text)[:2] == ["abc", "!b"]


def test_a_turn_that_a_crash_interrupts_knows_what_ran(own_server, own_client, model, token):
    server = own_server()
    with_server = own_client(server)
    tool = with_server.tools.create(source_code=SAY.replace("NAME", f"a_{token}"))
    other = with_server.tools.create(source_code=SAY.replace("NAME", f"b_{token}"))
    rules = [{"type": "run_first", "tool_name": tool.name}, {"type": "max_count_per_step", "tool_name": tool.name, "max_count_limit": 1}]
    agent = with_server.agents.create(model=MODEL, include_base_tools=False, tool_ids=[tool.id, other.id], tool_rules=rules)
    text = f"go {token} [[hang-at 2]]" + call(tool.name, text="x")
    run = with_server.agents.messages.create_async(agent.id, messages=[user(text)])
    eventually(lambda: len(model.requests(text)) == 2, "the second step asks the model")
    server.kill()
    server.start()
    resumed = own_client(server)
    eventually(lambda: resumed.runs.retrieve(run.id).status == "completed", "the run ends")
    assert steps(model, text) == ["!a", "b", "b"]
    assert len(of_kind(resumed.runs.messages.list(run.id).items, "tool_return_message")) == 1


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ({"type": "odd", "tool_name": "a"}, "run_first"),
        ({"type": "max_count_per_step", "tool_name": "a"}, "max_count_limit"),
        ({"type": "constrain_child_tools", "tool_name": "a"}, "children"),
        ({"type": "conditional", "tool_name": "a", "child_output_mapping": {"x": 1}}, "child_output_mapping"),
    ],
)
def test_a_rule_that_says_nothing_is_refused_when_it_is_set(http, agent, rule, word):
    for answer in (
        http.post("/v1/agents/", json={"model": MODEL, "tool_rules": [rule]}),
        http.patch(f"/v1/agents/{agent.id}", json={"tool_rules": [rule]}),
    ):
        assert answer.status_code in (400, 422), answer.text
        assert word in answer.text
