"""Providers that are added by the API, with keys of one's own."""

import json

import httpx
import pytest

from programs import MODEL
from talk import reply, send, stream

KEY = "sk-secret-of-ada-1234"
PRIVATE = {"MNEMIC_ALLOW_PRIVATE_URLS": "true"}


@pytest.fixture
def open_server(own_server, own_client):
    """A server whose administrator lets providers be on this machine."""
    server = own_server(**PRIVATE)
    with httpx.Client(base_url=server.url, timeout=60) as http:
        yield server, own_client(server), http


def add(http, model, name="mine", **fields):
    body = {"name": name, "provider_type": "openai", "api_key": KEY, "base_url": f"http://{model.address}/v1", **fields}
    answer = http.post("/v1/providers/", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_provider_is_added_read_changed_and_removed(open_server, model):
    _, client, http = open_server
    made = add(http, model)
    assert (made["name"], made["provider_category"], made["last_synced"]) == ("mine", "byok", None)
    assert http.get("/v1/providers/").json() == [made]
    assert http.get("/v1/providers/?name=other").json() == []
    path = f"/v1/providers/{made['id']}"
    assert http.get(path).json() == made
    assert http.post(f"{path}/check").json()["message"] == "Valid api key for provider_type=openai"
    assert http.patch(f"{path}/refresh").json()["last_synced"]
    changed = http.patch(path, json={"api_key": "sk-another-5678"})
    assert changed.status_code == 200 and changed.json()["base_url"] == made["base_url"]
    assert http.delete(path).json()["message"] == f"Provider id={made['id']} successfully deleted"
    assert http.get(path).status_code == 404


def test_its_models_are_there_at_once_and_after_a_restart(open_server, model, token):
    server, client, http = open_server
    add(http, model)
    models = {m.handle: m for m in client.models.list()}
    assert models["mine/scripted"].provider_category == "byok"
    assert [m["handle"] for m in http.get("/v1/models/?provider_category=byok").json()] and MODEL in models
    agent = client.agents.create(model="mine/scripted")
    assert reply(send(client, agent, f"one {token}"))
    server.kill()
    server.start()
    assert reply(stream(client, agent, f"two {token}", stream_tokens=True))
    said = [m["content"] for m in model.last_request(f"two {token}")["messages"] if m["role"] == "user"]
    assert said == [f"one {token}", f"two {token}"]


def test_what_an_added_provider_answered_is_known_as_ones_own(open_server, model):
    _, client, http = open_server
    made = add(http, model)
    agent, other = client.agents.create(model="mine/scripted"), client.agents.create(model=MODEL)
    assert agent.llm_config.provider_category == "byok" and other.llm_config.provider_category == "base"
    run = send(client, agent, "one").messages[0].run_id
    send(client, other, "two")
    steps = {step["agent_id"]: step for step in http.get("/v1/steps/").json()}
    assert (steps[agent.id]["provider_category"], steps[agent.id]["provider_id"]) == ("byok", made["id"])
    assert (steps[other.id]["provider_category"], steps[other.id]["provider_id"]) == ("base", None)
    assert http.get(f"/v1/runs/{run}/steps").json() == [steps[agent.id]]
    assert http.get(f"/v1/steps/{steps[agent.id]['id']}/metrics").json()["provider_id"] == made["id"]
    # With another model it is the server's again.
    changed = client.agents.update(agent.id, model=MODEL)
    assert changed.llm_config.provider_category == "base"


def test_an_agent_of_a_removed_provider_can_be_read_and_says_what_is_missing(open_server, model, token):
    _, client, http = open_server
    made = add(http, model)
    agent = client.agents.create(model="mine/scripted")
    send(client, agent, f"one {token}")
    http.delete(f"/v1/providers/{made['id']}")
    assert client.agents.retrieve(agent.id).llm_config.handle == "mine/scripted"
    missing = http.post(f"/v1/agents/{agent.id}/messages", json={"input": f"two {token}"})
    assert missing.status_code == 400 and "mine" in missing.text
    add(http, model)
    assert reply(send(client, agent, f"three {token}"))


def test_keys_are_encrypted_and_never_shown(open_server, model, token):
    server, client, http = open_server
    made = add(http, model)
    client.agents.create(model="mine/scripted")
    answers = [http.get("/v1/providers/").text, http.get(f"/v1/providers/{made['id']}").text, json.dumps(made)]
    assert all(KEY not in text for text in answers)
    assert KEY not in server.log(10_000)
    if server.engine == "sqlite":
        files = (server.folder / "data").rglob("*")
        assert all(KEY.encode() not in file.read_bytes() for file in files if file.is_file())
    else:
        assert KEY not in str(server.query("SELECT encode(api_key, 'escape') FROM providers"))


def test_embeddings_of_an_added_provider(open_server, model, token):
    _, client, http = open_server
    add(http, model)
    handles = [m["handle"] for m in http.get("/v1/models/embedding").json()]
    assert "mine/scripted-embed" in handles
    agent = client.agents.create(model="mine/scripted", embedding="mine/scripted-embed")
    client.agents.passages.create(agent.id, text=f"The keel {token}")
    found = client.agents.passages.search(agent.id, query=f"keel {token}")
    assert token in found.results[0].content


def test_a_wrong_key_is_told_and_nothing_is_stored(open_server, model):
    _, _, http = open_server
    nowhere = {"provider_type": "openai", "api_key": KEY, "base_url": "http://127.0.0.1:9/v1"}
    silent = http.post("/v1/providers/check", json=nowhere)
    assert silent.status_code == 400 and "127.0.0.1:9" in silent.json()["error"]["message"]
    there = {**nowhere, "base_url": f"http://{model.address}/v1"}
    assert http.post("/v1/providers/check", json=there).json()["message"] == "Valid api key for provider_type=openai"
    assert http.get("/v1/providers/").json() == []


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"provider_type": "google_vertex"}, 400, "google_ai"),
        ({"provider_type": "nobody"}, 400, "openrouter"),
        ({"provider_type": "vllm", "base_url": None}, 400, "base_url"),
        ({"provider_type": "bedrock", "base_url": None}, 400, "region"),
        ({"provider_type": "bedrock", "region": "us-east-1", "access_key": "AK"}, 400, "api_key"),
        ({"name": "a/b"}, 400, "letters"),
        ({"name": "openai"}, 400, "conflicts with an existing base provider"),
        ({"base_url": "ftp://host"}, 400, "http"),
        ({"unheard_of": 1}, 422, "unheard_of"),
    ],
)
def test_what_cannot_be_a_provider_is_refused(open_server, model, fields, status, words):
    _, _, http = open_server
    body = {"name": "mine", "provider_type": "openai", "api_key": KEY, "base_url": f"http://{model.address}/v1"}
    answer = http.post("/v1/providers/", json={**body, **fields})
    assert answer.status_code == status and words in answer.text, answer.text
    assert KEY not in answer.text


