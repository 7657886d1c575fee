"""A second agent keeps an agent's memory in order after its turns, in the background."""

import json

import pytest

from programs import MODEL, eventually
from talk import raw_stream, send, stream

RUN_TYPE = "sleeptime_agent_send_message_async"


def rethink(text):
    """Only the companion has this tool: the agent itself is told that there is none."""
    return f'[[call memory_rethink {json.dumps({"label": "human", "new_memory": text})}]]'


@pytest.fixture
def minded(http, token):
    """Makes an agent with a companion, and reads it back."""

    def make(**fields):
        body = {
            "name": f"minded {token}",
            "model": MODEL,
            "memory_blocks": [{"label": "human", "value": "Ada sails."}],
            "enable_sleeptime": True,
            **fields,
        }
        made = http.post("/v1/agents/", json=body)
        assert made.status_code == 200, made.text
        return made.json()

    return make


def group_of(http, agent):
    return http.get(f"/v1/agents/{agent}?include=agent.managed_group").json()["managed_group"]


def over(client, run_id):
    def ended():
        run = client.runs.retrieve(run_id)
        return run.status in ("completed", "failed", "cancelled") and run

    return eventually(ended, f"{run_id} is over")


def human(client, agent):
    return client.agents.blocks.retrieve("human", agent_id=agent).value


def companion_of(http, agent):
    group = http.get(f"/v1/agents/{agent['id']}?include=agent.managed_group").json()["managed_group"]
    return http.get(f"/v1/agents/{group['agent_ids'][0]}?include=agent.blocks&include=agent.tools").json()


def test_a_companion_shares_the_blocks_and_has_one_of_its_own(http, minded, token):
    agent = minded()
    group = agent["managed_group"]
    assert agent["multi_agent_group"] == group and agent["enable_sleeptime"] is True
    assert (group["manager_type"], group["manager_agent_id"]) == ("sleeptime", agent["id"])
    assert (group["sleeptime_agent_frequency"], group["turns_counter"]) == (5, -1)
    companion = companion_of(http, agent)
    assert (companion["name"], companion["agent_type"]) == (f"minded {token}-sleeptime", "sleeptime_agent")
    blocks = {block["label"]: block["id"] for block in companion["blocks"]}
    assert sorted(blocks) == ["human", "memory_persona"]
    own = {block["label"]: block["id"] for block in http.get(f"/v1/agents/{agent['id']}/core-memory/blocks").json()}
    assert own == {"human": blocks["human"]}
    assert "memory_finish_edits" in [tool["name"] for tool in companion["tools"]]


def test_the_first_turn_and_each_fifth_after_it_begin_a_run(http, client, minded):
    agent = minded()["id"]
    begun = [send(client, agent, f"turn {n}").usage.run_ids for n in range(7)]
    assert [bool(run_ids) for run_ids in begun] == [True, False, False, False, False, True, False]
    run = client.runs.retrieve(begun[0][0])
    assert run.metadata["run_type"] == RUN_TYPE and run.background is True
    assert group_of(http, agent)["turns_counter"] == 6
    for run_ids in begun:
        for run_id in run_ids or []:
            assert over(client, run_id).status == "completed"


def test_what_the_companion_writes_is_seen_in_the_next_turn_and_tells_who_wrote_it(http, client, model, minded, token):
    agent = minded()["id"]
    answer = send(client, agent, f"{token} {rethink(f'Ada rows {token}.')}")
    over(client, answer.usage.run_ids[0])
    assert human(client, agent) == f"Ada rows {token}."
    send(client, agent, f"and now {token}")
    assert f"Ada rows {token}." in model.last_request(f"and now {token}")["messages"][0]["content"]
    block = client.agents.blocks.retrieve("human", agent_id=agent)
    companion = group_of(http, agent)["agent_ids"][0]
    assert companion != agent and http.get(f"/v1/blocks/{block.id}").json()["last_updated_by_id"] is not None


