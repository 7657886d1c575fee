"""Answers that come late, twice, or against each other: each client hears what became of the call."""

import concurrent.futures

import pytest
from letta_client import APIStatusError

from test_approvals import CALL, PICK, answer, approve, asked, call, history, ids, result, returns, waiting
from talk import kinds, reply, send, user
from tool_calls import PIXEL

__all__ = ["asked"]  # the fixture

NOTHING_WAITS = "No tool call is currently awaiting approval"


def refused(client, agent, *answers, **options):
    with pytest.raises(APIStatusError) as error:
        answer(client, agent, *answers, **options)
    return error.value.status_code, str(error.value)


def test_an_answer_that_is_sent_again_after_a_compaction_is_known(client, http, model, token, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    for n in range(6):
        send(client, agent, f"note {n}")
    [id] = ids(send(client, agent, f"{token} {call(asked, a=2, b=3)}"))
    answer(client, agent, approve(id))
    compacted = http.post(f"/v1/agents/{agent.id}/summarize", json={"compaction_settings": {"mode": "all"}})
    assert compacted.status_code == 200, compacted.text
    assert "tool" not in [message["role"] for message in model.requests(token)[-1]["messages"][-1:]]
    again = answer(client, agent, approve(id))
    assert again.messages == [] and again.stop_reason.stop_reason == "end_turn"
    assert refused(client, agent, approve("call_other"))[0] == 400


def test_the_old_form_is_known_after_a_compaction_too(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    for n in range(6):
        send(client, agent, f"note {n}")
    request = waiting(send(client, agent, call(asked, a=2, b=3)))
    body = {"messages": [{"type": "approval", "approve": True, "approval_request_id": request.id}]}
    path = f"/v1/agents/{agent.id}/messages"
    assert http.post(path, json=body).status_code == 200
    assert http.post(f"/v1/agents/{agent.id}/summarize", json={"compaction_settings": {"mode": "all"}}).status_code == 200
    assert http.post(path, json=body).json()["messages"] == []
    body["messages"][0]["approval_request_id"] = agent.message_ids[0]
    assert http.post(path, json=body).status_code == 400, "this message asked for nothing"


def test_an_approval_after_a_cancel_is_refused_and_asks_no_model(client, model, token, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    [id] = ids(send(client, agent, f"{token} {call(asked, a=2, b=3)}"))
    client.agents.messages.cancel(agent.id)
    calls, before = len(model.requests(token)), kinds(history(client, agent))
    for late in (approve(id), approve(id, approve=False)):
        status, text = refused(client, agent, late)
        assert status == 400 and NOTHING_WAITS in text
    assert len(model.requests(token)) == calls and kinds(history(client, agent)) == before
    assert reply(send(client, agent, "And now?"))


def test_whoever_answers_otherwise_and_later_hears_what_was_decided(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    [id] = ids(send(client, agent, call(asked, a=2, b=3)))
    assert returns(answer(client, agent, approve(id))) == [("success", "5")]
    body = {"messages": [{"type": "approval", "approvals": [approve(id, approve=False)]}]}
    late = http.post(f"/v1/agents/{agent.id}/messages", json=body)
    assert late.status_code == 409 and "approved already" in late.json()["detail"], late.text
    assert late.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("round", range(3))
def test_of_an_approval_and_a_denial_at_once_one_holds_and_the_other_is_told(client, make_agent, asked, round):
    agent = make_agent(tool_ids=[asked.id])
    [id] = ids(send(client, agent, call(asked, a=2, b=3)))

    def try_to(decide):
        try:
            return returns(answer(client, agent, approve(id, approve=decide)))
        except APIStatusError as error:
            return error.status_code, str(error)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        told = list(pool.map(try_to, [True, False]))
    lost = [one for one in told if isinstance(one, tuple)]
    assert len(lost) == 1 and lost[0][0] == 409 and "already" in lost[0][1], told
    [[(status, _)]] = [one for one in told if isinstance(one, list)]
    assert ("approved" in lost[0][1]) == (status == "success"), told


def test_a_request_is_cancelled_by_the_run_that_asked(client, http, make_agent, asked):
    agent = make_agent(tool_ids=[asked.id])
    path = f"/v1/agents/{agent.id}/messages/cancel"
    other = client.conversations.create(agent_id=agent.id)
    body = {"messages": [user(call(asked, a=1, b=1))], "streaming": False}
    elsewhere = http.post(f"/v1/conversations/{other.id}/messages", json=body).json()["messages"][-1]["run_id"]
    here = waiting(send(client, agent, call(asked, a=2, b=3))).run_id
    assert http.post(path, json={"run_ids": [elsewhere]}).json() == {elsewhere: "cancelled"}
    shown = http.get(f"/v1/agents/{agent.id}?include=agent.pending_approval").json()["pending_approval"]
    assert shown["run_id"] == here, "the other request still waits"
    assert http.post(path, json={"run_ids": [here]}).json() == {here: "cancelled"}
    assert http.post(path, json={"run_ids": [here]}).status_code == 409, "nothing waits any more"
    assert reply(send(client, agent, "And now?"))


def test_a_run_of_another_agent_cancels_nothing(client, http, make_agent, asked):
    agent, stranger = make_agent(tool_ids=[asked.id]), make_agent()
    run = waiting(send(client, agent, call(asked, a=2, b=3))).run_id
    refusal = http.post(f"/v1/agents/{stranger.id}/messages/cancel", json={"run_ids": [run]})
    assert refusal.status_code == 409, refusal.text
    assert http.get(f"/v1/agents/{agent.id}?include=agent.pending_approval").json()["pending_approval"]


def test_a_return_may_name_its_images_by_url(client, http, model, token, make_agent):
    agent = make_agent()
    [id] = ids(send(client, agent, f"{token} {CALL}", client_tools=[PICK]))
    # The guard knows this machine; what is in the URL itself needs no fetching.
    local = [{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:9/a.png"}}]
    status, text = refused(client, agent, result(id, local))
    assert status == 400 and "INVALID_ARGUMENT" in text
    inside = [
        {"type": "text", "text": "see"},
        {"type": "image", "source": {"type": "url", "url": f"data:image/png;base64,{PIXEL}"}},
    ]
    assert reply(answer(client, agent, result(id, inside)))
    seen = model.requests(token)[-1]["messages"]
    assert PIXEL in str(seen) and "[image 1]" in str(seen)
    many = [{"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}] * 9
    assert refused(client, agent, result(id, many))[0] == 422
