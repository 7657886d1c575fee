"""The history of an agent: complete in both orders, filtered, reset."""

import letta_client
import pytest

from programs import MODEL
from talk import kinds, of_kind, send

UNKNOWN = "message-00000000-0000-4000-8000-0000000000ff"


@pytest.fixture
def talked(client, agent):
    """An agent after six turns, four of them with a tool: more than 17 messages."""
    for n in range(6):
        send(client, agent, f"remember {n}" if n % 3 else f"turn {n}")
    return agent


def keys(messages):
    return [(m.id, m.message_type) for m in messages]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_iteration_sees_every_message_once(client, talked, order, limit):
    whole = keys(client.agents.messages.list(talked.id, limit=1000, order="asc").items)
    assert len(whole) == len(set(whole)) > 17
    seen = keys(client.agents.messages.list(talked.id, limit=limit, order=order))
    assert seen == (whole if order == "asc" else whole[::-1])


def test_the_default_is_newest_first(client, talked):
    newest = client.agents.messages.list(talked.id).items[0]
    oldest = client.agents.messages.list(talked.id, order="asc", limit=1).items[0]
    assert newest.message_type == "assistant_message" and oldest.message_type == "system_message"


def test_iteration_works_when_messages_share_a_stored_id(client, agent):
    for n in range(5):
        send(client, agent, f"[[reasoning thought {n}]] remember {n}")
    whole = keys(client.agents.messages.list(agent.id, limit=1000, order="asc").items)
    assert len({i for i, _ in whole}) < len(whole)
    for limit in (1, 2, 3, 4):
        for order in ("asc", "desc"):
            seen = keys(client.agents.messages.list(agent.id, limit=limit, order=order))
            assert sorted(seen) == sorted(whole), f"{order}, {limit} to a page"


def test_cursors_are_relative_to_the_order(client, talked):
    up = [i for i, _ in keys(client.agents.messages.list(talked.id, limit=1000, order="asc").items)]
    for order, ids in (("asc", up), ("desc", up[::-1])):
        page = client.agents.messages.list(talked.id, after=ids[4], limit=2, order=order)
        assert [m.id for m in page.items] == ids[5:7]
        page = client.agents.messages.list(talked.id, before=ids[4], limit=2, order=order)
        assert [m.id for m in page.items] == ids[2:4]


def test_an_unknown_cursor_is_404(client, talked):
    with pytest.raises(letta_client.NotFoundError, match=UNKNOWN):
        client.agents.messages.list(talked.id, after=UNKNOWN)


def test_kinds_can_be_filtered_with_complete_pages(client, talked):
    found = list(
        client.agents.messages.list(talked.id, include_return_message_types=["user_message"], limit=2, order="asc")
    )
    assert [m.content for m in found] == ["turn 0", "remember 1", "remember 2", "turn 3", "remember 4", "remember 5"]


def test_a_user_message_keeps_its_otid_and_has_its_run(client, agent):
    otid = "7f1c4b9e-0000-4000-8000-000000000001"
    client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "hi", "otid": otid}])
    (said,) = of_kind(client.agents.messages.list(agent.id).items, "user_message")
    assert said.otid == otid and said.run_id and said.step_id


def test_one_message_is_read_by_its_id(client, talked):
    newest = client.agents.messages.list(talked.id, limit=1).items[0]
    (read,) = client.messages.retrieve(newest.id)
    assert read.content == newest.content and read.message_type == "assistant_message"
    with pytest.raises(letta_client.NotFoundError):
        client.messages.retrieve(UNKNOWN)


def test_all_messages_of_the_server_are_listed(client, talked):
    newest = client.messages.list(limit=3)
    assert len(newest) == 3
    assert newest[0].id == client.agents.messages.list(talked.id, limit=1).items[0].id


def test_messages_cannot_be_edited(http, client, talked):
    newest = client.agents.messages.list(talked.id, limit=1).items[0]
    body = {"message_type": "assistant_message", "content": "edited"}
    assert http.patch(f"/v1/agents/{talked.id}/messages/{newest.id}", json=body).status_code == 405


def test_the_history_of_another_agent_is_not_shown(client, talked, make_agent):
    other = make_agent()
    assert kinds(client.agents.messages.list(other.id).items) == ["system_message"]


def test_the_context_grows_with_every_turn(client, agent):
    assert len(client.agents.retrieve(agent.id).message_ids) == 1
    send(client, agent, "remember a")
    ids = client.agents.retrieve(agent.id).message_ids
    assert len(ids) == 5
    stored = list(dict.fromkeys(m.id for m in client.agents.messages.list(agent.id, order="asc")))
    assert ids == stored


def test_a_reset_empties_the_context(client, talked, model, token):
    system = client.agents.retrieve(talked.id).message_ids[0]
    after = client.agents.messages.reset(talked.id)
    assert after.id == talked.id and after.message_ids == [system]
    send(client, talked, f"fresh start {token}")
    assert [m["role"] for m in model.last_request(f"fresh start {token}")["messages"]] == ["system", "user"]


def test_a_reset_can_bring_the_first_messages_back(client, make_agent, http):
    agent = make_agent(initial_message_sequence=[{"role": "user", "content": "we met before"}])
    send(client, agent, "hello")
    answer = http.patch(f"/v1/agents/{agent.id}/reset-messages", json={"add_default_initial_messages": True})
    assert answer.status_code == 200


def test_the_context_can_be_set(client, talked, model, token):
    ids = client.agents.retrieve(talked.id).message_ids
    client.agents.update(talked.id, message_ids=ids[:3])
    assert client.agents.retrieve(talked.id).message_ids == ids[:3]
    send(client, talked, f"less {token}")
    said = model.last_request(f"less {token}")["messages"]
    assert [m["role"] for m in said] == ["system", "user", "assistant", "user"]
    assert said[1]["content"] == "turn 0"


def test_a_context_that_was_cut_through_a_call_still_works(client, talked, model, token):
    """The return of a call that is out of the context must not reach a provider: it would refuse it."""
    ids = client.agents.retrieve(talked.id).message_ids
    client.agents.update(talked.id, message_ids=[ids[0], *ids[-2:]])
    assert send(client, talked, f"cut {token}").stop_reason.stop_reason == "end_turn"
    assert "tool" not in [m["role"] for m in model.last_request(f"cut {token}")["messages"]]


def test_a_given_first_sequence_is_in_the_context(client, model, token):
    agent = client.agents.create(
        model=MODEL,
        initial_message_sequence=[
            {"role": "user", "content": f"we met {token}"},
            {"role": "assistant", "content": f"indeed {token}"},
        ],
    )
    send(client, agent, f"go on {token}")
    said = str(model.last_request(f"go on {token}")["messages"])
    assert said.index(f"we met {token}") < said.index(f"indeed {token}") < said.index(f"go on {token}")


def test_an_autoclear_agent_forgets_after_each_turn(client, make_agent, model, token):
    agent = make_agent(message_buffer_autoclear=True)
    send(client, agent, f"first {token}")
    send(client, agent, f"second {token}")
    assert [m["role"] for m in model.last_request(f"second {token}")["messages"]] == ["system", "user"]
