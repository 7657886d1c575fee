"""Taking in turns of the past, without a model call."""

import uuid

import pytest

from talk import kinds, send


@pytest.fixture
def capture(http, agent):
    def post(turns, expect=200, **fields):
        answer = http.post(f"/v1/agents/{agent.id}/messages/capture", json={"messages": turns, **fields})
        assert answer.status_code == expect, answer.text
        return answer.json()

    return post


def turns(count, token):
    """Turns that take each other's place, each with an otid."""
    return [
        {"role": "assistant" if n % 2 else "user", "content": f"{token} turn {n}", "otid": str(uuid.uuid4())}
        for n in range(count)
    ]


def listed(client, agent):
    messages = client.agents.messages.list(agent.id, order="asc", limit=1000)
    return [m for m in messages if m.message_type != "system_message"]


def test_turns_come_in_in_order_and_without_a_model_call(capture, client, agent, model, token):
    ids = capture(turns(6, token))["message_ids"]
    found = listed(client, agent)
    assert [m.id for m in found] == ids
    assert [m.content for m in found] == [f"{token} turn {n}" for n in range(6)]
    assert kinds(found) == ["user_message", "assistant_message"] * 3
    assert model.requests(token) == []


def test_the_next_turn_sees_them(capture, client, agent, model, token):
    capture(turns(4, token))
    send(client, agent, f"and now {token}")
    contents = [m["content"] for m in model.last_request(f"and now {token}")["messages"][1:]]
    assert contents == [f"{token} turn {n}" for n in range(4)] + [f"and now {token}"]


def test_known_otids_are_skipped(capture, client, agent, token):
    given = turns(4, token)
    first = capture(given)["message_ids"]
    more = given + turns(2, f"{token} more")
    second = capture(more)["message_ids"]
    assert len(listed(client, agent)) == 6
    assert [i for i in second if i not in first] == [m.id for m in listed(client, agent)][4:]


def test_names_and_times_are_kept(capture, client, agent, token):
    capture([{"role": "user", "content": token, "name": "ada", "created_at": "2024-02-03T04:05:06Z"}])
    (found,) = listed(client, agent)
    assert found.name == "ada" and found.date.isoformat() == "2024-02-03T04:05:06+00:00"


def test_ten_thousand_turns_come_in_at_once(capture, client, agent, token):
    ids = capture(turns(10_000, token))["message_ids"]
    assert len(ids) == len(set(ids)) == 10_000
    newest = client.agents.messages.list(agent.id, limit=2).items
    assert [m.id for m in newest] == ids[:-3:-1]


def test_more_than_ten_thousand_are_refused(capture, client, agent, token):
    capture(turns(10_001, token), expect=422)
    assert listed(client, agent) == []


def test_a_proxys_form_is_taken_too(http, client, agent, model, token):
    body = {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "request_messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": f"asked {token}"},
        ],
        "response_dict": {"choices": [{"message": {"role": "assistant", "content": f"answered {token}"}}]},
    }
    answer = http.post(f"/v1/agents/{agent.id}/messages/capture", json=body)
    assert answer.status_code == 200, answer.text
    assert [m.content for m in listed(client, agent)] == [f"asked {token}", f"answered {token}"]
    assert model.requests(token) == []


@pytest.mark.parametrize("bad", [{"role": "wizard", "content": "x"}, {"role": "user"}, {"content": "x"}, "text"])
def test_one_bad_turn_refuses_all(capture, client, agent, token, bad):
    capture([*turns(2, token), bad], expect=422)
    assert listed(client, agent) == []


def test_nothing_to_take_in_is_422(capture):
    capture([], expect=422)
