"""The tools that agents can have."""

import letta_client
import pytest

from talk import send

BUILTIN = {
    "archival_memory_insert", "archival_memory_search",
    "conversation_search", "core_memory_append", "core_memory_replace", "memory_insert", "memory_replace",
    "memory_rethink", "memory_finish_edits", "memory", "memory_apply_patch", "send_message",
}


def names(tools):
    return [tool.name for tool in tools]


def test_the_built_in_tools_are_there_once(client):
    found = names(client.tools.list())
    assert BUILTIN <= set(found) and len(found) == len(set(found))


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_tools_iterate_completely(client, order):
    whole = names(client.tools.list(order=order))
    assert names(client.tools.list(order=order, limit=2)) == whole


def test_a_tool_has_its_schema(client):
    (tool,) = client.tools.list(name="memory_insert")
    assert client.tools.retrieve(tool.id).name == "memory_insert"
    assert tool.json_schema["name"] == "memory_insert"
    assert "label" in tool.json_schema["parameters"]["properties"]


def test_tools_are_counted_and_filtered(client, http):
    assert http.get("/v1/tools/count").json() >= len(BUILTIN)
    assert sorted(names(client.tools.list(names=["send_message", "memory_insert"]))) == [
        "memory_insert", "send_message",
    ]


def test_attaching_answers_null_to_the_sdk_and_the_agent_to_others(client, http, agent):
    (rethink,) = client.tools.list(name="memory_rethink")
    assert client.agents.tools.attach(rethink.id, agent_id=agent.id) is None
    body = http.patch(f"/v1/agents/{agent.id}/tools/attach/{rethink.id}").json()
    assert body["id"] == agent.id
    assert names(client.agents.tools.list(agent.id)).count("memory_rethink") == 1
    client.agents.tools.detach(rethink.id, agent_id=agent.id)
    assert "memory_rethink" not in names(client.agents.tools.list(agent.id))


def test_the_tools_of_an_agent_iterate_completely(client, agent):
    for order in ("asc", "desc"):
        assert sorted(names(client.agents.tools.list(agent.id, limit=1, order=order))) == [
            "archival_memory_insert", "archival_memory_search", "conversation_search", "memory_insert", "memory_replace",
        ]


def test_an_unknown_tool_is_404(client, agent):
    unknown = "tool-00000000-0000-4000-8000-0000000000ff"
    with pytest.raises(letta_client.NotFoundError):
        client.tools.retrieve(unknown)
    with pytest.raises(letta_client.NotFoundError, match=unknown):
        client.agents.tools.attach(unknown, agent_id=agent.id)


def test_the_tool_that_is_to_run_first_is_asked_for_in_the_first_step_only(client, make_agent, model, token):
    rules = [{"type": "run_first", "tool_name": "conversation_search"}]
    agent = make_agent(tool_rules=rules)
    answer = send(client, agent, f'[[call conversation_search {{"query": "boats"}}]] {token}')
    assert [message.message_type for message in answer.messages][:2] == ["tool_call_message", "tool_return_message"]
    first, second = model.requests(token)
    assert [tool["function"]["name"] for tool in first["tools"]] == ["conversation_search"]
    assert first["tool_choice"] == "required"
    assert len(second["tools"]) > 1 and second.get("tool_choice") in (None, "auto")
