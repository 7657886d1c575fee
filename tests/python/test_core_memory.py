"""An agent's core memory: through the API, and through the agent's own tools."""

import json

import letta_client
import pytest

from talk import kinds, of_kind, reply, send, system_prompt, user


def value(client, agent, label="human"):
    return client.agents.blocks.retrieve(label, agent_id=agent.id).value


def call(name, **arguments):
    return f"[[call {name} {json.dumps(arguments)}]]"


def returned(answer):
    """The agent's tool returns in an answer: (status, text)."""
    return [(m.status, m.tool_return) for m in of_kind(answer.messages, "tool_return_message")]


def test_blocks_are_read_and_changed_by_label(client, agent):
    assert [b.label for b in client.agents.blocks.list(agent.id)] == ["human"]
    changed = client.agents.blocks.update("human", agent_id=agent.id, value="Ada builds canoes.")
    assert changed.value == "Ada builds canoes."
    assert value(client, agent) == "Ada builds canoes."


def test_an_unknown_label_is_404_and_named(client, agent):
    with pytest.raises(letta_client.NotFoundError, match="nope"):
        client.agents.blocks.retrieve("nope", agent_id=agent.id)


def test_attached_blocks_are_shared(client, make_agent):
    first, second = make_agent(), make_agent()
    block = client.blocks.create(label="project", value="phase one")
    for agent in (first, second):
        client.agents.blocks.attach(block.id, agent_id=agent.id)
    client.agents.blocks.update("project", agent_id=first.id, value="phase two")
    assert value(client, second, "project") == "phase two"
    client.agents.blocks.detach(block.id, agent_id=second.id)
    assert [b.label for b in client.agents.blocks.list(second.id)] == ["human"]
    assert client.blocks.retrieve(block.id).value == "phase two"


def test_attaching_twice_changes_nothing(client, agent):
    block = client.blocks.create(label="project", value="x")
    for _ in range(2):
        client.agents.blocks.attach(block.id, agent_id=agent.id)
    assert sorted(b.label for b in client.agents.blocks.list(agent.id)) == ["human", "project"]


def test_a_second_block_of_a_label_is_a_conflict(client, agent):
    block = client.blocks.create(label="human", value="another")
    with pytest.raises(letta_client.ConflictError):
        client.agents.blocks.attach(block.id, agent_id=agent.id)


def test_the_agents_blocks_can_be_iterated(client, agent):
    for n in range(5):
        client.agents.blocks.attach(client.blocks.create(label=f"b{n}", value="").id, agent_id=agent.id)
    for order in ("asc", "desc"):
        labels = [b.label for b in client.agents.blocks.list(agent.id, limit=2, order=order)]
        assert sorted(labels) == ["b0", "b1", "b2", "b3", "b4", "human"]


def test_the_agent_edits_its_memory_and_sees_it_at_once(client, agent, model, token):
    answer = send(client, agent, f"Please remember that {token} sails on Sundays")
    assert kinds(answer.messages) == ["tool_call_message", "tool_return_message", "assistant_message"]
    tool_call, tool_return, _ = answer.messages
    assert tool_call.tool_call.name == "memory_insert"
    assert json.loads(tool_call.tool_call.arguments)["label"] == "human"
    assert tool_return.status == "success" and tool_return.name == "memory_insert"
    assert tool_return.tool_call_id == tool_call.tool_call.tool_call_id
    assert f"{token} sails on Sundays" in value(client, agent)
    send(client, agent, f"what do you know of me, {token}?")
    prompt = system_prompt(model.last_request(f"what do you know of me, {token}?"))
    assert f"Please remember that {token} sails on Sundays" in prompt


def test_an_edit_is_seen_in_the_next_step_of_the_same_run(client, agent, model, token):
    send(client, agent, f"Please remember {token}")
    first, second = model.requests(f"Please remember {token}")
    assert f"Fact: Please remember {token}" not in system_prompt(first)
    assert f"Fact: Please remember {token}" in system_prompt(second)


