"""Agent files: threads with what is their own, people with what is theirs, and agents that belong together."""

import json

from programs import MODEL, eventually
from talk import send
from test_agent_files import exported, imported, made, same_as, asked


def threads_of(http, agent):
    query = {"agent_id": agent, "archive_status": "all", "order": "asc"}
    return http.get("/v1/conversations/", params=query).raise_for_status().json()


def test_what_a_thread_has_of_its_own_comes_back(http, client, model, make_agent, token):
    agent = make_agent(name=f"Sailor {token}", memory_blocks=[{"label": "human", "value": "Ada sails."}])
    body = {
        "summary": "Tides", "description": "What the moon does.", "model": MODEL,
        "model_settings": {"provider_type": "openai", "temperature": 0.1}, "context_window_limit": 9000,
        "isolated_block_labels": ["human"],
    }
    thread = http.post(f"/v1/conversations/?agent_id={agent.id}", json=body).raise_for_status().json()
    client.blocks.update(thread["isolated_block_ids"][0], value=f"own {token}")
    http.post(f"/v1/conversations/{thread['id']}/messages", json={
        "messages": [{"role": "user", "content": "the moon"}], "streaming": False,
    }).raise_for_status()
    fork = http.post(f"/v1/conversations/{thread['id']}/fork", json={}).raise_for_status().json()
    http.patch(f"/v1/conversations/{fork['id']}", json={"archived": True}).raise_for_status()
    http.post(f"/v1/conversations/?agent_id={agent.id}", json={"hidden": True}).raise_for_status()
    first = exported(http, agent)
    assert [one.get("hidden") for one in first["mnemic"]["agents"]["agent-0"]["conversations"]] == [None, None, True]
    twin = made(http, first, append_copy_suffix="false")
    assert same_as(exported(http, twin)) == same_as(first)
    (one, two), (was_one, was_two) = threads_of(http, twin), threads_of(http, agent.id)
    for key in ("summary", "description", "model", "model_settings", "context_window_limit"):
        assert one[key] == was_one[key] == body[key]
    assert two["archived_at"] == was_two["archived_at"] is not None
    own = one["isolated_block_ids"][0]
    assert client.blocks.retrieve(own).value == f"own {token}" and own != thread["isolated_block_ids"][0]
    assert two["isolated_block_ids"] not in (one["isolated_block_ids"], []), "a fork has blocks of its own"
    client.blocks.update(own, value=f"newer {token}")
    assert client.agents.blocks.retrieve("human", agent_id=twin).value == "Ada sails."
    assert client.blocks.retrieve(thread["isolated_block_ids"][0]).value == f"own {token}"
    http.post(f"/v1/conversations/{one['id']}/messages", json={
        "messages": [{"role": "user", "content": f"{token} again"}], "streaming": False,
    }).raise_for_status()
    seen = json.dumps(model.last_request(f"{token} again")["messages"])
    assert f"newer {token}" in seen and "the moon" in seen


def test_a_thread_that_is_exported_alone_brings_what_it_has_of_its_own(http, client, model, agent, token):
    body = {"summary": "Tides", "context_window_limit": 9000, "isolated_block_labels": ["human"]}
    thread = http.post(f"/v1/conversations/?agent_id={agent.id}", json=body).raise_for_status().json()
    client.blocks.update(thread["isolated_block_ids"][0], value=f"own {token}")
    first = exported(http, agent, conversation_id=thread["id"])
    twin = made(http, first, append_copy_suffix="false")
    assert same_as(exported(http, twin)) == same_as(first)
    send(client, twin, f"{token} hello")
    assert f"own {token}" in json.dumps(model.last_request(f"{token} hello")["messages"])


