"""Agent files: an agent leaves a server with all that is its own, and comes back the same."""

import json

import httpx
import pytest

from programs import MODEL, eventually
from talk import reply, send

SOURCE = '''
def {name}(city: str) -> str:
    """
    Tells the weather.

    Args:
        city: where
    """
    return "{word}"
'''


def write(http, token, word="sunny", **fields):
    """A tool of this test's own."""
    body = {"source_code": SOURCE.format(name=f"f_{token}", word=word), **fields}
    return http.post("/v1/tools/", json=body).raise_for_status().json()


@pytest.fixture
def tool(http, token):
    return lambda word="sunny", **fields: write(http, token, word, **fields)


@pytest.fixture
def granting(own_server):
    """A server whose administrator lets tools have a host."""
    server = own_server(MNEMIC_TOOL_HOSTS="api.example.com")
    with httpx.Client(base_url=server.url, timeout=60) as raw:
        yield raw


def agent_with(http, token, tool):
    body = {"model": MODEL, "tags": [token], "tool_ids": [tool["id"]]}
    return http.post("/v1/agents/", json=body).raise_for_status().json()["id"]


@pytest.fixture
def rich(http, client, make_agent, tool, token):
    """An agent that has some of everything."""
    identity = {
        "identifier_key": token, "name": "Ada", "identity_type": "user",
        "properties": [{"key": "age", "value": 36, "type": "number"}],
    }
    identity = http.post("/v1/identities/", json=identity).raise_for_status().json()["id"]
    written = tool(tags=["sky"], pip_requirements=[{"name": "requests", "version": "2.31.0"}],
                   default_requires_approval=True, return_char_limit=700)
    block = {
        "label": "rules", "value": "Be brief.", "limit": 300, "description": "How to talk.", "read_only": True,
        "tags": ["house"], "metadata": {"a": [1]}, "identity_ids": [identity],
    }
    block = http.post("/v1/blocks/", json=block).raise_for_status().json()["id"]
    http.patch(f"/v1/identities/{identity}", json={"block_ids": [block]}).raise_for_status()
    agent = make_agent(
        name=f"Sailor {token}", system="You sail.", description="For trips.", metadata={"k": {"n": 1}},
        block_ids=[block], tool_ids=[written["id"]], tags=[token, "blue"], identity_ids=[identity],
        secrets={"KEY": "s3cret"}, timezone="Europe/Zurich",
        model_settings={"provider_type": "openai", "temperature": 0.3, "max_output_tokens": 900},
        compaction_settings={"mode": "all", "model": MODEL}, response_format={"type": "text"},
        tool_rules=[{"type": "continue_loop", "tool_name": "memory_insert"}],
    )
    send(client, agent, "remember the wind")
    send(client, agent, "Hello")
    http.post(f"/v1/agents/{agent.id}/archival-memory", json={
        "text": "The harbour closes at nine.", "tags": ["harbour"], "created_at": "2026-01-02T03:04:05Z",
    }).raise_for_status()
    thread = http.post(f"/v1/conversations/?agent_id={agent.id}", json={"summary": "Tides"}).raise_for_status().json()
    for text in ("remember the moon", "Hello"):
        http.post(f"/v1/conversations/{thread['id']}/messages", json={
            "messages": [{"role": "user", "content": text}], "streaming": False,
        }).raise_for_status()
    return agent


