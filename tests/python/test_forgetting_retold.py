"""What one agent was told of a person by another one is forgotten with what it was told of."""

import json

import httpx
import pytest

from programs import MODEL, eventually
from test_forgetting import forget, history
from test_sleeptime import companion_of, group_of, rethink


class Named:
    def __init__(self, id):
        self.id = id


@pytest.fixture
def http(own_server):
    """Of a server on which nothing else runs."""
    with httpx.Client(base_url=own_server().url, timeout=60) as raw:
        yield raw


def say(http, agent, text, user):
    body = {"messages": [{"role": "user", "content": text}], "user_id": user}
    answer = http.post(f"/v1/agents/{agent}/messages", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["messages"]


def human(http, agent, user):
    blocks = http.get(f"/v1/agents/{agent}/users/{user}").json()["blocks"]
    return next(block["value"] for block in blocks if block["label"] == "human")


def made(http, **fields):
    body = {"model": MODEL, "memory_blocks": [{"label": "human", "value": "Ada sails."}], **fields}
    answer = http.post("/v1/agents/", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def settled(http):
    eventually(lambda: http.get("/v1/runs/", params={"active": True, "limit": 1}).json() == [], "nothing runs")


def asked_of(http, agent, user, text):
    found = http.get(f"/v1/agents/{agent}/messages", params={"user_id": user, "limit": 100}).json()
    return next(one["id"] for one in found if one["message_type"] == "user_message" and text in one["content"])


def test_a_message_goes_from_what_the_companion_was_told_with_what_it_did(http, token):
    agent = made(http, enable_sleeptime=True)
    every_turn = {"manager_config": {"manager_type": "sleeptime", "sleeptime_agent_frequency": 1}}
    http.patch(f"/v1/groups/{group_of(http, agent['id'])['id']}", json=every_turn).raise_for_status()
    companion = companion_of(http, agent)["id"]
    ada, bob = f"ada-{token}", f"bob-{token}"
    for user in (ada, bob):
        say(http, agent["id"], f"I sail, {token}.", user)
        settled(http)
        say(http, agent["id"], f"secret {token}" + rethink(f"Ada sails.\nShe has asthma {token}."), user)
        settled(http)
    kept = lambda user: json.dumps(history(http, Named(companion), user))
    assert f"secret {token}" in kept(ada) and f"asthma {token}" in kept(ada)
    before = human(http, agent["id"], ada)
    assert f"asthma {token}" in before
    id = asked_of(http, agent["id"], ada, f"secret {token}")
    shown = forget(http, Named(agent["id"]), ada, message_ids=[id], dry_run=True)
    assert len({one["conversation_id"] for one in shown["found"]["messages"]}) == 2
    gone = forget(http, Named(agent["id"]), ada, message_ids=[id])
    assert gone["removed"]["messages"] == shown["removed"]["messages"]
    assert f"secret {token}" not in kept(ada) and f"asthma {token}" not in kept(ada)
    assert f"I sail, {token}." in kept(ada), "what else it was told stays"
    assert f"secret {token}" in kept(bob) and f"asthma {token}" in kept(bob)
    assert human(http, agent["id"], ada) == before, "blocks are changed only where that is asked for"


def test_what_a_time_brought_into_a_block_is_taken_out_of_it(http, token):
    agent = made(http, tools=["core_memory_append"])
    ada = f"ada-{token}"
    note = lambda text: f'[[call core_memory_append {json.dumps({"label": "human", "content": text})}]]'
    say(http, agent["id"], note(f"early {token}"), ada)
    since = http.get(f"/v1/agents/{agent['id']}/users/{ada}").json()["last_message_at"]
    say(http, agent["id"], note(f"middle {token}"), ada)
    until = http.get(f"/v1/agents/{agent['id']}/users/{ada}").json()["last_message_at"]
    say(http, agent["id"], note(f"late {token}"), ada)
    span = {"from": since, "to": until}
    (block,) = forget(http, Named(agent["id"]), ada, dry_run=True, **span)["found"]["blocks"]
    assert block["still_says"], "a later version says it still"
    assert f"middle {token}" in human(http, agent["id"], ada)
    say(http, agent["id"], note(f"again {token}"), ada)
    gone = forget(http, Named(agent["id"]), ada, change_blocks=True, **{"from": until})
    assert [block["still_says"] for block in gone["found"]["blocks"]] == [False]
    assert human(http, agent["id"], ada) == f"Ada sails.\nearly {token}\nmiddle {token}"