def test_a_persons_own_thread_stays_that_persons(http, make_agent, token):
    agent = make_agent()

    def chat(agent, user, text):
        body = {"model": agent, "user": user, "messages": [{"role": "user", "content": text}]}
        http.post("/v1/chat/completions", json=body).raise_for_status()

    chat(agent.id, "anna", f"{token} secret of anna")
    twin = made(http, exported(http, agent))
    chat(twin, "anna", f"{token} anna again")
    chat(twin, "ben", f"{token} ben")
    threads = threads_of(http, twin)
    assert len(threads) == 2, "one of anna, who goes on in hers, and one of ben"
    said = [asked(http.get(f"/v1/conversations/{one['id']}/messages").json()) for one in threads]
    assert sorted(len(one) for one in said) == [1, 2]
    assert [f"{token} secret of anna" in one for one in said] == [True, False]


def test_an_agent_goes_with_its_companion_which_knows_what_it_was_given(http, client, make_agent, token):
    agent = make_agent(name=f"Sailor {token}", enable_sleeptime=True)
    group = http.get(f"/v1/agents/{agent.id}?include=agent.managed_group").json()["managed_group"]
    config = {"manager_type": "sleeptime", "sleeptime_agent_frequency": 2}
    http.patch(f"/v1/groups/{group['id']}", json={"manager_config": config}).raise_for_status()

    def turn(agent, text):
        runs = send(client, agent, text).usage.run_ids or []
        for run in runs:
            eventually(lambda: client.runs.retrieve(run).status == "completed", f"{run} is over")
        return runs

    assert len(turn(agent, f"{token} one")) == 1 and turn(agent, f"{token} two") == []
    first = exported(http, agent)
    assert [one["name"] for one in first["agents"]] == [f"Sailor {token}", f"Sailor {token}-sleeptime"]
    (entry,) = first["groups"]
    assert entry["agent_ids"] == ["agent-1"] and first["agents"][0]["group_ids"] == [entry["id"]]
    assert entry["manager_config"] == {**config, "manager_agent_id": "agent-0"}
    answer = imported(http, first, append_copy_suffix="false")
    assert answer.status_code == 200, answer.text
    twin, companion = answer.json()["agent_ids"]
    assert answer.json()["left_out"] == []
    assert same_as(exported(http, twin)) == same_as(first)
    copied = http.get(f"/v1/agents/{twin}?include=agent.managed_group").json()["managed_group"]
    assert copied["agent_ids"] == [companion] and copied["turns_counter"] == 1
    shared = [{one["label"]: one["id"] for one in http.get(f"/v1/agents/{id}/core-memory/blocks").json()}
              for id in (twin, companion)]
    assert shared[0]["human"] == shared[1]["human"], "they share what the others shared"
    (run,) = turn(twin, f"{token} three")
    given = client.runs.messages.list(run, order="asc").items[0].content
    assert f"{token} three" in given and f"{token} two" in given and f"{token} one" not in given
    http.delete(f"/v1/agents/{twin}").raise_for_status()
    assert http.get(f"/v1/agents/{companion}").status_code == 404, "it still goes with its agent"


def test_a_group_comes_with_all_who_are_in_it(http, client, make_agent, token):
    boss, ann, bob = (make_agent(name=f"{name} {token}").id for name in ("boss", "ann", "bob"))
    plan = http.post("/v1/blocks/", json={"label": "plan", "value": "Sail."}).raise_for_status().json()["id"]
    managed = {
        "agent_ids": [bob, ann], "description": "crew", "shared_block_ids": [plan],
        "manager_config": {"manager_type": "supervisor", "manager_agent_id": boss},
    }
    http.post("/v1/groups/", json=managed).raise_for_status()
    round_of = {"agent_ids": [ann, bob], "description": "talk",
                "manager_config": {"manager_type": "round_robin", "max_turns": 3}}
    talk = http.post("/v1/groups/", json=round_of).raise_for_status().json()["id"]
    said = {"messages": [{"role": "user", "content": f"{token} hello"}]}
    http.post(f"/v1/groups/{talk}/messages", json=said).raise_for_status()

    first = exported(http, boss)
    assert [one["description"] for one in first["groups"]] == ["crew"], "what it has no part in stays"
    boss_two, *_ = imported(http, first, append_copy_suffix="false").json()["agent_ids"]
    again = exported(http, boss_two)
    assert same_as(again) == same_as(first)
    assert [one["name"].split()[0] for one in again["agents"]] == ["boss", "bob", "ann"]
    assert again["groups"][0]["agent_ids"] == ["agent-1", "agent-2"], "in their order"

    first = exported(http, ann)
    assert [one["description"] for one in first["groups"]] == ["talk"]
    ann_two, _ = imported(http, first, append_copy_suffix="false").json()["agent_ids"]
    assert same_as(exported(http, ann_two)) == same_as(first)
    (group,) = http.get(f"/v1/agents/{ann_two}/groups").json()
    history = lambda group: [m["content"] for m in http.get(f"/v1/groups/{group}/messages?order=asc&limit=50").json()]
    assert len(history(talk)) == 4 and sorted(history(group["id"])) == sorted(history(talk))
    http.post(f"/v1/groups/{group['id']}/messages", json=said).raise_for_status()
    assert len(history(group["id"])) == 8, "they go on in the threads that they had"