def exported(http, agent, **query):
    answer = http.get(f"/v1/agents/{getattr(agent, 'id', agent)}/export", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def imported(http, file, **form):
    """The ids of the agents of a file."""
    text = file if isinstance(file, (str, bytes)) else json.dumps(file)
    return http.post("/v1/agents/import", files={"file": ("agent.af", text)}, data=form)


def made(http, file, **form):
    answer = imported(http, file, **form)
    assert answer.status_code == 200, answer.text
    (agent,) = answer.json()["agent_ids"]
    return agent


def same_as(file):
    """A file without what may differ from one export to the next: times, and the compiled prompt."""
    file = json.loads(json.dumps(file))
    file["created_at"] = None
    for agent in file["agents"]:
        extras = file["mnemic"].get("agents", {}).get(agent["id"], {})
        for thread in [agent, *extras.get("conversations", [])]:
            if thread["messages"]:
                assert thread["messages"][0]["role"] == "system"
                thread["messages"][0].update(content=[], created_at=None)
    return file


def asked(messages):
    """What people said."""
    return [message["content"] for message in messages if message.get("role", message.get("message_type")).startswith("user")]


def agents_of(http, token):
    """How many agents of this test there are."""
    return len(http.get("/v1/agents/", params={"tags": token}).json())


def test_a_file_says_its_model_as_the_old_schema_does(http, make_agent):
    agent = make_agent()
    file = http.get(f"/v1/agents/{agent.id}/export").json()
    [entry] = file["agents"]
    assert entry["model"] == MODEL and "temperature" not in entry["llm_config"], "a number, or not there"
    # A file is whole without the older description.
    del entry["llm_config"]
    files = {"file": ("agent.af", json.dumps(file), "application/json")}
    [id] = http.post("/v1/agents/import", files=files).raise_for_status().json()["agent_ids"]
    assert http.get(f"/v1/agents/{id}").json()["llm_config"]["handle"] == MODEL


def test_an_agent_comes_back_whole(http, rich):
    first = exported(http, rich)
    twin = made(http, first, append_copy_suffix="false")
    assert same_as(exported(http, twin)) == same_as(first)


def test_a_file_holds_what_is_the_agents(http, rich, token):
    file = exported(http, rich)
    (agent,) = file["agents"]
    assert (agent["id"], agent["name"], agent["system"]) == ("agent-0", f"Sailor {token}", "You sail.")
    assert agent["tool_exec_environment_variables"] == {"KEY": ""}, "values of secrets stay here"
    assert "s3cret" not in json.dumps(file)
    assert rich.id not in json.dumps(agent["messages"][1:])
    written = next(one for one in file["tools"] if one["name"] == f"f_{token}")
    assert "sunny" in written["source_code"] and written["pip_requirements"][0]["name"] == "requests"
    rules = next(one for one in file["blocks"] if one["label"] == "rules")
    assert (rules["limit"], rules["read_only"], rules["tags"], rules["metadata"]) == (300, True, ["house"], {"a": [1]})
    ids = [message["id"] for message in agent["messages"]]
    assert agent["in_context_message_ids"] == ids and ids[0] == "message-0"
    (archive,) = file["mnemic"]["archives"]
    assert archive["passages"][0]["text"] == "The harbour closes at nine."
    (thread,) = file["mnemic"]["agents"]["agent-0"]["conversations"]
    assert thread["summary"] == "Tides" and len(thread["messages"]) > 3


def test_the_imported_agent_goes_on_where_the_other_one_was(http, client, model, rich, token):
    twin = made(http, exported(http, rich), name=f"Twin {token}", secrets=json.dumps({"KEY": "other", "NEW": "1"}))
    state = client.agents.retrieve(twin, include=["agent.secrets", "agent.tags", "agent.identities"])
    assert state.name == f"Twin {token}" and sorted(state.tags) == sorted([token, "blue"])
    assert {one.key: one.value for one in state.secrets} == {"KEY": "other", "NEW": "1"}
    assert reply(send(client, twin, f"Do you know {token}?"))
    texts = json.dumps(model.last_request(f"Do you know {token}?")["messages"])
    assert "remember the wind" in texts and "You sail." in texts
    found = client.agents.passages.search(twin, query="when does the harbour close").results
    assert [one.content for one in found] == ["The harbour closes at nine."]
    assert client.agents.messages.list(rich.id).items[0].id not in [one.id for one in client.agents.messages.list(twin)]


def test_the_sdk_exports_and_imports(client, agent, token):
    text = client.agents.export_file(agent.id)
    assert json.loads(text)["agents"][0]["name"] == agent.name and "\n  " in text
    answer = client.agents.import_file(file=text.encode(), strip_messages=True, override_existing_tools=False)
    state = client.agents.retrieve(answer.agent_ids[0])
    assert state.name == f"{agent.name}_copy"
    assert len(state.message_ids) == 1, "only its prompt"


def test_one_conversation_or_none_can_be_exported(http, rich):
    thread = http.get("/v1/conversations/", params={"agent_id": rich.id}).json()[0]["id"]
    one = exported(http, rich, conversation_id=thread)
    said = json.dumps(asked(one["agents"][0]["messages"]))
    assert "remember the moon" in said and "remember the wind" not in said
    assert "conversations" not in one["mnemic"]["agents"]["agent-0"]
    twin = made(http, one)
    assert asked(http.get(f"/v1/agents/{twin}/messages").json()) == ["Hello", "remember the moon"]
    none = exported(http, rich, scrub_messages="true")
    assert (none["agents"][0]["messages"], none["agents"][0]["in_context_message_ids"]) == ([], [])
    assert "conversations" not in none["mnemic"]["agents"]["agent-0"]
    url = f"/v1/agents/{rich.id}/export"
    with_skills = http.post(url, json={"skills": [{"name": "row"}], "scrub_messages": True}).json()
    assert with_skills["skills"] == [{"name": "row"}]
    assert http.get(url, params={"use_legacy_format": "true"}).status_code == 400
    assert http.get(url, params={"conversation_id": "nope"}).status_code == 422


def test_a_context_that_was_cut_comes_back_cut(http, client, rich):
    before = client.agents.retrieve(rich.id)
    kept = [before.message_ids[0], *before.message_ids[-2:]]
    http.patch(f"/v1/agents/{rich.id}", json={"message_ids": kept}).raise_for_status()
    file = exported(http, rich)
    assert len(file["agents"][0]["in_context_message_ids"]) == 3 < len(file["agents"][0]["messages"])
    twin = made(http, file)
    assert len(client.agents.retrieve(twin).message_ids) == 3
    assert exported(http, twin)["agents"][0]["in_context_message_ids"] == file["agents"][0]["in_context_message_ids"]


def test_blocks_that_two_agents_of_a_file_share_stay_shared(http, client, agent):
    file = exported(http, agent)
    file["agents"].append({**file["agents"][0], "id": "agent-1", "name": "Second"})
    one, two = imported(http, file, name="First").json()["agent_ids"]
    names = [client.agents.retrieve(id).name for id in (one, two)]
    assert names == ["First", "Second_copy"]
    client.agents.blocks.update("human", agent_id=one, value="Ada rows.")
    assert client.agents.blocks.retrieve("human", agent_id=two).value == "Ada rows."


def test_tools_that_are_here_already_are_changed_or_kept(http, make_agent, tool, token):
    agent = make_agent(tool_ids=[tool("sunny")["id"]])
    file = exported(http, agent)
    here = tool("cloudy")
    twin = made(http, file, override_existing_tools="false")
    assert "cloudy" in http.get(f"/v1/tools/{here['id']}").json()["source_code"]
    assert here["id"] in [one["id"] for one in http.get(f"/v1/agents/{twin}/tools").json()]
    made(http, file)
    assert "sunny" in http.get(f"/v1/tools/{here['id']}").json()["source_code"]


def test_a_file_grants_nothing_by_itself(granting, token):
    own = write(granting, token, grants={"hosts": ["api.example.com"]})
    file = exported(granting, agent_with(granting, token, own))
    assert file["mnemic"]["grants"]
    refused = imported(granting, file)
    assert refused.status_code == 409 and "allow_grants" in refused.json()["detail"]
    by_name = {"agents": [{"id": "a", "name": "Eve", "tools": [own["name"]], "tags": [token], "model": MODEL}]}
    assert imported(granting, by_name).status_code == 409, "nor does it get at tools by their names"
    assert agents_of(granting, token) == 1
    made(granting, file, allow_grants="true")

    def grants_after(**form):
        """What a tool gets that is not here before."""
        for one in granting.get("/v1/tools/", params={"name": own["name"]}).json():
            granting.delete(f"/v1/tools/{one['id']}").raise_for_status()
        answer = imported(granting, file, **form)
        assert answer.status_code == 200, answer.text
        (here,) = granting.get("/v1/tools/", params={"name": own["name"]}).json()
        return here.get("grants"), json.dumps(answer.json()["left_out"])

    grants, left_out = grants_after()
    assert not grants and own["name"] in left_out
    grants, left_out = grants_after(allow_grants="true")
    assert grants["hosts"] == ["api.example.com"] and own["name"] not in left_out
    change(file, ["mnemic", "grants", next(iter(file["mnemic"]["grants"])), "hosts"], ["elsewhere.example"])
    refused = imported(granting, file, allow_grants="true")
    assert refused.status_code == 400 and "administrator" in refused.json()["detail"]


def test_new_source_never_gets_what_was_granted_to_another(granting, token):
    file = exported(granting, agent_with(granting, token, write(granting, token, "evil")))
    own = write(granting, token, "good", grants={"hosts": ["api.example.com"]})
    for form in ({}, {"allow_grants": "true"}):
        refused = imported(granting, file, **form)
        assert refused.status_code == 409, refused.text
        assert own["name"] in refused.json()["detail"]
    kept = granting.get(f"/v1/tools/{own['id']}").json()
    assert "good" in kept["source_code"] and kept["grants"]["hosts"] == ["api.example.com"]
    assert agents_of(granting, token) == 1


def test_a_page_of_another_host_can_not_import(http, agent):
    file = exported(http, agent)
    send = {"files": {"file": ("agent.af", json.dumps(file))}}
    refused = http.post("/v1/agents/import", headers={"origin": "https://evil.example"}, **send)
    assert refused.status_code == 403 and "cors_origins" in refused.json()["detail"]
    own = str(http.base_url).rstrip("/")
    assert http.post("/v1/agents/import", headers={"origin": own}, **send).status_code == 200


def test_nothing_is_made_when_anything_is_wrong(http, client, rich, token):
    file = exported(http, rich)
    before = agents_of(http, token)
    file["agents"].append({**file["agents"][0], "id": "agent-1", "name": "Second/Third"})
    file["tools"].append({
        "id": "tool-new", "name": f"g_{token}", "source_code": SOURCE.format(name=f"g_{token}", word="x"),
    })
    refused = imported(http, file)
    assert refused.status_code == 400 and "Second/Third" in refused.json()["detail"]
    file["agents"][1]["name"] = "Second"
    file["agents"][1]["tools"] = ["no_such_tool"]
    refused = imported(http, file)
    assert refused.status_code == 400 and "no_such_tool" in refused.json()["detail"]
    assert agents_of(http, token) == before
    assert http.get("/v1/tools/", params={"name": f"g_{token}"}).json() == []
    assert len(http.get("/v1/blocks/", params={"label": "rules", "tags": "house"}).json()) >= 1


def change(file, path, value):
    *way, last = path
    place = file
    for key in way:
        place = place[key]
    place[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["agents"], [], "1 to 100"),
        (["agents"], {}, "agents"),
        (["agents", 0, "id"], "", "no id"),
        (["agents", 0, "block_ids"], ["block-99"], "block-99"),
        (["agents", 0, "tool_ids"], ["tool-99"], "tool-99"),
        (["agents", 0, "in_context_message_ids"], ["message-99"], "message-99"),
        (["agents", 0, "in_context_message_ids"], ["message-1", "message-1"], "message-1"),
        (["agents", 0, "messages", 1, "id"], "message-0", "message-0"),
        (["agents", 0, "messages", 1, "content"], 7, "messages[1].content"),
        (["agents", 0, "messages", 1, "created_at"], "soon", "messages[1]"),
        (["agents", 0, "timezone"], "Mars/Base", "Mars/Base"),
        (["agents", 0, "tool_rules"], [{"type": "odd", "tool_name": "a"}], "odd"),
        (["agents", 0, "agent_type"], "robot", "robot"),
        (["agents", 0, "llm_config", "handle"], "nobody/nothing", "`model`"),
        (["agents", 0, "compaction_settings"], {"mode": "odd"}, "sliding_window"),
        (["blocks", 0, "limit"], 0, "at least 1"),
        (["blocks", 0, "label"], "a<b", "label"),
        (["tools", 0, "name"], 7, "tools[0].name"),
        (["mnemic", "agents"], {"agent-9": {}}, "agent-9"),
        (["mnemic", "archives"], [{"id": "x", "name": "N", "passages": [{"text": " "}]}], "blank"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(http, client, agent, token, path, value, words):
    send(client, agent, "Hello")
    file = exported(http, agent)
    change(file, path, value)
    before = agents_of(http, token)
    refused = imported(http, file)
    assert refused.status_code == 400, refused.text
    assert words in refused.json()["detail"], refused.text
    assert agents_of(http, token) == before


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", "{}", '{"agents": null}', "[" * 100_000, '{"agents":' + "[" * 100_000, "\xff"],
)
def test_what_is_no_agent_file_is_refused(http, text):
    refused = imported(http, text.encode("latin-1"))
    assert refused.status_code == 400, refused.text
    assert "agent file" in refused.json()["detail"]


def test_wrong_forms_are_refused(http, agent):
    text = json.dumps(exported(http, agent))
    assert http.post("/v1/agents/import", data={"name": "x"}, files={"other": "x"}).status_code == 422
    assert http.post("/v1/agents/import", json={"agents": []}).status_code == 415
    assert imported(http, text, strip_messages="maybe").status_code == 422
    secret = imported(http, text, secrets='{"KEY": s3cret}')
    assert secret.status_code == 422 and "s3cret" not in secret.text
    cut = b"--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert http.post("/v1/agents/import", content=cut, headers=headers).status_code == 400


def test_a_huge_file_is_refused(server):
    with httpx.Client(base_url=server.url, timeout=60) as own:
        refused = imported(own, b" " * (33 << 20))
    assert refused.status_code == 413 and "limit" in refused.json()["detail"]


OLDER = {
    "agent_type": "memgpt_agent",
    "core_memory": [
        {"label": "human", "value": "Ada sails.", "limit": 5000, "description": None, "is_template": False,
         "template_name": None, "metadata_": {}, "created_at": "2025-04-01T10:00:00+00:00",
         "updated_at": "2025-04-01T10:00:00+00:00"},
    ],
    "created_at": "2025-04-01T10:00:00+00:00", "updated_at": "2025-04-01T10:00:00+00:00",
    "description": "Of old.", "embedding_config": None, "message_buffer_autoclear": False, "multi_agent_group": None,
    "llm_config": {"model": "scripted", "model_endpoint_type": "openai", "model_endpoint": "https://elsewhere.example",
                   "context_window": 32000, "handle": MODEL},
    "in_context_message_indices": [0, 1, 2, 3, 4],
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "The old prompt."}], "model": "m", "name": None,
         "tool_call_id": None, "tool_calls": [], "tool_returns": [], "created_at": "2025-04-01T10:00:00+00:00"},
        {"role": "user", "content": [{"type": "text", "text": "I like tea."}], "tool_calls": None,
         "created_at": "2025-04-01T10:01:00"},
        {"role": "assistant", "content": [{"type": "text", "text": "Tea is worth noting."}], "created_at": "2025-04-01T10:01:01+00:00", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "send_message", "arguments": "{\"message\": \"Noted: tea.\"}"}}]},
        {"role": "tool", "content": [{"type": "text", "text": "Sent."}], "tool_call_id": "call_1", "name": "send_message",
         "tool_calls": [], "tool_returns": [], "created_at": "2025-04-01T10:01:02+00:00"},
        {"role": "assistant", "content": [{"type": "text", "text": "And the boat?"}], "tool_calls": [],
         "created_at": "2025-04-01T10:01:03+00:00"},
    ],
    "metadata_": {"from": "old"}, "name": "Old Sailor", "system": "You sail, as ever.",
    "tags": [{"tag": "old"}],
    "tool_exec_environment_variables": [{"key": "KEY", "value": "v", "description": None}],
    "tool_rules": [{"type": "exit_loop", "tool_name": "send_message"}],
    "tools": [{"name": "send_message", "tool_type": "letta_core", "json_schema": {"name": "send_message"}, "tags": [],
               "source_code": None, "source_type": "python", "return_char_limit": 6000, "args_json_schema": None,
               "description": "Speaks."}],
    "version": "0.6.47",
}


