"""What was used: summed from what is stored."""

import contextlib

import httpx
import pytest
from test_keys import caller, make_agent, make_key, make_token

from programs import MODEL, Server, eventually

SMALL = MODEL + "-small"

PRICES = """
[[provider]]
name = "mine"
hosts = ["{address}"]
currency = "EUR"

[[provider.model]]
name = "{model}"
as_of = "2026-11-01"
input = 2
cached_input = 0.5
output = 10
long = {{ above = 20000, input = 7, output = 30 }}
"""


def with_prices(server, model):
    """A server whose model costs something."""
    (server.folder / "data").mkdir()
    prices = PRICES.format(address=model.address, model=MODEL.split("/")[1])
    (server.folder / "data" / "models.toml").write_text(prices)
    return server


@pytest.fixture(scope="module")
def server(engine, model):
    priced = with_prices(Server(engine, model), model)
    with contextlib.closing(priced):
        yield priced.start()


@pytest.fixture(scope="module")
def admin(server):
    with caller(server) as open_server:
        key = make_key(open_server, "admin")["key"]
    with caller(server, key) as http:
        yield http


def usage(http, **params):
    answer = http.get("/v1/usage", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def say(http, agent, text):
    answer = http.post(f"/v1/agents/{agent}/messages", json={"input": text})
    assert answer.status_code == 200, answer.text
    return answer.json()["usage"]


def test_an_agents_month_is_the_sum_of_its_steps(admin):
    agent = make_agent(admin)
    nothing = usage(admin, agent_id=agent)
    assert (nothing["messages"], nothing["steps"], nothing["cost"], nothing["steps_without_price"]) == (0, 0, None, 0)
    told = [say(admin, agent, text) for text in ("one", "two", "three")]
    used = usage(admin, agent_id=agent)
    assert (used["messages"], used["steps"]) == (3, sum(one["step_count"] for one in told))
    assert used["tokens"]["prompt"] == sum(one["prompt_tokens"] for one in told) > 0
    assert used["tokens"]["completion"] == sum(one["completion_tokens"] for one in told) > 0
    cost = (used["tokens"]["prompt"] * 2 + used["tokens"]["completion"] * 10) / 1e6
    assert used["cost"]["amount"] == pytest.approx(cost)
    assert (used["cost"]["currency"], used["cost"]["as_of"], used["steps_without_price"]) == ("EUR", "2026-11-01", 0)
    assert used["stored_bytes"] > nothing["stored_bytes"]
    assert [row["steps"] for row in used["by_model"]] == [used["steps"]]
    assert usage(admin, agent_id=agent, month="2001-01")["messages"] == 0


def test_a_step_without_a_price_makes_the_sum_unknown_and_is_counted(admin):
    agent = make_agent(admin)
    say(admin, agent, "priced")
    assert admin.patch(f"/v1/agents/{agent}", json={"model": SMALL}).status_code == 200
    say(admin, agent, "not priced")
    used = usage(admin, agent_id=agent)
    assert (used["cost"], used["steps_without_price"]) == (None, 1)
    costs = [row["cost"] for row in used["by_model"]]
    assert None in costs and any(cost and cost["amount"] > 0 for cost in costs)


def test_long_requests_cost_what_long_ones_cost(admin):
    agent = make_agent(admin)
    short, long = say(admin, agent, "one"), say(admin, agent, "two [[read 30000]]")
    assert short["prompt_tokens"] < 20_000 < long["prompt_tokens"] == 30_000
    used = usage(admin, agent_id=agent)
    prices = ((short, 2, 10), (long, 7, 30))
    cost = sum(took["prompt_tokens"] * asked + took["completion_tokens"] * told for took, asked, told in prices) / 1e6
    assert used["cost"]["amount"] == pytest.approx(cost)
    assert (used["steps"], [row["steps"] for row in used["by_model"]]) == (2, [2])
    assert used["by_model"][0]["cost"] == used["cost"]


def test_a_provider_that_says_more_is_cached_than_was_asked_makes_other_calls_no_cheaper(admin):
    agent = make_agent(admin)
    odd, plain = say(admin, agent, "one [[read 100]] [[cached 5000]]"), say(admin, agent, "two")
    assert odd["prompt_tokens"] == 100
    used = usage(admin, agent_id=agent)
    assert used["tokens"]["cached"] > 100
    answers = (odd["completion_tokens"] + plain["completion_tokens"]) * 10
    cost = (100 * 0.5 + plain["prompt_tokens"] * 2 + answers) / 1e6
    assert used["cost"]["amount"] == pytest.approx(cost)


def test_people_and_keys_are_told_apart(server, admin):
    agent, other = make_agent(admin), make_agent(admin)
    key = make_key(admin, "agent")
    with caller(server, key["key"]) as http:
        token = make_token(http, agent, "anna")
        say(http, other, "with the key")
    with caller(server, token) as anna:
        say(anna, agent, "Hello")
        say(anna, agent, "Hello again")
        assert anna.get("/v1/usage").status_code == 403
    with caller(server, make_token(admin, agent, "bea")) as bea:
        say(bea, agent, "Hello")
    assert usage(admin, agent_id=agent)["messages"] == 3
    assert usage(admin, agent_id=agent, user_id="anna")["messages"] == 2
    assert usage(admin, agent_id=agent, user_id="Anna")["messages"] == 0
    assert usage(admin, agent_id=other, user_id="anna")["messages"] == 0
    of_key = usage(admin, api_key_id=key["id"])
    assert (of_key["messages"], of_key["stored_bytes"]) == (3, None)
    annas, beas = (usage(admin, agent_id=agent, user_id=name)["stored_bytes"] for name in ("anna", "bea"))
    assert annas > beas > 0


def test_wrong_questions_say_what_is_wrong(admin):
    for params in ({"month": "2026-13"}, {"month": "november"}, {"agent_id": "nope"}, {"api_key_id": "nope"}):
        assert admin.get("/v1/usage", params=params).status_code == 422, params


def test_summaries_and_calls_beside_the_agents_talk_are_counted(admin, model):
    agent = make_agent(admin)
    for text in ("one", "two", "three"):
        say(admin, agent, text)
    before = usage(admin, agent_id=agent)
    asked = admin.post(f"/v1/agents/{agent}/generate", json={"prompt": "the wind"})
    assert asked.status_code == 200, asked.text
    generated = usage(admin, agent_id=agent)
    assert generated["steps"] == before["steps"] + 1
    assert generated["tokens"]["total"] - before["tokens"]["total"] == asked.json()["usage"]["total_tokens"]
    assert generated["messages"] == before["messages"]
    assert generated["cost"]["amount"] > before["cost"]["amount"]
    unmet = {"prompt": "the wind", "response_schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}
    assert admin.post(f"/v1/agents/{agent}/generate", json=unmet).status_code >= 400
    # It is asked twice for the form that it does not keep.
    failed = usage(admin, agent_id=agent)
    assert failed["tokens"]["prompt"] > generated["tokens"]["prompt"] and failed["steps"] > generated["steps"]
    with pytest.raises(httpx.ReadTimeout):
        admin.post(f"/v1/agents/{agent}/generate", json={"prompt": f"[[hold {agent}]]"}, timeout=1)
    model.release(agent)
    eventually(lambda: usage(admin, agent_id=agent)["steps"] > failed["steps"], "whose asker has gone is counted")
    generated = usage(admin, agent_id=agent)
    compacted = admin.post(f"/v1/agents/{agent}/summarize", json={})
    assert compacted.status_code == 200, compacted.text
    summarized = usage(admin, agent_id=agent)
    assert summarized["steps"] > generated["steps"]
    assert summarized["tokens"]["prompt"] > generated["tokens"]["prompt"]


def test_an_empty_user_is_nobody_and_not_everybody(admin):
    assert admin.get("/v1/usage", params={"user_id": ""}).status_code == 422
