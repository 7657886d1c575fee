"""What models cost, by the list that comes with the program and an administrator's own before it."""

import contextlib

import httpx
import pytest

from programs import MODEL, Server
from talk import send

OWN = """
[[provider]]
name = "mine"
hosts = ["{address}"]
currency = "EUR"

[[provider.model]]
name = "scripted"
context_window = 50000
as_of = "2026-11-01"
input = 2
cached_input = 0.5
output = 10
long = {{ above = 100000, input = 4, output = 20 }}

[[provider.model]]
name = "scripted-small"
as_of = "2026-01-01"
until = "2026-01-02"
input = 1
output = 1
"""


@pytest.fixture(scope="module")
def server(engine, model):
    priced = Server(engine, model)
    (priced.folder / "data").mkdir()
    (priced.folder / "data" / "models.toml").write_text(OWN.format(address=model.address))
    with contextlib.closing(priced):
        yield priced.start()


@pytest.fixture(scope="module")
def client(server):
    from conftest import client_of

    with client_of(server) as sdk:
        yield sdk


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=60) as raw:
        yield raw


def test_a_model_tells_its_price_and_one_that_is_not_known_tells_none(http):
    models = {model["handle"]: model for model in http.get("/v1/models/").json()}
    price = models[MODEL]["pricing"]
    assert (price["currency"], price["as_of"]) == ("EUR", "2026-11-01")
    assert (price["input"], price["cached_input"], price["output"]) == (2, 0.5, 10)
    assert price["long"] == {"above": 100_000, "input": 4, "output": 20}
    assert "pricing" not in models["openai-proxy/scripted-small"], "its price does not hold any more"
    assert "pricing" not in models["openai-proxy/scripted-toolless"]


def test_a_step_and_its_run_tell_what_they_cost(http, client, agent):
    answer = send(client, agent, '[[cached 100]] [[call memory_insert {"label": "human", "new_string": "x"}]]')
    (run,) = list(client.runs.list(agent_id=agent.id))
    steps = http.get(f"/v1/runs/{run.id}/steps").json()
    assert len(steps) == 2
    for step in steps:
        cached = step["cached_input_tokens"]
        expected = ((step["prompt_tokens"] - cached) * 2 + cached * 0.5 + step["completion_tokens"] * 10) / 1e6
        assert cached == 100 and step["cost"]["amount"] == pytest.approx(expected)
        assert (step["cost"]["currency"], step["cost"]["as_of"]) == ("EUR", "2026-11-01")
        assert http.get(f"/v1/steps/{step['id']}").json()["cost"] == step["cost"]
    usage = http.get(f"/v1/runs/{run.id}/usage").json()
    assert usage["cost"]["amount"] == pytest.approx(sum(step["cost"]["amount"] for step in steps))
    assert usage["prompt_tokens"] == answer.usage.prompt_tokens


def test_what_is_not_known_costs_nothing_that_is_told(http, client, make_agent):
    agent = make_agent(model="openai-proxy/scripted-small")
    send(client, agent, "hello")
    (run,) = list(client.runs.list(agent_id=agent.id))
    assert "cost" not in http.get(f"/v1/runs/{run.id}/usage").json()
    (step,) = http.get(f"/v1/runs/{run.id}/steps").json()
    assert "cost" not in step


def test_a_list_that_is_wrong_is_said_at_the_start(engine, model):
    for text, words in [("[[provider]]\nname = 3", "models.toml"), ("[[provider]]\nname = 'a'\nhosts = []\nprice = 1", "price")]:
        server = Server(engine, model)
        (server.folder / "data").mkdir()
        (server.folder / "data" / "models.toml").write_text(text)
        with pytest.raises(AssertionError, match="ended while it started"):
            server.start()
        assert words in server.log()
        server.close()