def test_the_companion_is_given_what_was_said_since_it_looked_last_and_nothing_twice(http, client, model, minded, token):
    agent = minded()["id"]
    group = group_of(http, agent)
    patch = {"manager_config": {"manager_type": "sleeptime", "sleeptime_agent_frequency": 2}}
    assert http.patch(f"/v1/groups/{group['id']}", json=patch).json()["sleeptime_agent_frequency"] == 2
    answers = [send(client, agent, f"{token} fact{n}") for n in range(3)]
    assert [bool(answer.usage.run_ids) for answer in answers] == [True, False, True]
    runs = [over(client, answers[n].usage.run_ids[0]).id for n in (0, 2)]
    given = [client.runs.messages.list(run, order="asc").items[0].content for run in runs]
    said = [[n for n in range(3) if f"user: {token} fact{n}" in text] for text in given]
    assert said == [[0], [1, 2]]
    assert "assistant: Reply" in given[0]
    assert group_of(http, agent)["last_processed_message_id"].startswith("message-")


def test_a_null_frequency_is_each_turn_and_a_stream_names_the_run_too(http, client, minded):
    agent = minded()["id"]
    group = group_of(http, agent)
    body = {"manager_config": {"manager_type": "sleeptime", "sleeptime_agent_frequency": None}}
    http.patch(f"/v1/groups/{group['id']}", json=body)
    for n in range(2):
        usage = [f for f in stream(client, agent, f"turn {n}") if f.message_type == "usage_statistics"][0]
        assert len(usage.run_ids) == 1
        over(client, usage.run_ids[0])


def test_runs_of_one_companion_wait_for_each_other(http, client, minded):
    agent = minded()["id"]
    group = group_of(http, agent)
    body = {"manager_config": {"manager_type": "sleeptime", "sleeptime_agent_frequency": 1}}
    http.patch(f"/v1/groups/{group['id']}", json=body)
    runs = [send(client, agent, f"[[sleep 100]] turn {n}").usage.run_ids[0] for n in range(3)]
    ended = [over(client, run) for run in runs]
    assert [run.status for run in ended] == ["completed"] * 3
    assert [run.completed_at for run in ended] == sorted(run.completed_at for run in ended)


def test_a_model_that_fails_leaves_the_agent_usable_and_its_words_are_given_again(http, client, minded, token):
    agent = minded()["id"]
    group = group_of(http, agent)
    body = {"manager_config": {"manager_type": "sleeptime", "sleeptime_agent_frequency": 1}}
    http.patch(f"/v1/groups/{group['id']}", json=body)
    companion = group["agent_ids"][0]
    http.patch(f"/v1/agents/{companion}", json={"system": "[[by-system]] [[error 400]]"})
    first = send(client, agent, f"{token} first")
    failed = over(client, first.usage.run_ids[0])
    assert failed.status == "failed" and failed.metadata["error"]["error_type"].startswith("llm_")
    http.patch(f"/v1/agents/{companion}", json={"system": "Keep it."})
    second = send(client, agent, f"{token} second")
    assert over(client, second.usage.run_ids[0]).status == "completed"
    given = client.runs.messages.list(second.usage.run_ids[0], order="asc").items[0].content
    assert f"user: {token} first" in given and f"user: {token} second" in given


def test_it_can_be_switched_on_and_off(http, client, make_agent):
    agent = make_agent().id
    assert send(client, agent, "one").usage.run_ids is None
    on = http.patch(f"/v1/agents/{agent}", json={"enable_sleeptime": True})
    assert on.status_code == 200, on.text
    group = group_of(http, agent)
    companion = group["agent_ids"][0]
    run = send(client, agent, "two").usage.run_ids[0]
    over(client, run)
    off = http.patch(f"/v1/agents/{agent}", json={"enable_sleeptime": False})
    assert off.status_code == 200, off.text
    assert group_of(http, agent) is None
    assert http.get(f"/v1/groups/{group['id']}").status_code == 404
    assert http.get(f"/v1/agents/{companion}").status_code == 404
    assert send(client, agent, "three").usage.run_ids is None


