"""A message that is sent again is not taken in twice."""

import threading
import uuid

import httpx
import pytest

from talk import of_kind, raw_stream, reply, user


@pytest.fixture
def post(http, agent):
    def send(text, otid=None, headers=None, route="messages", **options):
        message = user(text) if otid is None else user(text, otid=otid)
        return http.post(
            f"/v1/agents/{agent.id}/{route}", json={"messages": [message], **options}, headers=headers or {}
        )

    return send


@pytest.fixture
def said(client, agent):
    """What users said to the agent."""
    return lambda: [m.content for m in of_kind(client.agents.messages.list(agent.id), "user_message")]


def test_the_same_message_again_is_the_same_answer(post, said, model, token):
    otid = str(uuid.uuid4())
    first, second = post(f"once {token}", otid), post(f"once {token}", otid)
    assert first.status_code == second.status_code == 200
    assert first.json()["messages"] == second.json()["messages"]
    assert first.json()["usage"] == second.json()["usage"]
    assert said() == [f"once {token}"] and len(model.requests(f"once {token}")) == 1


def test_a_stream_of_the_same_message_replays_its_run(post, http, agent, said, token):
    otid = str(uuid.uuid4())
    first = post(f"once {token}", otid).json()
    frames = raw_stream(
        http, f"/v1/agents/{agent.id}/messages/stream", {"messages": [user(f"once {token}", otid=otid)]}
    )
    texts = [d["content"] for _, d in frames if isinstance(d, dict) and d["message_type"] == "assistant_message"]
    assert "".join(texts) == first["messages"][-1]["content"]
    assert frames[0][1]["run_id"] == first["messages"][-1]["run_id"]
    assert said() == [f"once {token}"]


def test_the_same_message_while_it_runs_attaches_to_the_run(post, said, token):
    otid, answers = str(uuid.uuid4()), []
    both = [
        threading.Thread(target=lambda: answers.append(post(f"[[sleep 700]] {token}", otid))) for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [a.status_code for a in answers] == [200, 200]
    assert answers[0].json()["messages"] == answers[1].json()["messages"]
    assert said() == [f"[[sleep 700]] {token}"]


def test_other_content_under_the_same_otid_is_a_conflict(post, said):
    otid = str(uuid.uuid4())
    assert post("one thing", otid).status_code == 200
    answer = post("another thing", otid)
    assert answer.status_code == 409 and otid in answer.text
    assert said() == ["one thing"]


def test_otids_are_the_conversations_own(post, http, make_agent, said):
    otid = str(uuid.uuid4())
    assert post("hello", otid).status_code == 200
    other = make_agent()
    answer = http.post(f"/v1/agents/{other.id}/messages", json={"messages": [user("other", otid=otid)]})
    assert answer.status_code == 200 and said() == ["hello"]


def test_a_retry_by_the_sdk_attaches_to_the_first_run(post, said, model, token):
    first = post(f"retried {token}")
    again = post(f"retried {token}", headers={"x-stainless-retry-count": "1"})
    assert first.json()["messages"] == again.json()["messages"]
    assert len(said()) == 1 and len(model.requests(f"retried {token}")) == 1


def test_the_same_text_without_a_retry_is_a_new_message(post, said):
    for _ in range(2):
        assert post("again", headers={"x-stainless-retry-count": "0"}).status_code == 200
    assert said() == ["again", "again"]


def test_a_retry_with_another_body_is_a_new_message(post, said):
    post("one")
    post("two", headers={"x-stainless-retry-count": "1"})
    assert sorted(said()) == ["one", "two"]


def test_the_sdks_own_retry_after_a_time_out_does_not_speak_twice(server, own_client, make_agent, client, token):
    agent = make_agent()
    impatient = own_client(server, max_retries=8, timeout=httpx.Timeout(0.6))
    answer = impatient.agents.messages.create(agent.id, messages=[user(f"[[sleep 1200]] {token}")])
    assert reply(answer)
    assert len(of_kind(client.agents.messages.list(agent.id), "user_message")) == 1


def test_an_async_message_sent_again_is_the_same_run(post, said):
    otid = str(uuid.uuid4())
    first, second = (post("in the background", otid, route="messages/async") for _ in range(2))
    assert first.json()["id"] == second.json()["id"]


def test_an_otid_of_a_captured_turn_is_known_too(post, http, agent, said):
    otid = str(uuid.uuid4())
    turn = {"role": "user", "content": "captured", "otid": otid}
    http.post(f"/v1/agents/{agent.id}/messages/capture", json={"messages": [turn]}).raise_for_status()
    assert post("something else", otid).status_code == 409
    assert said() == ["captured"]
