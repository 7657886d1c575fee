"""Messages that come while an agent is at work wait for their turn."""

import threading

from programs import eventually
from talk import of_kind, user


def all_at_once(calls):
    answers = [None] * len(calls)

    def run(n):
        answers[n] = calls[n]()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def post(http, agent, text):
    return http.post(f"/v1/agents/{agent.id}/messages", json={"messages": [user(text)]})


def test_two_messages_at_once_are_both_answered_one_after_the_other(http, client, agent, model, token):
    answers = all_at_once([lambda n=n: post(http, agent, f"[[sleep 150]] {token} {n}") for n in range(2)])
    assert [a.status_code for a in answers] == [200, 200]
    messages = list(client.agents.messages.list(agent.id, order="asc"))
    kinds = [m.message_type for m in messages]
    assert kinds == ["system_message"] + ["user_message", "assistant_message"] * 2
    second = messages[3].content
    seen = model.last_request(second)["messages"]
    assert [m["role"] for m in seen] == ["system", "user", "assistant", "user"], "the second turn saw the first"


def test_waiting_messages_keep_their_order(http, client, agent, token):
    runs = []
    for n in range(5):
        body = {"messages": [user(f"[[sleep 60]] {token} {n}")]}
        runs.append(http.post(f"/v1/agents/{agent.id}/messages/async", json=body).json()["id"])
    eventually(lambda: all(client.runs.retrieve(r).status == "completed" for r in runs), "all runs are over")
    said = [m.content for m in of_kind(client.agents.messages.list(agent.id, order="asc"), "user_message")]
    assert said == [f"[[sleep 60]] {token} {n}" for n in range(5)]


def test_a_full_queue_is_429_with_a_time_to_come_back(http, client, agent):
    path = f"/v1/agents/{agent.id}/messages/async"
    answers = [http.post(path, json={"messages": [user(f"[[sleep 30000]] {n}")]}) for n in range(40)]
    statuses = [a.status_code for a in answers]
    assert 429 in statuses
    accepted = statuses.index(429)
    assert accepted in (32, 33), "one at work and 32 that wait"
    assert set(statuses[accepted:]) == {429}
    assert int(answers[accepted].headers["retry-after"]) >= 1
    cancelled = client.agents.messages.cancel(agent.id)
    assert len(cancelled) == accepted


def test_a_waiting_message_can_be_cancelled_before_its_turn(http, client, agent, model, token):
    path = f"/v1/agents/{agent.id}/messages/async"
    first = http.post(path, json={"messages": [user(f"[[hold {token}]] first")]}).json()["id"]
    second = http.post(path, json={"messages": [user(f"second {token}")]}).json()["id"]
    assert client.agents.messages.cancel(agent.id, run_ids=[second]) == {second: "cancelled"}
    model.release(token)
    eventually(lambda: client.runs.retrieve(first).status == "completed", "the first run is over")
    assert client.runs.retrieve(second).status == "cancelled"
    assert model.requests(f"second {token}") == []


def test_agents_do_not_wait_for_each_other(http, client, make_agent):
    slow, quick = make_agent(), make_agent()
    run = http.post(f"/v1/agents/{slow.id}/messages/async", json={"input": "[[sleep 20000]] slow"}).json()
    assert post(http, quick, "hello").status_code == 200
    assert client.runs.retrieve(run["id"]).status in ("created", "running")
    client.agents.messages.cancel(slow.id)