def test_a_voice_companion_works_when_enough_was_said_and_is_given_the_oldest(http, client, minded, token):
    agent = minded()
    config = {"manager_type": "voice_sleeptime", "manager_agent_id": agent["id"],
              "max_message_buffer_length": 5, "min_message_buffer_length": 2}
    changed = http.patch(f"/v1/groups/{agent['managed_group']['id']}", json={"manager_config": config})
    assert changed.status_code == 200, changed.text
    companion = changed.json()["agent_ids"]
    assert http.get(f"/v1/agents/{agent['id']}").json()["enable_sleeptime"] is True
    runs = [send(client, agent["id"], f"{token} {n}").usage.run_ids for n in ("one", "two", "three")]
    assert runs[:2] == [None, None], "four messages may wait"
    (run,) = runs[2]
    assert over(client, run).status == "completed"
    given = client.runs.messages.list(run, order="asc").items[0].content
    assert f"user: {token} one" in given and f"user: {token} two" in given and f"{token} three" not in given
    assert send(client, agent["id"], f"{token} four").usage.run_ids is None, "four wait again"
    (run,) = send(client, agent["id"], f"{token} five {rethink('Ada rows.')}").usage.run_ids
    over(client, run)
    given = client.runs.messages.list(run, order="asc").items[0].content
    assert f"{token} three" in given and f"{token} four" in given and f"{token} two" not in given
    off = http.patch(f"/v1/agents/{agent['id']}", json={"enable_sleeptime": False})
    assert off.status_code == 200, off.text
    assert group_of(http, agent["id"]) is None and http.get(f"/v1/agents/{companion[0]}").status_code == 404


def test_a_voice_agent_has_a_companion_that_writes_what_it_knows(http, client, minded, token):
    agent = minded(agent_type="voice_convo_agent")
    group = agent["managed_group"]
    lengths = (group["max_message_buffer_length"], group["min_message_buffer_length"])
    assert (group["manager_type"], *lengths) == ("voice_sleeptime", 30, 15)
    config = {"manager_type": "voice_sleeptime", "max_message_buffer_length": 1, "min_message_buffer_length": 1}
    http.patch(f"/v1/groups/{group['id']}", json={"manager_config": config}).raise_for_status()
    (run,) = send(client, agent["id"], f"{token} {rethink('Ada rows.')}").usage.run_ids
    assert over(client, run).status == "completed"
    assert human(client, agent["id"]) == "Ada rows."


def test_blocks_that_come_later_are_shared_when_the_companion_works_next(http, client, minded):
    agent = minded()
    block = http.post("/v1/blocks/", json={"label": "boat", "value": "A sloop."}).json()
    attach = http.patch(f"/v1/agents/{agent['id']}/core-memory/blocks/attach/{block['id']}")
    assert attach.status_code == 200, attach.text
    over(client, send(client, agent["id"], "now").usage.run_ids[0])
    assert "boat" in [block["label"] for block in companion_of(http, agent)["blocks"]]


def test_the_companion_goes_with_its_agent(http, minded):
    agent = minded()
    companion = companion_of(http, agent)["id"]
    persona = [b["id"] for b in companion_of(http, agent)["blocks"] if b["label"] == "memory_persona"][0]
    assert http.delete(f"/v1/agents/{agent['id']}").status_code == 200
    assert http.get(f"/v1/agents/{companion}").status_code == 404
    assert http.get(f"/v1/blocks/{persona}").status_code == 404


