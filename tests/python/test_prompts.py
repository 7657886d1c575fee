"""What the model is told: every change of an agent is in the very next request, and nothing else changes it."""

import json

import pytest

from programs import MODEL
from talk import send, system_prompt


@pytest.fixture
def ask(client, model, token):
    """Sends a message; the request that the model got first for it."""
    asked = 0

    def request(agent):
        nonlocal asked
        asked += 1
        text = f"question {asked} of {token}."
        send(client, agent, text)
        return model.requests(text)[0]

    return request


@pytest.fixture
def project(client, agent):
    """A block of the agent besides `human`."""
    block = client.blocks.create(label="project", value="hull repair", description="the work", limit=5000)
    client.agents.blocks.attach(block.id, agent_id=agent.id)
    return block


def names(request):
    return sorted(tool["function"]["name"] for tool in request.get("tools") or [])


def test_the_prompt_has_the_system_text_and_every_block(ask, agent, project):
    prompt = system_prompt(ask(agent))
    assert prompt.startswith(agent.system)
    for part in ("<human>", "Ada sails.", "<project>", "hull repair", "the work", "<memory_metadata>", agent.id):
        assert part in prompt
    assert "chars_limit=5000" in prompt and "chars_current=11" in prompt


CHANGES = {
    "the system text": lambda c, a, b: c.agents.update(a.id, system="You rhyme."),
    "a value, by id": lambda c, a, b: c.blocks.update(b.id, value="keel laid"),
    "a value, by label": lambda c, a, b: c.agents.blocks.update("project", agent_id=a.id, value="keel laid"),
    "a description": lambda c, a, b: c.blocks.update(b.id, description="the job"),
    "a limit": lambda c, a, b: c.blocks.update(b.id, limit=4321),
    "read_only": lambda c, a, b: c.blocks.update(b.id, read_only=True),
    "a label": lambda c, a, b: c.blocks.update(b.id, label="assignment"),
    "a detached block": lambda c, a, b: c.agents.blocks.detach(b.id, agent_id=a.id),
    "a deleted block": lambda c, a, b: c.blocks.delete(b.id),
    "replaced blocks": lambda c, a, b: c.agents.update(a.id, block_ids=[]),
}

SHOWS = {
    "the system text": ("You rhyme.", None),
    "a value, by id": ("keel laid", "hull repair"),
    "a value, by label": ("keel laid", "hull repair"),
    "a description": ("the job", "the work"),
    "a limit": ("chars_limit=4321", "chars_limit=5000"),
    "read_only": ("read_only=true", None),
    "a label": ("<assignment>", "<project>"),
    "a detached block": (None, "hull repair"),
    "a deleted block": (None, "hull repair"),
    "replaced blocks": (None, "Ada sails."),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows_in_the_next_request(ask, client, agent, project, change):
    before = system_prompt(ask(agent))
    CHANGES[change](client, agent, project)
    after = system_prompt(ask(agent))
    new, old = SHOWS[change]
    assert after != before
    if new:
        assert new in after and new not in before
    if old:
        assert old not in after and old in before


def test_an_attached_block_shows(ask, client, agent):
    ask(agent)
    block = client.blocks.create(label="late", value="came later")
    client.agents.blocks.attach(block.id, agent_id=agent.id)
    assert "came later" in system_prompt(ask(agent))


def test_a_restored_value_shows(ask, client, http, agent, project):
    client.blocks.update(project.id, value="keel laid")
    assert "keel laid" in system_prompt(ask(agent))
    first = http.get(f"/v1/blocks/{project.id}/history").json()[-1]["version"]
    http.post(f"/v1/blocks/{project.id}/restore", json={"version": first}).raise_for_status()
    assert "hull repair" in system_prompt(ask(agent))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("core_memory_append", {"label": "human", "content": "Edited."}),
        ("core_memory_replace", {"label": "human", "old_content": "Ada sails.", "new_content": "Edited."}),
        ("memory_insert", {"label": "human", "new_string": "Edited."}),
        ("memory_replace", {"label": "human", "old_string": "Ada sails.", "new_string": "Edited."}),
        ("memory_rethink", {"label": "human", "new_memory": "Edited."}),
    ],
)
def test_an_edit_by_a_tool_shows_in_the_next_step(client, make_agent, model, token, tool, arguments):
    agent = make_agent(tools=[tool])
    send(client, agent, f"[[call {tool} {json.dumps(arguments)}]] {token}")
    first, second = model.requests(token)
    assert "Edited." not in system_prompt(first)
    assert "Edited." in system_prompt(second)


