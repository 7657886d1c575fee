"""What a context consists of: every part with the tokens it takes, as the next call shows it."""

import httpx
import pytest

from contexts import FILLER, tell_until_compacted
from programs import MODEL, ScriptedModel, Server
from talk import send

PARTS = [
    "num_tokens_external_memory_summary",
    "num_tokens_system",
    "num_tokens_core_memory",
    "num_tokens_memory_filesystem",
    "num_tokens_tool_usage_rules",
    "num_tokens_directories",
    "num_tokens_summary_memory",
    "num_tokens_functions_definitions",
    "num_tokens_messages",
]


def overview(http, agent, **params):
    answer = http.get(f"/v1/agents/{getattr(agent, 'id', agent)}/context", params=params)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert sum(found[part] for part in PARTS) == found["context_window_size_current"]
    return found


def test_a_new_agents_context_is_its_prompt_and_its_tools(http, client, make_agent, token):
    agent = make_agent(system=f"Be kind, {token}.", context_window_limit=32_000)
    found = overview(http, agent)
    assert found["context_window_size_max"] == 32_000
    assert found["system_prompt"] == f"Be kind, {token}."
    assert "Ada sails." in found["core_memory"] and found["core_memory"].startswith("<memory_blocks>")
    assert agent.id in found["external_memory_summary"]
    assert found["num_messages"] == found["num_recall_memory"] == 1
    assert found["num_tokens_messages"] == found["num_archival_memory"] == 0
    assert found["summary_memory"] is None and found["directories"] is None
    (prompt,) = found["messages"]
    assert prompt["role"] == "system" and prompt["agent_id"] == agent.id
    assert f"Be kind, {token}." in prompt["content"][0]["text"]
    names = {tool["function"]["name"] for tool in found["functions_definitions"]}
    assert names == {tool.name for tool in client.agents.tools.list(agent.id)}
    assert all(tool["type"] == "function" and tool["function"]["parameters"] for tool in found["functions_definitions"])


def test_what_is_said_and_kept_moves_its_part_and_no_other(http, client, agent):
    before = overview(http, agent)
    send(client, agent, f'[[call memory_insert {{"label": "human", "new_string": "{FILLER}"}}]]')
    client.agents.passages.create(agent.id, text="The ladder is in the garage.")
    after = overview(http, agent)
    assert after["num_tokens_core_memory"] > before["num_tokens_core_memory"] + 100
    assert after["num_tokens_messages"] > 100 and after["num_messages"] == 5
    assert after["num_archival_memory"] == 1
    for part in ("num_tokens_functions_definitions", "num_tokens_system"):
        assert abs(after[part] - before[part]) < 10, part
    call = next(message for message in after["messages"] if message["tool_calls"])
    returned = next(message for message in after["messages"] if message["role"] == "tool")
    assert returned["tool_returns"][0]["tool_call_id"] == call["tool_calls"][0]["id"] == returned["tool_call_id"]


def test_it_is_what_the_call_takes(http, client, agent, model, token):
    """By the same count that decides when a context is compacted."""
    for n in range(5):
        send(client, agent, f"{n} {FILLER}")
    before = overview(http, agent)["context_window_size_current"]
    answer = send(client, agent, f"[[read {before}]] {token}")
    assert answer.usage.prompt_tokens == before
    request = model.last_request(token)
    assert 2 < len(str(request)) / before < 6


def test_a_summary_is_a_part_of_its_own(http, client, small):
    agent = small()
    tell_until_compacted(client, agent)
    found = overview(http, agent)
    assert "fact-0" in found["summary_memory"] and found["num_tokens_summary_memory"] > 10
    assert found["num_recall_memory"] > found["num_messages"]


def test_a_conversation_has_its_own(http, client, agent):
    conversation = client.conversations.create(agent_id=agent.id)
    send(client, agent, FILLER)
    mine = overview(http, agent, conversation_id=conversation.id)
    assert mine["num_tokens_messages"] == 0 and conversation.id in mine["external_memory_summary"]
    default = overview(http, agent, conversation_id="default")
    assert default["num_tokens_messages"] > 0 and default == overview(http, agent)


def test_a_look_stores_nothing(http, client, agent):
    before = client.agents.retrieve(agent.id)
    client.agents.update(agent.id, system="Another one.")
    assert "Another one." in overview(http, agent)["system_prompt"]
    after = client.agents.retrieve(agent.id)
    assert after.message_ids == before.message_ids
    assert overview(http, agent)["num_recall_memory"] == 1


@pytest.mark.parametrize(
    "path, status",
    [
        ("/v1/agents/agent-00000000-0000-4000-8000-000000000000/context", 404),
        ("/v1/agents/nobody/context", 422),
        ("/v1/agents/{agent}/context?conversation_id=x", 422),
        ("/v1/agents/{agent}/context?conversation_id=conv-00000000-0000-4000-8000-000000000000", 404),
    ],
)
def test_what_does_not_exist_has_no_context(http, agent, path, status):
    assert http.get(path.format(agent=agent.id)).status_code == status


def test_a_provider_that_is_away_is_no_reason_to_show_nothing(engine):
    model = ScriptedModel()
    server = Server(engine, model).start()
    try:
        body = {"model": MODEL, "context_window_limit": 16_000}
        agent = httpx.post(f"{server.url}/v1/agents/", json=body).raise_for_status().json()["id"]
        model.stop()
        server.kill()
        server.start()
        found = httpx.get(f"{server.url}/v1/agents/{agent}/context", timeout=60)
        assert found.status_code == 200 and found.json()["context_window_size_max"] == 16_000, found.text
    finally:
        server.close()
