"""Forks: threads that go on from what another one said."""

import letta_client
import pytest

from talk import send, user


@pytest.fixture
def thread(client, agent):
    return client.conversations.create(agent_id=agent.id, summary="talk")


def say(http, thread, text, **options):
    body = {"messages": [user(text)], "streaming": False, **options}
    answer = http.post(f"/v1/conversations/{thread.id}/messages", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def heard(model, text):
    """What the model was told before this message."""
    return [m["content"] for m in model.last_request(text)["messages"] if m["role"] == "user"]


def texts(client, thread):
    messages = client.conversations.messages.list(thread.id, order="asc")
    return [m.content for m in messages if m.message_type == "user_message"]


def test_a_fork_knows_what_was_said_and_neither_thread_changes_with_the_other(client, http, thread, model, token):
    say(http, thread, f"before {token}")
    fork = client.conversations.fork(thread.id)
    assert fork.id != thread.id and fork.agent_id == thread.agent_id and fork.summary == "talk"
    shared = client.conversations.retrieve(thread.id).in_context_message_ids
    # The same messages after a prompt of its own.
    assert fork.in_context_message_ids[1:] == shared[1:] and fork.in_context_message_ids[0] != shared[0]
    say(http, thread, f"only there {token}")
    say(http, fork, f"only here {token}")
    assert heard(model, f"only here {token}") == [f"before {token}", f"only here {token}"]
    assert texts(client, fork) == [f"before {token}", f"only here {token}"]
    assert texts(client, thread) == [f"before {token}", f"only there {token}"]


def test_a_fork_is_listed_in_the_order_of_its_context(client, http, thread, token):
    say(http, thread, f"first {token}")
    say(http, thread, f"second {token}")
    fork = client.conversations.fork(thread.id)
    say(http, fork, f"third {token}")
    context = client.conversations.retrieve(fork.id).in_context_message_ids
    agent = fork.agent_id
    for path in (f"/v1/conversations/{fork.id}/messages?", f"/v1/agents/{agent}/messages?conversation_id={fork.id}&"):
        listed = http.get(f"{path}order=asc").json()
        assert list(dict.fromkeys(one["id"] for one in listed)) == context, path
        assert listed[0]["message_type"] == "system_message"
        newest = http.get(f"{path}order=desc").json()
        assert list(dict.fromkeys(one["id"] for one in newest)) == context[::-1], path
        after = http.get(f"{path}order=asc&after={context[0]}").json()
        assert list(dict.fromkeys(one["id"] for one in after)) == context[1:], path
        before = http.get(f"{path}order=asc&before={context[2]}").json()
        assert list(dict.fromkeys(one["id"] for one in before)) == context[:2], path


@pytest.mark.parametrize("goes", ["the origin", "the fork"])
def test_deleting_one_leaves_the_other_whole(client, http, agent, thread, token, goes):
    say(http, thread, f"pelican {token}")
    fork = client.conversations.fork(thread.id)
    gone, stays = (thread, fork) if goes == "the origin" else (fork, thread)
    client.conversations.delete(gone.id)
    say(http, stays, f"after {token}")
    assert texts(client, stays) == [f"pelican {token}", f"after {token}"]
    found = http.post("/v1/messages/search", json={"query": f"pelican {token}", "agent_id": agent.id}).json()
    assert f"pelican {token}" in str(found)


def test_search_tells_a_shared_message_once_and_finds_it_in_the_fork(client, http, agent, thread, token):
    say(http, thread, f"heron {token}")
    fork = client.conversations.fork(thread.id)
    say(http, thread, f"later heron {token}")
    body = {"query": f"heron {token}", "agent_id": agent.id}
    found = http.post("/v1/messages/search", json=body).json()
    assert str(found).count(f"'heron {token}'") == 1
    body["conversation_id"] = fork.id
    found = str(http.post("/v1/messages/search", json=body).json())
    assert f"'heron {token}'" in found and f"later heron {token}" not in found


def test_a_fork_ends_at_the_message_that_is_named(client, http, thread, token):
    say(http, thread, f"first {token}")
    upto = client.conversations.retrieve(thread.id).in_context_message_ids[-1]
    say(http, thread, f"second {token}")
    fork = client.conversations.fork(thread.id, message_id=upto)
    assert fork.in_context_message_ids[-1] == upto
    assert texts(client, fork) == [f"first {token}"]
    with pytest.raises((letta_client.BadRequestError, letta_client.NotFoundError)):
        client.conversations.fork(thread.id, message_id=fork.in_context_message_ids[0])


def test_a_fork_of_a_fork_goes_on_from_both(client, http, thread, model, token):
    say(http, thread, f"one {token}")
    fork = client.conversations.fork(thread.id)
    say(http, fork, f"two {token}")
    second = client.conversations.fork(fork.id)
    say(http, second, f"three {token}")
    assert heard(model, f"three {token}") == [f"one {token}", f"two {token}", f"three {token}"]
    assert texts(client, second) == [f"one {token}", f"two {token}", f"three {token}"]


def test_the_default_thread_is_forked_and_hidden_forks_are_not_listed(client, agent, token):
    send(client, agent, f"by default {token}")
    fork = client.conversations.fork("default", agent_id=agent.id, hidden=True)
    assert texts(client, fork) == [f"by default {token}"]
    assert fork.id not in [c.id for c in client.conversations.list(agent_id=agent.id)]
    assert client.conversations.retrieve(fork.id).id == fork.id


def test_isolated_blocks_are_the_threads_own_and_are_copied_to_its_forks(client, http, agent, model, token):
    body = {"isolated_block_labels": ["human"]}
    made = http.post("/v1/conversations/", params={"agent_id": agent.id}, json=body)
    assert made.status_code == 200, made.text
    thread = client.conversations.retrieve(made.json()["id"])
    assert len(thread.isolated_block_ids) == 1
    client.blocks.update(thread.isolated_block_ids[0], value=f"own {token}")
    say(http, thread, f"hello {token}")
    assert f"own {token}" in model.last_request(f"hello {token}")["messages"][0]["content"]
    assert f"own {token}" not in client.agents.blocks.retrieve("human", agent_id=agent.id).value
    fork = client.conversations.fork(thread.id)
    assert len(fork.isolated_block_ids) == 1 and fork.isolated_block_ids != thread.isolated_block_ids
    client.blocks.update(thread.isolated_block_ids[0], value=f"changed {token}")
    assert client.blocks.retrieve(fork.isolated_block_ids[0]).value == f"own {token}"


def test_an_unknown_label_cannot_be_isolated(http, agent):
    body = {"isolated_block_labels": ["nowhere"]}
    refused = http.post("/v1/conversations/", params={"agent_id": agent.id}, json=body)
    assert refused.status_code == 400 and "nowhere" in refused.text


def test_conversations_are_put_aside_and_described(client, agent):
    made = client.conversations.create(agent_id=agent.id, description="about birds")
    client.conversations.update(made.id, archived=True)
    listed = lambda status: [c.id for c in client.conversations.list(agent_id=agent.id, archive_status=status)]
    assert made.id not in listed("unarchived") and made.id in listed("archived") and made.id in listed("all")
    assert client.conversations.retrieve(made.id).description == "about birds"