def test_files_of_the_older_form_are_imported(http, client, model, token):
    twin = made(http, {**OLDER, "tags": [{"tag": token}]}, append_copy_suffix="false")
    state = client.agents.retrieve(twin, include=["agent.secrets", "agent.tags", "agent.tools", "agent.blocks"])
    assert (state.name, state.system, state.tags) == ("Old Sailor", "You sail, as ever.", [token])
    assert state.metadata == {"from": "old"} and [one.name for one in state.tools] == ["send_message"]
    assert "elsewhere" not in state.llm_config.model_endpoint and state.llm_config.context_window == 32000
    assert [(one.label, one.value) for one in state.blocks] == [("human", "Ada sails.")]
    assert len(state.message_ids) == 5
    history = client.agents.messages.list(twin, order="asc").items
    thought, said = next(pair for pair in zip(history, history[1:]) if getattr(pair[1], "content", "") == "Noted: tea.")
    assert (thought.message_type, thought.reasoning, said.message_type) == ("reasoning_message", "Tea is worth noting.", "assistant_message")
    send(client, twin, f"Do you know {token}?")
    texts = json.dumps(model.last_request(f"Do you know {token}?")["messages"])
    assert "I like tea." in texts and "Noted: tea." in texts and "The old prompt." not in texts
    assert "And the boat?" in texts


