"""Conversations: several threads of one agent."""

import threading

import letta_client
import pytest

from programs import eventually
from programs import MODEL
from talk import kinds, of_kind, raw_stream, reply, send, user


@pytest.fixture
def conversation(client, agent):
    return client.conversations.create(agent_id=agent.id, summary="talk")


def say(http, conversation, text, **options):
    answer = http.post(
        f"/v1/conversations/{conversation.id}/messages",
        json={"messages": [user(text)], "streaming": False, **options},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_conversation_is_made_read_renamed_and_deleted(client, agent):
    made = client.conversations.create(agent_id=agent.id, summary="talk")
    assert made.id.startswith("conv-") and made.agent_id == agent.id and made.summary == "talk"
    client.conversations.update(made.id, summary="renamed")
    assert client.conversations.retrieve(made.id).summary == "renamed"
    client.conversations.delete(made.id)
    with pytest.raises(letta_client.NotFoundError):
        client.conversations.retrieve(made.id)


def test_conversations_of_an_agent_are_listed_newest_first(client, agent):
    made = [client.conversations.create(agent_id=agent.id).id for _ in range(4)]
    assert [c.id for c in client.conversations.list(agent_id=agent.id)] == made[::-1]
    page = client.conversations.list(agent_id=agent.id, after=made[2], limit=1)
    assert [c.id for c in page] == [made[1]]


def test_a_model_that_nobody_has_is_refused(client, http, agent, conversation):
    for model in ("openai/nobody", "nobody/scripted"):
        for refused in (
            http.post(f"/v1/conversations/?agent_id={agent.id}", json={"model": model}),
            http.patch(f"/v1/conversations/{conversation.id}", json={"model": model}),
        ):
            assert refused.status_code == 404, refused.text
    assert client.conversations.retrieve(conversation.id).model is None
    changed = http.patch(f"/v1/conversations/{conversation.id}", json={"model": MODEL})
    assert changed.status_code == 200 and changed.json()["model"] == MODEL


def test_the_default_form_of_an_answer_is_a_stream(client, conversation):
    frames = list(client.conversations.messages.create(conversation.id, messages=[user("hello")]))
    assert reply(frames).startswith("Reply ")
    assert kinds(frames)[-2:] == ["stop_reason", "usage_statistics"]


def test_a_json_answer_can_be_asked_for(http, conversation):
    body = say(http, conversation, "hello")
    assert body["stop_reason"]["stop_reason"] == "end_turn"


def test_threads_do_not_see_each_other(client, http, agent, conversation, model, token):
    send(client, agent, f"in the default thread {token}")
    say(http, conversation, f"in the other thread {token}")
    messages = model.last_request(f"in the other thread {token}")["messages"]
    assert [m["role"] for m in messages] == ["system", "user"]
    default = client.agents.messages.list(agent.id, conversation_id="default")
    assert f"in the other thread {token}" not in str([m.content for m in of_kind(default, "user_message")])
    other = client.agents.messages.list(agent.id, conversation_id=conversation.id)
    assert [m.content for m in of_kind(other, "user_message")] == [f"in the other thread {token}"]
    everything = client.agents.messages.list(agent.id)
    assert len(of_kind(everything, "user_message")) == 2


def test_threads_share_the_core_memory(client, http, agent, conversation, model, token):
    say(http, conversation, f"remember {token}")
    send(client, agent, f"hello {token}")
    assert f"Fact: remember {token}" in model.last_request(f"hello {token}")["messages"][0]["content"]


def test_messages_of_a_conversation_iterate_completely(client, http, conversation):
    for n in range(4):
        say(http, conversation, f"remember {n}")
    whole = [m.id for m in client.conversations.messages.list(conversation.id, limit=1000, order="asc").items]
    assert len(whole) > 15
    assert [m.id for m in client.conversations.messages.list(conversation.id, limit=3, order="asc")] == whole
    assert [m.id for m in client.conversations.messages.list(conversation.id, limit=3, order="desc")] == whole[::-1]


def test_default_names_the_agents_own_thread(client, http, agent, token):
    send(client, agent, f"hello {token}")
    messages = client.conversations.messages.list("default", agent_id=agent.id, limit=2)
    assert kinds(messages.items) == ["assistant_message", "user_message"]
    answer = http.post(
        "/v1/conversations/default/messages",
        json={"agent_id": agent.id, "messages": [user("again")], "streaming": False},
    )
    assert answer.status_code == 200
    assert len(of_kind(client.agents.messages.list(agent.id), "user_message")) == 2


def test_a_busy_conversation_refuses_and_names_the_run(http, conversation, model, token):
    path = f"/v1/conversations/{conversation.id}/messages"
    slow = threading.Thread(target=say, args=(http, conversation, f"[[hold {token}]] slow"))
    slow.start()
    try:
        runs = eventually(
            lambda: http.get("/v1/runs/", params={"conversation_id": conversation.id, "active": True}).json(),
            "the first run is there",
        )
        answer = http.post(path, json={"messages": [user("me too")], "streaming": False})
        assert answer.status_code == 409
        body = answer.json()
        assert "is currently being processed" in body["detail"] and f"run_id={runs[0]['id']}" in body["detail"]
        assert body["run_id"] == runs[0]["id"]
        assert answer.headers["x-should-retry"] == "false"
    finally:
        model.release(token)
        slow.join()
    say(http, conversation, "free again")


def test_a_conversation_is_cancelled(client, http, conversation):
    frames = []
    path = f"/v1/conversations/{conversation.id}/messages"
    body = {"messages": [user("[[sleep 20000]] never")]}
    reader = threading.Thread(target=lambda: frames.extend(raw_stream(http, path, body)))
    reader.start()
    try:
        eventually(
            lambda: http.get("/v1/runs/", params={"conversation_id": conversation.id, "active": True}).json(),
            "the run is there",
        )
        client.conversations.cancel(conversation.id)
    finally:
        reader.join()
    assert frames[-1] == (None, "[DONE]")
    assert {"message_type": "stop_reason", "stop_reason": "cancelled"} in [data for _, data in frames]


def test_the_newest_background_run_of_a_conversation_can_be_followed(client, conversation):
    frames = client.conversations.messages.create(
        conversation.id, messages=[user("[[delay 20]] [[words 60]] slow")], stream_tokens=True, background=True
    )
    first = next(iter(frames))
    frames.close()
    rest = list(client.conversations.messages.stream(conversation.id, starting_after=first.seq_id))
    assert reply(rest).startswith("Reply ") and kinds(rest)[-2:] == ["stop_reason", "usage_statistics"]


def test_an_unknown_conversation_is_404_and_a_malformed_id_422(http):
    unknown = "conv-00000000-0000-4000-8000-0000000000ff"
    assert http.get(f"/v1/conversations/{unknown}").status_code == 404
    assert http.get("/v1/conversations/conv-nope").status_code == 422
    answer = http.post(f"/v1/conversations/{unknown}/messages", json={"messages": [user("x")]})
    assert answer.status_code == 404


def test_a_conversation_of_an_unknown_agent_is_404(client):
    with pytest.raises(letta_client.NotFoundError):
        client.conversations.create(agent_id="agent-00000000-0000-4000-8000-0000000000ff")