@pytest.mark.parametrize(
    ("tool", "arguments", "after"),
    [
        ("core_memory_append", {"label": "human", "content": "Owns a dog."}, "Ada sails.\nOwns a dog."),
        ("core_memory_replace", {"label": "human", "old_content": "sails", "new_content": "rows"}, "Ada rows."),
        ("memory_insert", {"label": "human", "new_string": "First.", "insert_line": 0}, "First.\nAda sails."),
        ("memory_replace", {"label": "human", "old_string": "sails", "new_string": "rows"}, "Ada rows."),
        ("memory_rethink", {"label": "human", "new_memory": "All new."}, "All new."),
    ],
)
def test_every_memory_tool_edits(client, make_agent, tool, arguments, after):
    agent = make_agent(include_base_tools=False, tools=[tool])
    answer = send(client, agent, call(tool, **arguments))
    assert [status for status, _ in returned(answer)] == ["success"], returned(answer)
    assert value(client, agent) == after


def test_a_replacement_of_text_that_is_not_there_shows_what_is(client, agent):
    answer = send(client, agent, call("memory_replace", label="human", old_string="golf", new_string="x"))
    ((status, text),) = returned(answer)
    assert status == "error" and "Ada sails." in text
    assert value(client, agent) == "Ada sails."


def test_an_edit_over_the_limit_tells_the_agent_the_numbers(client, make_agent):
    agent = make_agent(memory_blocks=[{"label": "human", "value": "12345", "limit": 10}])
    answer = send(client, agent, call("memory_insert", label="human", new_string="x" * 20))
    ((status, text),) = returned(answer)
    assert status == "error" and "10" in text and "26" in text, text
    assert value(client, agent) == "12345"


def test_the_agent_cannot_edit_a_read_only_block(client, make_agent):
    agent = make_agent(memory_blocks=[{"label": "human", "value": "fixed", "read_only": True}])
    answer = send(client, agent, "remember something")
    ((status, text),) = returned(answer)
    assert status == "error" and "read" in text.lower()
    assert value(client, agent) == "fixed"
    client.agents.blocks.update("human", agent_id=agent.id, value="changed by its owner")
    assert value(client, agent) == "changed by its owner"


def test_an_edit_of_an_unknown_block_is_told_to_the_agent(client, agent):
    answer = send(client, agent, call("memory_insert", label="nope", new_string="x"))
    ((status, text),) = returned(answer)
    assert status == "error" and "nope" in text and "human" in text


def test_edits_of_parallel_calls_all_hold(client, agent):
    both = call("memory_insert", label="human", new_string="One.") + call(
        "memory_insert", label="human", new_string="Two."
    )
    answer = send(client, agent, both)
    assert [status for status, _ in returned(answer)] == ["success", "success"]
    assert "One." in value(client, agent) and "Two." in value(client, agent)


def test_an_edit_by_one_agent_is_seen_by_the_others(client, make_agent, model, token):
    block = client.blocks.create(label="team", value="empty")
    first, second = make_agent(block_ids=[block.id]), make_agent(block_ids=[block.id])
    send(client, first, call("memory_insert", label="team", new_string=f"news {token}"))
    send(client, second, f"hello from {token}")
    assert f"news {token}" in system_prompt(model.last_request(f"hello from {token}"))


def test_conversation_search_finds_what_was_said(client, agent, token):
    send(client, agent, f"My boat is called {token}.")
    answer = send(client, agent, call("conversation_search", query=token))
    ((status, text),) = returned(answer)
    assert status == "success" and f"My boat is called {token}." in text


def test_send_message_is_a_tool_that_agents_may_have(client, make_agent, token):
    agent = make_agent(agent_type="memgpt_v2_agent")
    answer = client.agents.messages.create(
        agent.id, messages=[user(call("send_message", message=f"said {token}"))], max_steps=1
    )
    assert f"said {token}" in reply(answer) or f"said {token}" in str(answer.messages)
