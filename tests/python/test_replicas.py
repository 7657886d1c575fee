"""Several servers on one PostgreSQL, and a PostgreSQL that goes away."""

import time

import httpx
import pytest
from conftest import ENGINES, client_of
from programs import MODEL, ScriptedModel, Server, drop_database, eventually, make_database, run_sql
from talk import of_kind, send, user

EMBEDDER = "openai/scripted-embed"


@pytest.fixture(scope="session", params=[engine for engine in ENGINES if engine == "postgres"])
def engine(request):
    return request.param


@pytest.fixture
def database():
    """The URL of one that several servers share."""
    url = make_database()
    yield url
    drop_database(url)


@pytest.fixture
def replicas(engine, model, database):
    """Two servers on one database, and a client of each."""
    key = {"MNEMIC_ENCRYPTION_KEY": "the key that both of them have"}
    servers = [Server(engine, model, database=database, **key).start() for _ in range(2)]
    yield [(server, client_of(server)) for server in servers]
    for server in servers:
        server.close()


def is_running(client, run):
    return lambda: client.runs.retrieve(run.id).status == "running"


def is_over(client, run, status="completed"):
    return lambda: client.runs.retrieve(run.id).status == status


def test_each_sees_what_the_other_changed(replicas, model, token):
    (_, one), (_, two) = replicas
    agent = one.agents.create(model=MODEL, memory_blocks=[{"label": "human", "value": "Ada"}])
    send(one, agent, f"first {token}")
    two.agents.blocks.update("human", agent_id=agent.id, value=f"Ada knows {token}")
    send(two, agent, f"second {token}")
    send(one, agent, f"third {token}")
    messages = model.last_request(f"third {token}")["messages"]
    assert f"Ada knows {token}" in messages[0]["content"]
    said = [m["content"] for m in messages if m["role"] == "user"]
    assert said == [f"first {token}", f"second {token}", f"third {token}"]


def test_a_conversation_has_one_turn_at_a_time_whoever_takes_it(replicas, model, token):
    (_, one), (_, two) = replicas
    agent = one.agents.create(model=MODEL)
    slow = one.agents.messages.create_async(agent.id, messages=[user(f"[[sleep 700]] slow {token}")])
    eventually(is_running(one, slow), "the first has begun")
    send(two, agent, f"next {token}")
    said = [m["content"] for m in model.last_request(f"next {token}")["messages"] if m["role"] == "user"]
    assert said == [f"[[sleep 700]] slow {token}", f"next {token}"]
    assert one.runs.retrieve(slow.id).status == "completed"


def test_the_others_runs_can_be_followed_and_cancelled(replicas, token):
    (_, one), (_, two) = replicas
    agent = one.agents.create(model=MODEL)
    run = one.agents.messages.create_async(agent.id, messages=[user(f"[[sleep 20000]] {token}")])
    eventually(is_running(two, run), "it has begun")
    begun = time.monotonic()
    two.agents.messages.cancel(agent.id, run_ids=[run.id])
    eventually(is_over(one, run, "cancelled"), "it is cancelled")
    assert send(one, agent, "and on").stop_reason.stop_reason == "end_turn"
    assert time.monotonic() - begun < 10


def test_the_runs_of_a_dead_server_are_taken_over(replicas, token):
    (dies, one), (_, two) = replicas
    agent = one.agents.create(model=MODEL)
    run = one.agents.messages.create_async(agent.id, messages=[user(f"[[hang-at 1]] {token}")])
    eventually(is_running(two, run), "it has begun")
    dies.kill()
    eventually(is_over(two, run), "the other one brought it to its end", 30)
    assert len(of_kind(two.agents.messages.list(agent.id), "user_message")) == 1
    assert send(two, agent, "and on").stop_reason.stop_reason == "end_turn"


def test_replicas_share_the_embedding_and_a_dead_ones_part_is_taken_over(engine, database, token):
    """Each replica has a provider of its own, which tells what it was asked."""
    providers = [ScriptedModel(), ScriptedModel()]
    for provider in providers:
        provider.embed_as(delay_ms=300)
    settings = {"MNEMIC_ENCRYPTION_KEY": "the key that both of them have", "MNEMIC_DEFAULT_EMBEDDING": EMBEDDER}
    servers = [Server(engine, provider, database=database, **settings).start() for provider in providers]
    texts = [f"{token} {archive} {n}" for archive in range(8) for n in range(100)]

    def asked():
        return [[text for text in provider.embedded() if text.startswith(token)] for provider in providers]

    def stored():
        return int(servers[1].query("SELECT COUNT(*) FROM vectors")[0][0])

    try:
        with client_of(servers[0]) as client:
            for start in range(0, len(texts), 100):
                archive = client.archives.create(name=token)
                passages = [{"text": text} for text in texts[start : start + 100]]
                client.archives.passages.create_many(archive.id, passages=passages)
        eventually(lambda: all(asked()), "both of them embed", 60)
        servers[0].kill()
        eventually(lambda: stored() == len(texts), "the other one embeds the rest", 60)
        one, two = asked()
        assert set(one + two) == set(texts)
        # The dead one's last batch is made again, no other.
        assert len(one + two) - len(texts) <= 32
    finally:
        for running in (*servers, *providers):
            (running.stop if isinstance(running, ScriptedModel) else running.close)()


def test_a_database_that_is_gone_is_a_503_and_health_answers(engine, model, database):
    server = Server(engine, model, database=database).start()
    try:
        client = client_of(server)
        agent = client.agents.create(model=MODEL)
        name = database.rsplit("/", 1)[1]
        run_sql(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        run_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        path = f"{server.url}/v1/agents/{agent.id}/messages"
        refused = httpx.post(path, json={"input": "nobody there"}, timeout=60)
        assert refused.status_code == 503 and refused.json()["detail"]
        assert httpx.get(f"{server.url}/v1/health/", timeout=1).status_code == 200
        run_sql(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        eventually(lambda: httpx.post(path, json={"input": "back"}, timeout=60).status_code == 200, "it heals by itself")
        said = [m.content for m in of_kind(client.agents.messages.list(agent.id, order="asc"), "user_message")]
        assert "nobody there" not in said and said.count("back") == 1
    finally:
        server.close()
