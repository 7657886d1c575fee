"""The process dies around the end of a turn that begins other runs: none of them is lost, and none comes twice."""

import uuid

import pytest

from harness import MODEL, Gone, check, eventually

POINTS = ["close.written:1", "follow-ups.written:1", "commit.after:4", "commit.after:5", "closed:1", "answered:2", "closed:2"]


def send_until_it_dies(server, path, text):
    try:
        server.request("POST", path, {"messages": [{"role": "user", "content": text}]})
    except Gone:
        pass


def runs_of(server, agent):
    return server.pages(f"/v1/runs/?agent_id={agent}")


def all_over(server, agents):
    runs = [run for agent in agents for run in runs_of(server, agent)]
    return all(run["status"] in ("completed", "failed", "cancelled") for run in runs) and (runs or True)


@pytest.mark.parametrize("point", POINTS)
def test_a_companion_works_once_on_each_turn_though_the_process_dies_at(point, server):
    server.start()
    body = {"model": MODEL, "memory_blocks": [{"label": "human", "value": "Ada."}], "enable_sleeptime": True}
    status, agent = server.request("POST", "/v1/agents/", body)
    assert status == 200, agent
    group, agent = agent["managed_group"], agent["id"]
    config = {"manager_config": {"manager_type": "sleeptime", "sleeptime_agent_frequency": 1}}
    assert server.request("PATCH", f"/v1/groups/{group['id']}", config)[0] == 200
    companion = group["agent_ids"][0]
    server.kill()
    server.start(crash=point)
    text = f"note {uuid.uuid4()}"
    send_until_it_dies(server, f"/v1/agents/{agent}/messages", text)
    eventually(lambda: not server.is_alive(), 20, f"the process dies at {point}")
    server.kill()
    server.start()
    eventually(lambda: all_over(server, [agent, companion]), 60, "every run is over")
    turns = [run for run in runs_of(server, agent) if run["status"] == "completed"]
    begun = runs_of(server, companion)
    # The process may have died before it took the message in.
    assert len(turns) in ((0, 1) if point.startswith("commit") else (1,))
    assert [run["status"] for run in begun] == ["completed"] * len(turns), "each turn began one run"
    given = [m for m in server.pages(f"/v1/agents/{companion}/messages") if m["message_type"] == "user_message"]
    assert sum(text in str(m["content"]) for m in given) == len(turns)
    status, after = server.request("GET", f"/v1/groups/{group['id']}")
    assert status == 200 and after["turns_counter"] == len(turns) - 1
    check(server, agent, [text] * len(turns))


@pytest.mark.parametrize("point", ["accepted:1", "follow-ups.written:1", "commit.after:6", "commit.after:7", "closed:1", "answered:2"])
def test_a_round_of_a_group_is_spoken_to_its_end_though_the_process_dies_at(point, server):
    server.start()
    members = [server.make_agent() for _ in range(3)]
    status, group = server.request("POST", "/v1/groups/", {"agent_ids": members, "description": "crew"})
    assert status == 200, group
    server.kill()
    server.start(crash=point)
    text = f"hello {uuid.uuid4()}"
    send_until_it_dies(server, f"/v1/groups/{group['id']}/messages", text)
    eventually(lambda: not server.is_alive(), 20, f"the process dies at {point}")
    server.kill()
    server.start()
    if point.startswith("commit") and not runs_of(server, members[0]):
        # It died before it took the message in: then nothing began.
        assert [runs_of(server, member) for member in members] == [[], [], []]
        return
    eventually(lambda: len(runs_of(server, members[2])) == 1, 60, "the last member speaks")
    eventually(lambda: all_over(server, members), 60, "every run is over")
    assert [len(runs_of(server, member)) for member in members] == [1, 1, 1]
    said = server.pages(f"/v1/groups/{group['id']}/messages")
    assert [m["message_type"] for m in said] == ["user_message"] + ["assistant_message"] * 3
    for member in members:
        check(server, member)


@pytest.mark.parametrize("point", ["calls.started:1", "call.returned:1", "close.written:2", "closed:2"])
def test_a_message_to_another_agent_is_sent_once_though_the_process_dies_at(point, server):
    server.start()
    other = server.make_agent()
    body = {"model": MODEL, "include_multi_agent_tools": True, "memory_blocks": [{"label": "human", "value": "Ada."}]}
    status, agent = server.request("POST", "/v1/agents/", body)
    assert status == 200, agent
    agent = agent["id"]
    server.kill()
    server.start(crash=point)
    word = str(uuid.uuid4())
    call = f'[[call send_message_to_agent_and_wait_for_reply {{"message": "{word}", "other_agent_id": "{other}"}}]]'
    send_until_it_dies(server, f"/v1/agents/{agent}/messages", call)
    eventually(lambda: not server.is_alive(), 20, f"the process dies at {point}")
    server.kill()
    server.start()
    check(server, agent)
    check(server, other)
    heard = [m for m in server.pages(f"/v1/agents/{other}/messages") if m["message_type"] == "user_message"]
    assert sum(word in str(m["content"]) for m in heard) <= 1
