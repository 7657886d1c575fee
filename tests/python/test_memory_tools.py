"""The tools that change memory as a whole: memory, memory_apply_patch, memory_finish_edits."""

import json

import pytest

from talk import kinds, of_kind, send, system_prompt


def call(name, **arguments):
    return f"[[call {name} {json.dumps(arguments)}]]"


def memory(command, **arguments):
    return call("memory", command=command, **arguments)


def patch(text, label="human"):
    return call("memory_apply_patch", label=label, patch=text)


@pytest.fixture
def agent(make_agent):
    return make_agent(
        include_base_tools=False,
        tools=["memory", "memory_apply_patch"],
        memory_blocks=[
            {"label": "human", "value": "Ada sails.\nShe has a cat."},
            {"label": "rules", "value": "Be kind.", "read_only": True},
        ],
    )


@pytest.fixture
def told(client, agent):
    """Lets the agent make calls; gives status and text of the only return."""

    def tell(text):
        answer = send(client, agent, text)
        ((status, said),) = [(m.status, m.tool_return) for m in of_kind(answer.messages, "tool_return_message")]
        return status, said

    return tell


@pytest.fixture
def blocks(client, agent):
    def read():
        return {block.label: block.value for block in client.agents.blocks.list(agent.id)}

    return read


BEFORE = {"human": "Ada sails.\nShe has a cat.", "rules": "Be kind."}


def test_a_block_that_the_agent_makes_is_its_own_and_seen_in_the_next_step(client, agent, told, model, token):
    made = memory("create", path="/memories/garden", description="What grows.", file_text=f"Beans {token}.")
    status, said = told(f"{made} {token}")
    assert status == "success" and "garden" in said
    first, second = model.requests(token)
    assert "<garden>" not in system_prompt(first)
    assert "<garden>" in system_prompt(second) and f"Beans {token}." in system_prompt(second)
    assert "What grows." in system_prompt(second)
    block = client.agents.blocks.retrieve("garden", agent_id=agent.id)
    assert (block.value, block.description) == (f"Beans {token}.", "What grows.")


def test_every_command_changes_the_block(told, blocks):
    assert told(memory("create", path="garden.md", description="d", file_text="Beans."))[0] == "success"
    assert told(memory("str_replace", path="/memories/garden", old_string="Beans", new_string="Peas")) == (
        "success", "Peas.",
    )
    status, said = told(memory("insert", path="/memories/garden.md", insert_line=0, insert_text="Grows:"))
    assert (status, said) == ("success", "Grows:\nPeas.")
    assert told(memory("rename", old_path="/memories/garden", new_path="/memories/plants"))[0] == "success"
    assert blocks() == {**BEFORE, "plants": "Grows:\nPeas."}
    assert told(memory("delete", path="/memories/plants"))[0] == "success"
    assert blocks() == BEFORE


def test_a_rename_with_a_description_changes_only_that(client, agent, told):
    told(memory("rename", path="/memories/human", description="The sailor."))
    block = client.agents.blocks.retrieve("human", agent_id=agent.id)
    assert (block.description, block.value) == ("The sailor.", BEFORE["human"])


def test_a_deleted_block_is_kept_for_others(client, agent, told):
    block = client.agents.blocks.retrieve("human", agent_id=agent.id)
    told(memory("delete", path="/memories/human"))
    assert client.blocks.retrieve(block.id).value == BEFORE["human"]


def test_versions_name_the_agent_the_run_and_the_call(client, agent, http):
    made = memory("create", path="garden", description="d", file_text="Beans.")
    answer = send(client, agent, made + patch("*** Update Block: garden\n-Beans.\n+Peas."))
    first, second = of_kind(answer.messages, "tool_call_message")[0].tool_calls
    block = client.agents.blocks.retrieve("garden", agent_id=agent.id)
    newest, oldest = http.get(f"/v1/blocks/{block.id}/history").json()
    for version, made_by, value in ((oldest, first, "Beans."), (newest, second, "Peas.")):
        assert version["value"] == value
        assert made_by.tool_call_id in str(version) and agent.id in str(version)
        assert answer.messages[0].run_id in str(version)


def test_a_patch_changes_several_blocks_at_once(told, blocks):
    status, said = told(patch(
        "*** Begin Patch\n*** Update Block: human\n@@\n Ada sails.\n-She has a cat.\n+She has two cats.\n"
        "*** Move to: person\n*** Add Block: garden\n+Beans.\n*** End Patch"
    ))
    assert status == "success", said
    assert blocks() == {"person": "Ada sails.\nShe has two cats.", "rules": "Be kind.", "garden": "Beans."}


