"""Agents that ask and tell each other something."""

import json
import threading
import time

import pytest

from programs import MODEL, eventually
from talk import of_kind, send
from tool_calls import directive as call

WAIT = "send_message_to_agent_and_wait_for_reply"
ASYNC = "send_message_to_agent_async"
TAGGED = "send_message_to_agents_matching_tags"


@pytest.fixture
def talker(make_agent):
    return lambda **fields: make_agent(extra_body={"include_multi_agent_tools": True}, **fields)



def returned(answer):
    return of_kind(answer.messages, "tool_return_message")[-1]


def test_the_tools_are_there_when_they_are_asked_for(http, talker, make_agent):
    names = lambda agent: [t["name"] for t in http.get(f"/v1/agents/{agent.id}?include=agent.tools").json()["tools"]]
    assert {WAIT, ASYNC, TAGGED} <= set(names(talker()))
    assert not {WAIT, ASYNC, TAGGED} & set(names(make_agent()))


def test_an_agent_asks_another_one_and_reads_its_answer(http, client, model, talker, token):
    one, two = talker(), talker()
    answer = send(client, one, call(WAIT, message=f"{token} what is new?", other_agent_id=two.id))
    told = json.loads(returned(answer).tool_return)
    heard = client.agents.messages.list(two.id, order="asc").items
    assert told == {"agent_id": two.id, "response": [of_kind(heard, "assistant_message")[0].content]}
    said = of_kind(heard, "user_message")[-1]
    assert one.id in said.content and f"{token} what is new?" in said.content and said.sender_id == one.id


def test_an_agent_tells_another_one_something_and_goes_on(client, talker, token):
    one, two = talker(), talker()
    answer = send(client, one, call(ASYNC, message=f"[[sleep 300]] {token}", other_agent_id=two.id))
    assert returned(answer).status == "success" and two.id in returned(answer).tool_return
    eventually(
        lambda: of_kind(client.agents.messages.list(two.id).items, "assistant_message"), "the other one has answered"
    )


def test_all_agents_with_certain_tags_are_asked(client, talker, token):
    one = talker()
    red = talker(tags=[token, "red"])
    blue = talker(tags=[token, "blue"])
    talker(tags=[token, "green"])
    message = call(TAGGED, message=f"{token} report", match_all=[token], match_some=["red", "blue"])
    told = json.loads(returned(send(client, one, message)).tool_return)
    assert {one["agent_id"] for one in told} == {red.id, blue.id}
    assert all(len(one["response"]) == 1 for one in told)
    nobody = returned(send(client, one, call(TAGGED, message="m", match_all=[f"{token}-none"], match_some=[])))
    assert nobody.status == "error" and "no other agent" in nobody.tool_return


@pytest.mark.parametrize("wrong", ["itself", "nobody", "no id"])
def test_what_can_t_be_asked_is_told_to_the_model(client, talker, wrong):
    one = talker()
    other = {"itself": one.id, "nobody": "agent-00000000-0000-4000-8000-0000000000ff", "no id": "bob"}[wrong]
    answer = send(client, one, call(WAIT, message="m", other_agent_id=other))
    assert returned(answer).status == "error"
    assert answer.stop_reason.stop_reason == "end_turn"


def test_an_agent_that_waits_can_t_be_asked_by_the_one_it_waits_for(http, client, talker):
    one, two = talker(), talker()
    back = call(WAIT, message="and you?", other_agent_id=one.id)
    answer = send(client, one, call(WAIT, message=back, other_agent_id=two.id))
    assert returned(answer).status == "success"
    heard = client.agents.messages.list(two.id, order="asc").items
    refused = of_kind(heard, "tool_return_message")[-1]
    assert refused.status == "error" and "waits for what you answer" in refused.tool_return


def test_a_cancel_of_the_one_who_waits_ends_the_other_ones_run(http, client, talker):
    one, two = talker(), talker()
    # The one who is asked is busy with something else, so that the question waits.
    busy = http.post(f"/v1/agents/{two.id}/messages/async", json={"input": "[[sleep 20000]]"}).json()["id"]
    eventually(lambda: client.runs.retrieve(busy).status == "running", "the other one is busy")
    body = {"input": call(WAIT, message="m", other_agent_id=two.id)}
    asked = http.post(f"/v1/agents/{one.id}/messages/async", json=body).json()["id"]
    runs = lambda: http.get(f"/v1/runs/?agent_id={two.id}&order=asc").json()
    eventually(lambda: len(runs()) == 2, "the question waits")
    assert http.post(f"/v1/agents/{one.id}/messages/cancel", json={"run_ids": [asked]}).json() == {asked: "cancelled"}
    eventually(lambda: runs()[1]["status"] == "cancelled", "the question is called off")
    assert client.runs.retrieve(busy).status == "running"
    client.agents.messages.cancel(two.id)
    assert send(client, one, "still there?").stop_reason.stop_reason == "end_turn"


def test_two_agents_that_ask_each_other_at_once_do_not_wait_for_ever(client, talker, token):
    one, two = talker(), talker()
    answers = {}

    def ask(me, other):
        text = f"[[sleep 300]] {call(WAIT, message=token, other_agent_id=other.id)}"
        answers[me.id] = send(client, me, text)

    threads = [threading.Thread(target=ask, args=pair) for pair in [(one, two), (two, one)]]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - begun < 30
    assert len(answers) == 2
    statuses = [returned(answer).status for answer in answers.values()]
    assert "success" in statuses, "one of them is answered"


def test_a_client_may_call_such_a_tool_of_an_agent_itself(http, talker, token):
    one, two = talker(), talker()
    body = {"args": {"message": token, "other_agent_id": two.id}}
    ran = http.post(f"/v1/agents/{one.id}/tools/{WAIT}/run", json=body).json()
    assert ran["status"] == "success" and two.id in json.dumps(ran["func_return"]), ran


def test_what_is_said_for_one_person_stays_that_persons(http, client, talker, token):
    one, two = talker(), talker()
    text = call(WAIT, message=f"{token} secret", other_agent_id=two.id)
    body = {"model": one.id, "user": "ada", "messages": [{"role": "user", "content": text}]}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    default = client.agents.messages.list(two.id, conversation_id="default").items
    assert token not in json.dumps([str(message) for message in default])
    assert any(f"{token} secret" in str(message) for message in client.agents.messages.list(two.id).items)