def test_a_group_of_somebody_who_is_not_in_the_file_is_left_out(http, agent):
    file = exported(http, agent)
    file["groups"] = [
        {"id": "group-0", "agent_ids": ["agent-0", "agent-7"], "description": ""},
        {"id": "group-1", "agent_ids": ["agent-0"], "description": "", "manager_config": {"manager_type": "swarm"}},
        {"id": "group-2", "agent_ids": ["agent-0"], "description": "alone"},
        "nonsense",
    ]
    answer = imported(http, file)
    assert answer.status_code == 200, answer.text
    left_out = answer.json()["left_out"]
    assert len(left_out) == 3 and "agent-7" in left_out[0] and "swarm" in left_out[1]
    (group,) = http.get(f"/v1/agents/{answer.json()['agent_ids'][0]}/groups").json()
    assert group["description"] == "alone"


def test_what_is_remembered_of_a_person_stays_that_persons(http, agent):
    for text, user in (("The pier is old.", None), ("Ada fell off the pier.", "ada"), ("Bob painted the pier.", "bob")):
        body = {"text": text, **({"user_id": user} if user else {})}
        http.post(f"/v1/agents/{agent.id}/archival-memory", json=body).raise_for_status()
    http.post(f"/v1/agents/{agent.id}/memory", json={"content": "Is Ada.", "type": "core_memory", "user_id": "ada"}).raise_for_status()
    twin = made(http, exported(http, agent))

    def found(user=None):
        body = {"query": "pier", **({"user_id": user} if user else {})}
        results = http.post(f"/v1/agents/{twin}/memory/search", json=body).raise_for_status().json()["results"]
        return {(one["content"], one["user_id"]) for one in results}

    common = ("The pier is old.", None)
    assert found() == {common} == found("carl")
    assert found("ada") == {common, ("Ada fell off the pier.", "ada")}
    assert found("bob") == {common, ("Bob painted the pier.", "bob")}
    (block,) = http.get(f"/v1/agents/{twin}/users/ada").raise_for_status().json()["blocks"]
    assert (block["label"], block["value"]) == ("human", "Ada sails.\nIs Ada.")


def test_a_file_can_be_of_one_person(http, agent):
    for user in ("ada", "bob"):
        http.post(f"/v1/agents/{agent.id}/messages", json={"input": f"I am {user}.", "user_id": user}).raise_for_status()
        http.post(f"/v1/agents/{agent.id}/archival-memory", json={"text": f"Boat of {user}.", "user_id": user}).raise_for_status()
    file = json.dumps(exported(http, agent, user_id="ada"))
    assert "I am ada." in file and "Boat of ada." in file and "bob" not in file
    # In another place as well, it is that person's and nobody else's.
    twin = made(http, json.loads(file))
    of_ada = http.get(f"/v1/agents/{twin}/messages", params={"user_id": "ada"}).text
    assert "I am ada." in of_ada
    for others in ({"user_id": "bob"}, {"conversation_id": "default"}):
        assert "I am ada." not in http.get(f"/v1/agents/{twin}/messages", params=others).text
    stranger = json.dumps(exported(http, agent, user_id="carl"))
    assert "I am ada." not in stranger and "bob" not in stranger