def test_an_agent_with_an_open_call_can_be_talked_to(http, client, agent, token):
    send(client, agent, "remember the wind")
    file = exported(http, agent)
    one = file["agents"][0]
    kept = [message for message in one["messages"] if message["role"] != "tool"]
    one["messages"], one["in_context_message_ids"] = kept, [message["id"] for message in kept]
    twin = made(http, file)
    assert reply(send(client, twin, "Hello"))


def test_a_call_of_what_can_be_no_tool_does_not_stop_the_agent(http, client, model, agent, token):
    send(client, agent, f"remember {token}")
    file = exported(http, agent)
    for message in file["agents"][0]["messages"]:
        for call in message["tool_calls"] or []:
            call["function"]["name"] = "no tool's name: " + "x" * 100
    twin = made(http, file)
    send(client, twin, f"Hello {token}")
    names = [
        call["function"]["name"]
        for message in model.last_request(f"Hello {token}")["messages"] for call in message.get("tool_calls") or []
    ]
    assert names and all(name.startswith("no_tool_s_name__x") and len(name) == 64 for name in names)


def test_an_image_that_is_none_does_not_stop_the_agent(http, client, model, agent, token):
    send(client, agent, "Hello")
    file = exported(http, agent)
    file["agents"][0]["messages"][1]["content"] = [
        {"type": "text", "text": f"Look {token}"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%%"}},
        {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/x.png"}},
    ]
    twin = made(http, file)
    assert reply(send(client, twin, "Hello"))
    assert json.dumps(model.last_request(f"Look {token}")["messages"]).count("not in the agent file") == 2


