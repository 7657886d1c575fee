"""Groups of agents: made and changed, and how their members come to speak."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from programs import MODEL, eventually
from talk import of_kind, send
from test_approvals import ADD, approve
from tool_calls import directive

UNKNOWN = "group-00000000-0000-4000-8000-0000000000ff"


@pytest.fixture
def crew(http, token):
    """Makes agents with names."""

    def make(*names, **fields):
        made = []
        for name in names:
            body = {"name": f"{name} {token}", "model": MODEL, "tags": [token], **fields}
            made.append(http.post("/v1/agents/", json=body).json()["id"])
        return made

    return make


def make(http, members, status=200, **fields):
    body = {"agent_ids": members, "description": "a crew", **fields}
    answer = http.post("/v1/groups/", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def say(http, group, text, **fields):
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return http.post(f"/v1/groups/{group['id']}/messages", json=body)


def test_a_group_is_made_read_listed_changed_and_deleted(http, crew):
    members = crew("one", "two")
    group = make(http, members, manager_config={"manager_type": "round_robin", "max_turns": 2})
    assert group["agent_ids"] == members and group["max_turns"] == 2 and group["turns_counter"] is None
    path = f"/v1/groups/{group['id']}"
    assert http.get(path).json() == group
    assert group in http.get("/v1/groups/?manager_type=round_robin&limit=1000").json()
    assert http.get("/v1/groups/?manager_type=swarm").json() == []
    assert http.get("/v1/groups/count").json() >= 1
    assert http.get(f"/v1/agents/{members[1]}/groups").json() == [group]
    assert http.get(f"/v1/agents/{members[1]}/groups?manager_type=dynamic").json() == []
    changed = http.patch(path, json={"description": "another", "agent_ids": members[::-1]}).json()
    assert changed == {**group, "description": "another", "agent_ids": members[::-1]}
    assert http.delete(path).json() == {"message": f"Group id={group['id']} successfully deleted"}
    assert http.get(path).status_code == 404
    assert http.get(f"/v1/agents/{members[0]}").status_code == 200


def test_what_no_group_can_be_is_refused(http, crew):
    one, two = crew("one", "two")
    stranger = "agent-00000000-0000-4000-8000-0000000000ff"
    make(http, [stranger], status=404)
    make(http, [one], status=400, manager_config={"manager_type": "supervisor"})
    make(http, [one], status=400, manager_config={"manager_type": "supervisor", "manager_agent_id": one})
    make(http, [one], status=400, manager_config={"manager_type": "round_robin", "max_turns": 0})
    make(http, [one], status=422, manager_config={"manager_type": "swarm"})
    make(http, [one], manager_config={"manager_type": "dynamic", "manager_agent_id": two})
    make(http, [one], status=409, manager_config={"manager_type": "dynamic", "manager_agent_id": two})
    assert http.get(f"/v1/groups/{UNKNOWN}").status_code == 404
    assert http.patch(f"/v1/groups/{UNKNOWN}/reset-messages").status_code == 404
    assert http.post(f"/v1/groups/{UNKNOWN}/messages", json={"input": "hello"}).status_code == 404


def test_members_speak_one_after_the_other_and_hear_what_was_said(http, crew, model, token):
    group = make(http, crew("ann", "bob", "cy"))
    answer = say(http, group, f"{token} hello")
    assert answer.status_code == 200, answer.text
    said = [m["content"] for m in answer.json()["messages"] if m["message_type"] == "assistant_message"]
    assert len(said) == 3 and answer.json()["usage"]["step_count"] == 3
    heard = model.last_request(f"ann {token}: {said[0]}")["messages"][-1]["content"]
    assert heard == f"user: {token} hello\nann {token}: {said[0]}\nbob {token}: {said[1]}"
    history = http.get(f"/v1/groups/{group['id']}/messages?order=asc").json()
    assert [m["content"] for m in history] == [f"{token} hello", *said]


def test_the_next_round_begins_with_what_the_first_has_not_heard(http, crew, model, token):
    group = make(http, crew("ann", "bob"))
    first = say(http, group, f"{token} one").json()["messages"]
    say(http, group, f"{token} two")
    bobs = [m["content"] for m in first if m["message_type"] == "assistant_message"][1]
    asked = [r["messages"] for r in model.requests(f"{token} two") if r["messages"][-1]["content"] == f"{token} two"]
    assert asked[0][-2]["content"] == f"bob {token}: {bobs}"


def test_max_turns_bounds_a_round_and_a_failure_ends_it(http, crew, token):
    group = make(http, crew("ann", "bob"), manager_config={"manager_type": "round_robin", "max_turns": 3})
    spoken = [m for m in say(http, group, f"{token} hello").json()["messages"] if m["message_type"] == "assistant_message"]
    assert len(spoken) == 3
    assert say(http, group, f"{token} [[error 400]]").status_code >= 400
    assert say(http, group, f"{token} again").status_code == 200


def test_a_group_begins_anew_after_a_reset(http, crew, model, token):
    group = make(http, crew("ann", "bob"))
    say(http, group, f"{token} before")
    reset = http.patch(f"/v1/groups/{group['id']}/reset-messages")
    assert reset.status_code == 200, reset.text
    assert http.get(f"/v1/groups/{group['id']}/messages").json() == []
    say(http, group, f"{token} after")
    assert f"{token} before" not in json.dumps(model.last_request(f"{token} after")["messages"])


def test_a_supervisor_asks_all_members_at_once(http, client, crew, token):
    boss, *members = crew("boss", "ann", "bob")
    group = make(http, members, manager_config={"manager_type": "supervisor", "manager_agent_id": boss})
    call = json.dumps({"message": f"{token} report"})
    answer = send(client, boss, f"[[call send_message_to_all_agents_in_group {call}]]")
    returned = json.loads(of_kind(answer.messages, "tool_return_message")[0].tool_return)
    assert [one["agent_id"] for one in returned] == members
    assert all(len(one["response"]) == 1 for one in returned), returned
    managed = http.get(f"/v1/agents/{boss}?include=agent.managed_group").json()["managed_group"]
    assert managed["id"] == group["id"]
    assert len(http.get(f"/v1/groups/{group['id']}/messages?limit=100").json()) == 4
    http.delete(f"/v1/groups/{group['id']}")
    tools = [tool["name"] for tool in http.get(f"/v1/agents/{boss}?include=agent.tools").json()["tools"]]
    assert "send_message_to_all_agents_in_group" not in tools


def test_a_dynamic_manager_chooses_who_speaks_next_until_the_word_is_said(http, client, crew, token):
    boss, ann, bob = crew("boss", "ann", "bob")
    config = {"manager_type": "dynamic", "manager_agent_id": boss, "termination_token": "FINIS"}
    group = make(http, [ann, bob], manager_config=config)
    assert group["termination_token"] == "FINIS"

    def choose(member, message):
        call = directive("choose_next_participant", next_speaker_agent_id=member, message=message)
        answer = send(client, boss, call)
        return of_kind(answer.messages, "tool_return_message")[0]

    first = json.loads(choose(ann, f"{token} begin").tool_return)
    assert first["agent_id"] == ann and "note" not in first
    last = json.loads(choose(bob, f"{token} [[echo]] FINIS").tool_return)
    assert "FINIS" in last["response"][0] and "conclude" in last["note"]
    stranger = choose(boss, "me")
    assert stranger.status == "error" and ann in stranger.tool_return


def test_max_turns_bounds_how_often_a_dynamic_manager_lets_members_speak(http, client, crew, token):
    boss, ann, bob = crew("boss", "ann", "bob")
    config = {"manager_type": "dynamic", "manager_agent_id": boss, "max_turns": 2}
    group = make(http, [ann, bob], manager_config=config)
    assert group["max_turns"] == 2

    def choose(*members):
        calls = (directive("choose_next_participant", next_speaker_agent_id=one, message=f"{token} go") for one in members)
        answer = send(client, boss, " ".join(calls))
        return of_kind(answer.messages, "tool_return_message")

    returned = choose(ann, bob, ann)
    assert [one.status for one in returned] == ["success", "success", "error"]
    assert "note" not in json.loads(returned[0].tool_return)
    assert "conclude" in json.loads(returned[1].tool_return)["note"]
    assert "max_turns" in returned[2].tool_return
    assert len(http.get(f"/v1/groups/{group['id']}/messages?limit=50").json()) == 4, "nobody was asked a third time"
    assert [one.status for one in choose(bob)] == ["success"], "the next turn begins anew"
    http.patch(f"/v1/groups/{group['id']}", json={"manager_config": {"manager_type": "dynamic", "max_turns": None}})
    assert [one.status for one in choose(ann, bob, ann)] == ["success"] * 3


def test_a_block_is_shared_among_the_members(http, crew):
    members = crew("ann", "bob")
    block = http.post("/v1/blocks/", json={"label": "plan", "value": "Sail."}).json()["id"]
    group = make(http, members)
    path = f"/v1/groups/{group['id']}/blocks"
    labels = lambda agent: [b["label"] for b in http.get(f"/v1/agents/{agent}/core-memory/blocks").json()]
    assert http.patch(f"{path}/attach/{block}").status_code == 200
    assert http.get(f"/v1/groups/{group['id']}").json()["shared_block_ids"] == [block]
    assert all("plan" in labels(member) for member in members)
    assert http.patch(f"{path}/detach/{block}").status_code == 200
    assert not any("plan" in labels(member) for member in members)


def test_buffer_lengths_of_voice_groups_are_kept(http, crew):
    boss, one = crew("boss", "one")
    config = {
        "manager_type": "voice_sleeptime", "manager_agent_id": boss,
        "max_message_buffer_length": 30, "min_message_buffer_length": 15,
    }
    group = make(http, [one], manager_config=config)
    assert {key: group[key] for key in config} == config
    wrong = {"manager_type": "voice_sleeptime", "min_message_buffer_length": 31}
    assert http.patch(f"/v1/groups/{group['id']}", json={"manager_config": wrong}).status_code == 400


@pytest.mark.parametrize("approves", [True, False])
def test_a_round_goes_on_after_a_member_got_its_approval(http, client, crew, token, approves):
    members = crew("ann", "bob", "cy")
    tool = client.tools.create(source_code=ADD.replace("NAME", f"add_{token}"), default_requires_approval=True)
    client.agents.tools.attach(tool.id, agent_id=members[1])
    group = make(http, members)
    call = f'[[call {tool.name} {{"a": 1, "b": 2}}]]'
    answer = say(http, group, call).json()
    assert answer["stop_reason"]["stop_reason"] == "requires_approval"
    runs = lambda agent: list(client.runs.list(agent_id=agent))
    [asked] = runs(members[1])
    waiting = answer["messages"][-1]["tool_calls"]
    done = http.post(
        f"/v1/conversations/{asked.conversation_id}/messages",
        json={"messages": [{"type": "approval", "approvals": [approve(one["tool_call_id"], approves) for one in waiting]}], "streaming": False},
    )
    assert done.status_code == 200, done.text
    [last] = done.json()["usage"]["run_ids"]
    eventually(lambda: client.runs.retrieve(last).status == "completed", "the last member has spoken")
    assert [one.id for one in runs(members[2])] == [last]
    assert len(runs(members[0])) == 1, "the round ends with the last member"


def test_of_groups_that_are_made_at_once_for_one_manager_one_comes_to_be(http, crew):
    manager, member = crew("ann", "bob")
    body = {
        "agent_ids": [member],
        "description": "x",
        "manager_config": {"manager_type": "supervisor", "manager_agent_id": manager},
    }
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: http.post("/v1/groups/", json=body).status_code, range(8)))
    assert sorted(made) == [200] + [409] * 7