def test_a_patch_of_one_block_returns_its_new_text(told):
    assert told(patch("@@ -1,2 +1,2 @@\n-Ada sails.\n+Ada rows.\n She has a cat.")) == (
        "success", "Ada rows.\nShe has a cat.",
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (memory("create", path="/memories/human", description="d"), ["'human' already", "str_replace", "Ada sails."]),
        (memory("create", path="/memories/x", file_text="y"), ["'description' is missing", '"command": "create"']),
        (memory("view", path="/memories"), ["create, str_replace, insert, delete or rename", "prompt"]),
        (memory("delete", path="/memories/nope"), ["/memories/nope", "human, rules"]),
        (memory("delete", path="/memories/rules"), ["read-only"]),
        (memory("rename", path="rules", description="x"), ["read-only"]),
        (memory("str_replace", path="human", old_string="golf", new_string="x"), ["not found", "Ada sails."]),
        (memory("insert", path="human", insert_text="1→ Ada."), ["line numbers"]),
        (memory("rename", old_path="human", new_path="rules"), ["'rules' already"]),
        (memory("create", path="x", description="d", file_text="x" * 100_010), ["100000", "10 too many"]),
        (patch("-Ada rows.\n+x"), ["hunk 1", "'Ada rows.'", "line 1 of the block reads 'Ada sails.'"]),
        (patch("Ada sails.\n+x"), ["line 1", "a space"]),
        (patch("-Ada sails.\n+x", label="nope"), ["'nope'", "human, rules"]),
        (patch("*** Add Block: x\n+y\n*** Update Block: rules\n-Be kind."), ["'rules' is read-only"]),
        (patch("*** Update Block: human\n-Ada sails.\n*** Delete Block: nope"), ["'nope'", "human, rules"]),
    ],
)
def test_a_refused_change_says_why_and_changes_nothing(told, blocks, text, wanted):
    status, said = told(text)
    assert status == "error" and len(said) <= 1000, said
    assert [word for word in wanted if word not in said] == [], said
    assert blocks() == BEFORE


def test_a_hunk_that_fits_twice_is_refused_with_its_places(client, agent, told):
    client.agents.blocks.update("human", agent_id=agent.id, value="tea\ncake\ntea")
    status, said = told(patch("-tea"))
    assert status == "error" and "lines 1, 3" in said
    assert told(patch(" cake\n-tea")) == ("success", "tea\ncake")


def test_finishing_ends_the_turn_of_a_sleeptime_agent(client, make_agent):
    agent = make_agent(agent_type="sleeptime_agent")
    assert "memory_finish_edits" in [tool.name for tool in client.agents.tools.list(agent.id)]
    answer = send(client, agent, call("memory_finish_edits"))
    assert kinds(answer.messages) == ["tool_call_message", "tool_return_message"]
    assert answer.stop_reason.stop_reason == "tool_rule" and answer.messages[1].status == "success"


def test_memgpt_agents_get_the_memory_tools(client, make_agent):
    agent = make_agent(agent_type="memgpt_agent")
    assert {"memory", "memory_apply_patch"} <= {tool.name for tool in client.agents.tools.list(agent.id)}


@pytest.mark.parametrize("point", ["answered:1", "close.written:1", "closed:1"])
def test_a_patch_of_several_blocks_survives_a_crash_whole_or_not_at_all(own_server, own_client, point, token):
    server = own_server()
    client = own_client(server)
    agent = client.agents.create(
        model="openai-proxy/scripted", tools=["memory_apply_patch"], include_base_tools=False,
        memory_blocks=[{"label": "human", "value": "old"}, {"label": "plan", "value": "old"}],
    )
    server.kill()
    server.environment["MNEMIC_CRASH"] = point
    server.start()
    text = "*** Update Block: human\n-old\n+new\n*** Update Block: plan\n-old\n+new\n*** Add Block: more\n+new"
    with pytest.raises(Exception):
        send(client, agent, f"{token} {patch(text)}")
    server.process.wait(10)
    del server.environment["MNEMIC_CRASH"]
    server.start()
    # The run is taken up again, and ends with all of the patch applied, once.
    send(client, agent, "and now?")
    blocks = {block.label: block.value for block in client.agents.blocks.list(agent.id)}
    assert blocks == {"human": "new", "plan": "new", "more": "new"}
