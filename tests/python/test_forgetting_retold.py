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


def refused(http, agent, user, **parts):
    answer = http.post(f"/v1/agents/{agent}/users/{user}/forget", json=parts)
    assert answer.status_code == 409, answer.text


def minded(http):
    agent = made(http, enable_sleeptime=True)
    every_turn = {"manager_config": {"manager_type": "sleeptime", "sleeptime_agent_frequency": 1}}
    http.patch(f"/v1/groups/{group_of(http, agent['id'])['id']}", json=every_turn).raise_for_status()
    return agent, companion_of(http, agent)["id"]


def test_nothing_is_forgotten_while_the_companion_is_about_to_be_told_it(http, model, token):
    agent, companion = minded(http)
    ada = f"ada-{token}"
    # The agent answers at once, its companion when it is let go: its text tells what was said.
    say(http, agent["id"], f"secret {token}", ada)
    settled(http)
    body = {"input": f"more {token} [[hold {token}]]", "user_id": ada}
    run = http.post(f"/v1/agents/{agent['id']}/messages/async", json=body).json()["id"]
    eventually(lambda: model.requests(f"more {token}"), "the turn runs")
    id = asked_of(http, agent["id"], ada, f"secret {token}")
    refused(http, agent["id"], ada, message_ids=[id])
    model.release(token)
    eventually(lambda: http.get(f"/v1/runs/{run}").json()["status"] == "completed", "the turn ends")
    settled(http)
    forget(http, Named(agent["id"]), ada, message_ids=[id])
    assert f"secret {token}" not in json.dumps(history(http, Named(companion), ada))


def test_a_fork_whose_turn_runs_is_in_the_way_and_its_summary_goes_too(http, model, token):
    agent = made(http)
    ada = f"ada-{token}"
    say(http, agent["id"], f"secret-{token} [[echo]]", ada)
    thread = http.get(f"/v1/agents/{agent['id']}/users/{ada}").json()["conversation_id"]
    fork = http.post(f"/v1/conversations/{thread}/fork", json={}).raise_for_status().json()["id"]
    held = {"messages": [{"role": "user", "content": f"in the fork [[hold {token}]]"}], "background": True}
    with httpx.Client(base_url=http.base_url, timeout=60) as other:
        with other.stream("POST", f"/v1/conversations/{fork}/messages", json=held) as frames:
            eventually(lambda: model.requests(token), "the turn of the fork runs")
            id = asked_of(http, agent["id"], ada, f"secret-{token}")
            refused(http, agent["id"], ada, message_ids=[id])
            model.release(token)
            frames.read()
    settled(http)
    compacted = http.post(f"/v1/conversations/{fork}/compact", json={"compaction_settings": {"mode": "all", "prompt": "[[by-system]] [[keep secret-]]"}})
    assert compacted.status_code == 200, compacted.text
    body = {"messages": [{"role": "user", "content": f"before {token}"}], "streaming": False}
    http.post(f"/v1/conversations/{fork}/messages", json=body).raise_for_status()
    assert f"secret-{token}" in json.dumps(model.last_request(f"before {token}")), "the summary tells it"
    forget(http, Named(agent["id"]), ada, text=f"secret-{token}", to="2100-01-01T00:00:00Z", conversation_id=thread)
    body = {"messages": [{"role": "user", "content": f"after {token}"}], "streaming": False}
    http.post(f"/v1/conversations/{fork}/messages", json=body).raise_for_status()
    assert f"secret-{token}" not in json.dumps(model.last_request(f"after {token}"))


def test_the_same_short_words_later_are_of_another_message(http, token):
    agent, companion = minded(http)
    ada = f"ada-{token}"
    for text in ("ok", f"ok\nMy mother is called Rosa-{token}", "ok", "fine"):
        say(http, agent["id"], text, ada)
        settled(http)
    found = http.get(f"/v1/agents/{agent['id']}/messages", params={"user_id": ada, "order": "asc", "limit": 100}).json()
    first = next(one["id"] for one in found if one["message_type"] == "user_message" and one["content"] == "ok")
    forget(http, Named(agent["id"]), ada, message_ids=[first])
    kept = json.dumps(history(http, Named(companion), ada))
    assert f"Rosa-{token}" in kept and kept.count("user: ok\\n") >= 1, "what was told of the other messages stays"


def test_how_messages_are_stored_is_no_text_of_theirs(http, token):
    agent = made(http, tools=["core_memory_append", "archival_memory_insert"])
    ada = f"ada-{token}"
    say(http, agent["id"], "Hello", ada)
    say(http, agent["id"], '[[call archival_memory_insert {"content": "Sails."}]]', ada)
    for stored in ("text", "type", "content", "arguments", "success", "tool_calls", '":'):
        found = forget(http, Named(agent["id"]), ada, text=stored, dry_run=True)["found"]
        said = [one["text"] for one in found["messages"] if one["role"] == "user" and stored not in one["text"]]
        assert said == [] and found["passages"] == [], (stored, said)
    assert forget(http, Named(agent["id"]), ada, text="sails", dry_run=True)["removed"] | {"messages": 0} == forget(http, Named(agent["id"]), ada, text="SAILS.", dry_run=True)["removed"] | {"messages": 0}


def test_whose_lines_are_stays_known_when_a_version_is_forgotten(http, token):
    blocks = [{"label": "human", "value": "Nothing."}, {"label": "board", "value": "Opens at nine."}]
    agent = made(http, memory_blocks=blocks, tools=["core_memory_append"], open_to_users=["board"])["id"]
    note = lambda text: f'[[call core_memory_append {json.dumps({"label": "board", "content": text})}]]'
    board = lambda: http.get(f"/v1/agents/{agent}/core-memory/blocks/board").json()["value"]
    ada, bob, cat = (f"{name}-{token}" for name in ("ada", "bob", "cat"))
    for user in (ada, bob, cat):
        say(http, agent, note(f"line of {user}"), user)
    answer = http.post(f"/v1/agents/{agent}/forget", json={"text": f"line of {bob}"})
    assert answer.status_code == 200, answer.text
    http.delete(f"/v1/agents/{agent}/users/{cat}").raise_for_status()
    assert board() == f"Opens at nine.\nline of {ada}\nline of {bob}"
    receipt = http.delete(f"/v1/agents/{agent}/users/{bob}").json()
    assert len(receipt["common_blocks"]) == 1 and board() == f"Opens at nine.\nline of {ada}"
