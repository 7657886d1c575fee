"""Agents: made, read, changed, deleted, counted."""

import re

import letta_client
import pytest

from programs import MODEL

ID = re.compile(r"^agent-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
UNKNOWN = "agent-00000000-0000-4000-8000-0000000000ff"
WITH_ALL = ["agent.blocks", "agent.tools", "agent.tags", "agent.secrets"]


def test_an_agent_needs_only_a_model(client):
    agent = client.agents.create(model=MODEL)
    assert ID.match(agent.id)
    assert agent.agent_type == "letta_v1_agent"
    assert agent.name
    assert agent.model == MODEL
    assert agent.timezone == "UTC"
    assert agent.message_ids and agent.message_ids[0].startswith("message-")
    assert len(agent.message_ids) == 1, "a new agent has its system message only"
    assert agent.llm_config.context_window == 128_000
    assert agent.system


def test_a_new_agent_has_the_default_tools(client):
    agent = client.agents.create(model=MODEL)
    names = {tool.name for tool in client.agents.tools.list(agent.id)}
    assert names == {
        "archival_memory_insert", "archival_memory_search", "conversation_search", "memory_insert", "memory_replace",
    }


def test_base_tools_can_be_left_out_and_others_named(client):
    bare = client.agents.create(model=MODEL, include_base_tools=False)
    assert list(client.agents.tools.list(bare.id)) == []
    named = client.agents.create(model=MODEL, include_base_tools=False, tools=["memory_rethink", "send_message"])
    assert {tool.name for tool in client.agents.tools.list(named.id)} == {"memory_rethink", "send_message"}


def test_what_is_given_is_kept(client, token):
    made = client.agents.create(
        model=MODEL,
        name=f"Zoë's agent_{token}",
        description="keeps notes",
        system="You are brief.",
        metadata={"team": "north", "depth": {"n": 1}},
        tags=[token, "zebra"],
        timezone="Europe/Berlin",
        context_window_limit=16_000,
        secrets={"API_KEY": "s3cret"},
        memory_blocks=[
            {"label": "human", "value": "Ada.", "limit": 500, "description": "who"},
            {"label": "notes", "value": "", "read_only": True, "metadata": {"k": "v"}},
        ],
    )
    agent = client.agents.retrieve(made.id, include=WITH_ALL)
    assert agent.name == f"Zoë's agent_{token}"
    assert agent.description == "keeps notes"
    assert agent.system == "You are brief."
    assert agent.metadata == {"team": "north", "depth": {"n": 1}}
    assert sorted(agent.tags) == sorted([token, "zebra"])
    assert agent.timezone == "Europe/Berlin"
    assert agent.llm_config.context_window == 16_000
    blocks = {block.label: block for block in agent.blocks}
    assert blocks["human"].value == "Ada." and blocks["human"].limit == 500
    assert blocks["notes"].read_only is True and blocks["notes"].metadata == {"k": "v"}
    assert [(secret.key, secret.value) for secret in agent.secrets] == [("API_KEY", "s3cret")]


def test_relations_are_empty_for_the_sdk_unless_it_asks(client, agent):
    plain = client.agents.retrieve(agent.id)
    assert plain.tools == [] and plain.blocks == [] and plain.tags == []
    only_tools = client.agents.retrieve(agent.id, include=["agent.tools"])
    assert only_tools.tools and only_tools.blocks == []


def test_older_clients_get_all_relations(http, agent, token):
    body = http.get(f"/v1/agents/{agent.id}").json()
    assert body["tools"] and body["blocks"] and body["tags"] == [token]
    assert body["memory"]["blocks"][0]["label"] == "human"


def test_a_change_touches_only_what_it_names(client, agent, token):
    client.agents.update(agent.id, description="new words")
    after = client.agents.retrieve(agent.id, include=WITH_ALL)
    assert after.description == "new words"
    assert after.name == agent.name and after.system == agent.system and after.tags == [token]
    assert [block.value for block in after.blocks] == ["Ada sails."]


def test_lists_in_a_change_replace(client, agent):
    block = client.blocks.create(label="project", value="hull")
    client.agents.update(agent.id, tags=["one", "two"], block_ids=[block.id], tool_ids=[])
    after = client.agents.retrieve(agent.id, include=WITH_ALL)
    assert sorted(after.tags) == ["one", "two"]
    assert [b.label for b in after.blocks] == ["project"]
    assert after.tools == []


def test_secrets_are_replaced_by_a_change(client, make_agent):
    agent = make_agent(secrets={"A": "1", "B": "2"})
    client.agents.update(agent.id, secrets={"B": "3"})
    after = client.agents.retrieve(agent.id, include=["agent.secrets"])
    assert [(s.key, s.value) for s in after.secrets] == [("B", "3")]
    assert client.agents.retrieve(agent.id).secrets == []


def test_a_deleted_agent_is_gone(client, agent):
    client.agents.delete(agent.id)
    with pytest.raises(letta_client.NotFoundError):
        client.agents.retrieve(agent.id)
    with pytest.raises(letta_client.NotFoundError):
        client.agents.delete(agent.id)


def test_the_count_follows(client, http):
    before = http.get("/v1/agents/count").json()
    agent = client.agents.create(model=MODEL)
    assert http.get("/v1/agents/count").json() == before + 1
    client.agents.delete(agent.id)
    assert http.get("/v1/agents/count").json() == before


def test_an_unknown_agent_is_404(client):
    with pytest.raises(letta_client.NotFoundError) as error:
        client.agents.retrieve(UNKNOWN)
    assert UNKNOWN in str(error.value)


def test_an_unknown_model_is_404_and_names_it(client):
    with pytest.raises(letta_client.NotFoundError, match="openai-proxy.*none"):
        client.agents.create(model="openai-proxy/none")


@pytest.mark.parametrize("handle", ["scripted", "/scripted", "openai-proxy/"])
def test_a_malformed_model_handle_is_refused(client, handle):
    with pytest.raises(letta_client.APIStatusError) as error:
        client.agents.create(model=handle)
    assert error.value.status_code in (400, 422)


@pytest.mark.parametrize("handle", ["openai/scripted-embed", "local/all-MiniLM-L6-v2"])
def test_an_embedding_model_is_no_model_to_talk_with(http, agent, handle):
    for answer in (
        http.post("/v1/agents/", json={"model": handle}),
        http.patch(f"/v1/agents/{agent.id}", json={"model": handle}),
    ):
        assert answer.status_code == 400 and handle in answer.text and "makes embeddings" in answer.text
    assert http.get(f"/v1/agents/{agent.id}").json()["model"] == MODEL


def test_embedding_models_of_any_name_that_may_be_one_are_taken(client, http, token):
    # Of a model with a name that tells nothing, nobody knows what it is for.
    for handle in ("openai/scripted-embed", "local/all-MiniLM-L6-v2", MODEL):
        assert client.agents.create(model=MODEL, embedding=handle).embedding_config.handle == handle
        assert client.archives.create(name=token, embedding=handle).embedding_config.handle == handle


def test_no_model_is_400(client):
    with pytest.raises(letta_client.BadRequestError):
        client.agents.create(name="nomodel")


@pytest.mark.parametrize("name", ["a/b:c*", "tab\there", 'quote"'])
def test_a_bad_name_is_refused_with_the_rule(client, name):
    with pytest.raises(letta_client.APIStatusError) as error:
        client.agents.create(model=MODEL, name=name)
    assert error.value.status_code in (400, 422)
    assert "name" in str(error.value).lower()


def test_an_unknown_tool_name_is_400_and_named(client):
    with pytest.raises(letta_client.BadRequestError, match="nope_tool"):
        client.agents.create(model=MODEL, tools=["nope_tool"])


def test_an_unknown_block_is_refused(client):
    unknown = "block-00000000-0000-4000-8000-0000000000ff"
    with pytest.raises(letta_client.APIStatusError) as error:
        client.agents.create(model=MODEL, block_ids=[unknown])
    assert error.value.status_code == 404 and unknown in str(error.value)


def test_two_blocks_of_one_label_are_a_conflict(client):
    twice = [{"label": "human", "value": "a"}, {"label": "human", "value": "b"}]
    with pytest.raises(letta_client.ConflictError):
        client.agents.create(model=MODEL, memory_blocks=twice)


def test_a_refused_creation_leaves_nothing_behind(client, http):
    before = http.get("/v1/agents/count").json(), http.get("/v1/blocks/count").json()
    with pytest.raises(letta_client.APIStatusError):
        client.agents.create(
            model=MODEL, memory_blocks=[{"label": "human", "value": "a"}], tools=["nope_tool"]
        )
    assert (http.get("/v1/agents/count").json(), http.get("/v1/blocks/count").json()) == before


def test_a_block_over_its_limit_is_refused_with_the_numbers(client):
    with pytest.raises(letta_client.BadRequestError) as error:
        client.agents.create(model=MODEL, memory_blocks=[{"label": "human", "value": "x" * 12, "limit": 5}])
    assert "12" in str(error.value) and "5" in str(error.value)


def test_unknown_fields_are_ignored(http):
    answer = http.post("/v1/agents/", json={"model": MODEL, "flavour": "mint"})
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["memgpt_v2_agent", "memgpt_agent", "sleeptime_agent", "react_agent"])
def test_other_kinds_of_agents_can_be_made(client, kind):
    assert client.agents.create(model=MODEL, agent_type=kind).agent_type == kind


def test_a_made_agent_names_its_maker_and_times(http):
    body = http.post("/v1/agents/", json={"model": MODEL}).json()
    assert body["created_by_id"] == "user-00000000-0000-4000-8000-000000000000"
    assert re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$", body["created_at"])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"model_settings": {"provider_type": "openai", "temperature": 9}}, "temperature"),
        ({"model_settings": {"provider_type": "openai", "max_output_tokens": 0}}, "max_output_tokens"),
        ({"response_format": {"type": "odd"}}, "response_format"),
        ({"compaction_settings": {"mode": "odd"}}, "mode"),
        ({"secrets": {"": "x"}}, "secret"),
        ({"tool_rules": [{"type": "run_first", "tool_name": name} for name in "ab"]}, "run_first"),
    ],
)
def test_a_setting_that_no_turn_could_use_is_refused_when_it_is_set(http, agent, wrong, named):
    made = http.post("/v1/agents/", json={"model": MODEL} | wrong)
    changed = http.patch(f"/v1/agents/{agent.id}", json=wrong)
    for answer in (made, changed):
        assert answer.status_code == 400, answer.text
        assert named in answer.json()["detail"]