def test_attached_and_detached_tools_show(ask, client, agent):
    searches = ["archival_memory_insert", "archival_memory_search", "conversation_search"]
    assert names(ask(agent)) == [*searches, "memory_insert", "memory_replace"]
    (rethink,) = client.tools.list(name="memory_rethink")
    client.agents.tools.attach(rethink.id, agent_id=agent.id)
    assert "memory_rethink" in names(ask(agent))
    client.agents.tools.detach(rethink.id, agent_id=agent.id)
    assert "memory_rethink" not in names(ask(agent))
    client.agents.update(agent.id, tool_ids=[rethink.id])
    assert names(ask(agent)) == ["memory_rethink"]


def test_another_model_and_its_settings_show(ask, client, agent):
    assert ask(agent)["model"] == "scripted"
    client.agents.update(agent.id, model="openai-proxy/scripted-small")
    assert ask(agent)["model"] == "scripted-small"
    client.agents.update(agent.id, model_settings={"provider_type": "openai", "temperature": 0.25})
    assert ask(agent)["temperature"] == 0.25


def test_max_tokens_show_and_can_be_cleared(ask, client, agent, http):
    client.agents.update(agent.id, max_tokens=77)
    request = ask(agent)
    assert 77 in (request.get("max_tokens"), request.get("max_completion_tokens"))
    http.patch(f"/v1/agents/{agent.id}", json={"max_tokens": None}).raise_for_status()
    request = ask(agent)
    assert 77 not in (request.get("max_tokens"), request.get("max_completion_tokens"))


def test_a_changed_timezone_shows(ask, client, agent):
    assert "UTC+0000" in system_prompt(ask(agent))
    client.agents.update(agent.id, timezone="Asia/Tokyo")
    assert "+0900" in system_prompt(ask(agent))


def test_a_change_shows_in_every_conversation(client, http, agent, model, token):
    conversation = client.conversations.create(agent_id=agent.id)
    path = f"/v1/conversations/{conversation.id}/messages"
    http.post(path, json={"input": "hello", "streaming": False}).raise_for_status()
    client.agents.blocks.update("human", agent_id=agent.id, value=f"new {token}")
    http.post(path, json={"input": f"again {token}", "streaming": False}).raise_for_status()
    assert f"new {token}" in system_prompt(model.last_request(f"again {token}"))


def test_a_placeholder_says_where_the_memory_goes(ask, client, make_agent):
    agent = make_agent(system="Before. {CORE_MEMORY} After.")
    prompt = system_prompt(ask(agent))
    assert prompt.startswith("Before. ") and prompt.endswith(" After.") and "Ada sails." in prompt
    assert "{CORE_MEMORY}" not in prompt


def test_the_compiled_prompt_is_the_first_message(ask, client, agent):
    prompt = system_prompt(ask(agent))
    (first,) = client.agents.messages.list(agent.id, order="asc", limit=1).items
    assert first.id == client.agents.retrieve(agent.id).message_ids[0]
    assert first.content == prompt


def test_the_first_message_keeps_its_id_when_the_prompt_changes(ask, client, agent):
    before = client.agents.retrieve(agent.id).message_ids[0]
    client.agents.update(agent.id, system="You rhyme.")
    ask(agent)
    assert client.agents.retrieve(agent.id).message_ids[0] == before


def test_a_dry_recompilation_shows_the_prompt_and_changes_nothing(ask, client, agent):
    prompt = client.agents.recompile(agent.id, dry_run=True)
    assert "Ada sails." in prompt
    client.agents.blocks.update("human", agent_id=agent.id, value="Ada rows.")
    assert "Ada rows." in client.agents.recompile(agent.id)


def test_what_is_not_part_of_the_prompt_does_not_change_it(ask, client, agent):
    before = system_prompt(ask(agent))
    client.agents.update(agent.id, tags=["new"], description="other words", metadata={"k": 1}, hidden=False)
    client.agents.update(agent.id, secrets={"K": "v"})
    assert system_prompt(ask(agent)) == before


def test_fifty_turns_of_an_unchanged_agent_share_one_prefix(client, agent, model, token):
    for turn in range(50):
        send(client, agent, f"turn {turn} of {token}")
    requests = model.requests(f"turn 0 of {token}")
    assert len(requests) == 50
    for earlier, later in zip(requests, requests[1:]):
        assert json.dumps(later["tools"]) == json.dumps(earlier["tools"])
        size = len(earlier["messages"])
        assert json.dumps(later["messages"][:size]) == json.dumps(earlier["messages"])


def test_the_bytes_of_the_prefix_are_the_same_after_a_restart(own_server, own_client, model, token):
    server = own_server()
    client = own_client(server)
    blocks = [{"label": "human", "value": "Ada."}]
    agent = client.agents.create(model=MODEL, memory_blocks=blocks)
    send(client, agent, f"before {token}")
    server.kill()
    server.start()
    send(client, agent, f"after {token}")
    before, after = model.requests(f"before {token}")
    assert json.dumps(after["messages"][0]) == json.dumps(before["messages"][0])
    assert json.dumps(after["tools"]) == json.dumps(before["tools"])
