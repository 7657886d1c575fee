"""Batches of messages: every request becomes one run, whenever the process dies."""

import uuid

import pytest

from harness import Gone, check, eventually

POINTS = [
    "batch.claimed:1",
    "batch.claimed:3",
    "accepted:1",
    "answered:2",
    "closed:1",
    "batch.ended:1",
    "batch.ended:2",
    "commit.before:3",
    "commit.after:3",
    "commit.before:5",
    "commit.after:5",
    "commit.before:7",
    "commit.after:8",
]


@pytest.mark.parametrize("point", POINTS)
def test_each_request_runs_once_though_the_process_dies_at(point, server):
    server.start()
    agents = [server.make_agent(), server.make_agent()]
    server.kill()
    server.start(crash=point)
    mark = uuid.uuid4()
    texts = [f"request {n} {mark}" for n in range(4)]
    asked = [
        {"agent_id": agents[n % 2], "messages": [{"role": "user", "content": text}]} for n, text in enumerate(texts)
    ]
    try:
        status, batch = server.request("POST", "/v1/messages/batches", {"requests": asked})
        assert status == 200, batch
    except Gone:
        batch = None
    eventually(lambda: not server.is_alive(), 20, f"the process dies at {point}")
    server.kill()
    server.start()
    if batch is None:
        # It died before it had answered: the batch is there whole, or not at all.
        status, there = server.request("GET", "/v1/messages/batches")
        if not there:
            return
        batch = there[0]

    def over():
        status, found = server.request("GET", f"/v1/messages/batches/{batch['id']}")
        return status == 200 and found["status"] == "completed" and found

    done = eventually(over, 30, "the batch is over")
    assert done["metadata"]["requests"] == {"total": 4, "completed": 4, "failed": 0, "cancelled": 0}
    for place, agent in enumerate(agents):
        said = server.pages(f"/v1/agents/{agent}/messages")
        heard = [m["content"] for m in said if m["message_type"] == "user_message"]
        assert heard == texts[place::2]
        assert len(server.pages(f"/v1/runs/?agent_id={agent}")) == 2
        check(server, agent, texts[place::2], texts[place::2])