def test_a_name_is_taken_once(open_server, model):
    _, _, http = open_server
    add(http, model)
    body = {"name": "mine", "provider_type": "groq", "api_key": KEY}
    assert http.post("/v1/providers/", json=body).status_code == 409


def test_private_addresses_are_the_administrators_to_allow(http, client, model):
    body = {"name": "inside", "provider_type": "openai", "api_key": KEY, "base_url": f"http://{model.address}/v1"}
    answer = http.post("/v1/providers/", json=body)
    assert answer.status_code == 400 and "allow_private_urls" in answer.text
    # A name is looked at when it is resolved.
    named = {**body, "base_url": f"http://localhost:{model.address.split(':')[1]}/v1"}
    checked = http.post("/v1/providers/check", json={k: v for k, v in named.items() if k != "name"})
    assert checked.status_code >= 400 and "allow_private_urls" in checked.text


def test_another_replica_has_a_change_at_once(engine, own_server, own_client, model, token):
    if engine != "postgres":
        pytest.skip("SQLite has one server")
    key = {"MNEMIC_ENCRYPTION_KEY": "the same for all"}
    one = own_server(**PRIVATE, **key)
    two = own_server(**PRIVATE, **key, MNEMIC_DATABASE_URL=one.environment["MNEMIC_DATABASE_URL"])
    with httpx.Client(base_url=one.url, timeout=60) as http:
        made = add(http, model)
        agent = own_client(two).agents.create(model="mine/scripted")
        assert reply(send(own_client(two), agent, f"one {token}"))
        http.delete(f"/v1/providers/{made['id']}")
    gone = httpx.post(f"{two.url}/v1/agents/{agent.id}/messages", json={"input": f"two {token}"}, timeout=60)
    assert gone.status_code == 400 and "mine" in gone.text, gone.text