def test_what_one_person_says_is_worked_on_for_that_person_only(http, client, minded, token):
    agent = minded()["id"]

    def chat(user, text):
        body = {"model": agent, "user": user, "messages": [{"role": "user", "content": text}]}
        answer = http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text

    chat("ada", f"{token} adas")
    chat("bob", f"{token} bobs")
    companion = group_of(http, agent)["agent_ids"][0]
    runs = eventually(
        lambda: (r := http.get(f"/v1/runs/?agent_id={companion}").json()) and len(r) == 2 and r, "both are worked on"
    )
    for run in runs:
        over(client, run["id"])
    assert len({run["conversation_id"] for run in runs}) == 2
    given = [client.runs.messages.list(run["id"], order="asc").items[0].content for run in runs]
    assert sorted(("adas" in text, "bobs" in text) for text in given) == [(False, True), (True, False)]
    assert group_of(http, agent)["turns_counter"] == -1, "turns of nobody in particular are counted apart"


def usage_of(frames):
    [usage] = [data for _, data in frames if isinstance(data, dict) and data.get("message_type") == "usage_statistics"]
    return usage


@pytest.mark.parametrize("options", [{}, {"stream_tokens": True}, {"background": True}, {"background": True, "stream_tokens": True}])
def test_a_stream_that_is_told_again_names_the_same_runs_as_the_first_time(client, http, minded, token, options):
    agent = minded()["id"]
    path, otid = f"/v1/agents/{agent}/messages", f"otid-{token}"
    body = {"messages": [{"role": "user", "content": "hello", "otid": otid}], "streaming": True, **options}
    first = raw_stream(http, path, body)
    live = usage_of(first)
    [tidying] = live["run_ids"]
    over(client, tidying)
    run = next(data["run_id"] for _, data in first if data.get("run_id"))
    for again in (
        raw_stream(http, f"/v1/runs/{run}/stream", {"starting_after": 0}),
        raw_stream(http, f"/v1/runs/{run}/stream", {"starting_after": 100_000}),
        raw_stream(http, path, body),
    ):
        assert usage_of(again) == live
    answered = http.post(path, json={"messages": body["messages"]})
    assert answered.status_code == 200 and answered.json()["usage"] == live


def test_a_turn_that_begins_no_other_names_none_when_it_is_told_again(http, agent):
    first = raw_stream(http, f"/v1/agents/{agent.id}/messages", {"input": "hello", "streaming": True})
    run = next(data["run_id"] for _, data in first if data.get("run_id"))
    assert usage_of(raw_stream(http, f"/v1/runs/{run}/stream", {"starting_after": 0})) == usage_of(first)
    assert usage_of(first)["run_ids"] is None


def test_two_agents_that_keep_each_others_memory_come_to_rest(client, http, make_agent, token):
    one, two = make_agent(), make_agent()
    for manager, member in ((one, two), (two, one)):
        config = {"manager_type": "sleeptime", "manager_agent_id": manager.id, "sleeptime_agent_frequency": 1}
        made = http.post("/v1/groups/", json={"agent_ids": [member.id], "description": "x", "manager_config": config})
        assert made.status_code == 200, made.text
    [first] = send(client, one, f"{token} hello").usage.run_ids
    over(client, first)
    runs = lambda agent: list(client.runs.list(agent_id=agent.id))
    assert [len(runs(one)), len(runs(two))] == [1, 1], "who tidies is not tidied for it by the agent that it works for"
    # What was said is not lost: another's turn of the second agent counts again.
    [second] = send(client, two, f"{token} and you?").usage.run_ids
    over(client, second)
    assert [len(runs(one)), len(runs(two))] == [2, 2]


def test_a_companion_that_is_deleted_itself_takes_its_group_along_and_can_be_made_anew(client, http, minded):
    agent = minded()
    assert http.delete(f"/v1/agents/{agent['managed_group']['agent_ids'][0]}").status_code == 200
    assert http.get(f"/v1/groups/{agent['managed_group']['id']}").status_code == 404
    assert http.get(f"/v1/agents/{agent['id']}").json()["enable_sleeptime"] is False
    assert send(client, agent["id"], "hello").usage.run_ids is None
    assert http.patch(f"/v1/agents/{agent['id']}", json={"enable_sleeptime": True}).status_code == 200
    group = group_of(http, agent["id"])
    assert len(group["agent_ids"]) == 1
    over(client, send(client, agent["id"], "hello again").usage.run_ids[0])
