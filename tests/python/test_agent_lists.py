"""Lists of agents: order, cursors, filters."""

import pytest


@pytest.fixture
def five(make_agent):
    """Five agents, oldest first."""
    return [make_agent(name=f"list {letter}") for letter in "abcde"]


def ids(agents):
    return [agent.id for agent in agents]


def test_lists_are_newest_first(client, five, token):
    assert ids(client.agents.list(tags=[token])) == ids(five)[::-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 5, 50])
def test_iteration_sees_every_agent_once(client, five, token, order, limit):
    seen = ids(client.agents.list(tags=[token], order=order, limit=limit))
    assert seen == (ids(five) if order == "asc" else ids(five)[::-1])


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_cursors_are_relative_to_the_order(client, five, token, order):
    in_order = ids(five) if order == "asc" else ids(five)[::-1]
    after = client.agents.list(tags=[token], order=order, after=in_order[1], limit=2)
    assert ids(after.items) == in_order[2:4]
    before = client.agents.list(tags=[token], order=order, before=in_order[3], limit=2)
    assert ids(before.items) == in_order[1:3]


def test_an_unknown_cursor_is_ignored(client, five, token):
    unknown = "agent-00000000-0000-4000-8000-0000000000ff"
    assert len(client.agents.list(tags=[token], after=unknown).items) == 5


def test_order_by_update_follows_changes(client, five, token):
    client.agents.update(five[0].id, description="touched")
    assert client.agents.list(tags=[token], order_by="updated_at", limit=1).items[0].id == five[0].id


def test_order_by_last_run_puts_those_without_a_run_last(client, five, token):
    client.agents.messages.create(five[2].id, input="hello")
    for order in ("asc", "desc"):
        page = client.agents.list(tags=[token], order_by="last_run_completion", order=order, limit=50)
        assert page.items[0].id == five[2].id
        assert sorted(ids(page.items)) == sorted(ids(five))
    seen = ids(client.agents.list(tags=[token], order_by="last_run_completion", limit=2))
    assert sorted(seen) == sorted(ids(five)), "paging goes on over those without a run"


def test_filters_by_name_and_text(client, five, token):
    assert ids(client.agents.list(tags=[token], name="list c")) == [five[2].id]
    assert ids(client.agents.list(tags=[token], name="list")) == []
    assert len(ids(client.agents.list(tags=[token], query_text="IST"))) == 5
    assert ids(client.agents.list(tags=[token], query_text="list d")) == [five[3].id]


def test_filters_by_any_or_all_tags(client, make_agent, token):
    both = make_agent(tags=[token, f"{token}-x"])
    one = make_agent(tags=[token])
    any_of = client.agents.list(tags=[token, f"{token}-x"], match_all_tags=False)
    assert sorted(ids(any_of)) == sorted([both.id, one.id])
    assert ids(client.agents.list(tags=[token, f"{token}-x"], match_all_tags=True)) == [both.id]


def test_hidden_agents_are_not_listed(client, make_agent, token):
    shown = make_agent()
    make_agent(hidden=True)
    assert ids(client.agents.list(tags=[token])) == [shown.id]


def test_filters_by_project_and_stop_reason(client, make_agent, token, http):
    agent = make_agent()
    body = {"model": agent.model, "tags": [token]}
    other = http.post("/v1/agents/", json=body, headers={"X-Project-Id": f"project-{token}"}).json()
    assert ids(client.agents.list(tags=[token], project_id=f"project-{token}")) == [other["id"]]
    client.agents.messages.create(agent.id, input="hello")
    assert ids(client.agents.list(tags=[token], last_stop_reason="end_turn")) == [agent.id]


def test_lists_bring_relations_when_asked(client, agent, token):
    (plain,) = client.agents.list(tags=[token])
    assert plain.blocks == [] and plain.tools == []
    (full,) = client.agents.list(tags=[token], include=["agent.blocks", "agent.tools"])
    assert [b.label for b in full.blocks] == ["human"] and len(full.tools) == 5


def test_a_limit_of_zero_is_an_empty_list(http):
    answer = http.get("/v1/agents/", params={"limit": 0})
    assert answer.status_code == 200 and answer.json() == []


@pytest.mark.parametrize("limit", ["many", "-1", "1.5"])
def test_a_bad_limit_is_422(http, limit):
    answer = http.get("/v1/agents/", params={"limit": limit})
    assert answer.status_code == 422 and "limit" in answer.text


def test_tags_of_agents_are_listed(client, make_agent, token):
    make_agent(tags=[f"{token}-b", f"{token}-a"])
    assert list(client.tags.list(query_text=token)) == [f"{token}-a", f"{token}-b"]
