"""The server beside the tables of the old server, in a copy of its live database."""

import gzip
import subprocess
from pathlib import Path

import letta_client
import pytest
from programs import MODEL, ScriptedModel, Server, drop_database, make_database, named

DUMP = Path(__file__).parent.parent / "fixtures" / "old-server-0.16.8.sql.gz"


@pytest.fixture
def model():
    scripted = ScriptedModel()
    yield scripted
    scripted.stop()


@pytest.fixture
def old_database():
    """The URL of a fresh database with everything that the old server left."""
    url = make_database("old")
    with gzip.open(DUMP) as dump:
        restored = subprocess.run(
            [named("PSQL"), url, "-q", "-v", "ON_ERROR_STOP=1"], input=dump.read(), capture_output=True
        )
    assert restored.returncode == 0, restored.stderr.decode()
    yield url
    drop_database(url)


def dump(url):
    """All of the database but our schema: its tables and their rows."""
    program = Path(named("PSQL")).with_name("pg_dump")
    done = subprocess.run(
        [program, "--exclude-schema=mnemic", "--restrict-key=test", url], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# The forms in which the old server's users write it.
FORMS = ["postgresql", "postgres", "postgresql+pg8000", "postgresql+asyncpg"]


@pytest.mark.parametrize("scheme", FORMS)
def test_the_old_servers_tables_are_left_as_they_are(model, old_database, scheme):
    before = dump(old_database)
    assert "COPY public.agents " in before and "COPY public.messages " in before
    url = old_database.replace("postgresql", scheme, 1)
    server = Server("old", model, LETTA_PG_URI=url).start()
    try:
        client = letta_client.Letta(base_url=server.url, api_key="sk-none", max_retries=0)
        agent = client.agents.create(model=MODEL, memory_blocks=[{"label": "human", "value": "Ada"}])
        answer = client.agents.messages.create(agent.id, input="remember that she sails")
        assert answer.stop_reason.stop_reason == "end_turn"
        assert "she sails" in client.agents.blocks.retrieve("human", agent_id=agent.id).value
        assert server.terminate() < 5
        ours = subprocess.run(
            [named("PSQL"), old_database, "-tAc", "SELECT id FROM mnemic.agents"],
            check=True, capture_output=True, text=True,
        )
        assert ours.stdout.split() == [agent.id], "it is this database that the server used"
        assert dump(old_database) == before
        said = server.log()
        assert "of another application" in said and "docs/import.md" in said
    finally:
        server.close()


def test_the_agents_are_there_again_after_a_restart(model, old_database):
    server = Server("old", model, LETTA_PG_URI=old_database).start()
    try:
        client = letta_client.Letta(base_url=server.url, api_key="sk-none", max_retries=0)
        agent = client.agents.create(model=MODEL)
        server.kill()
        server.start()
        assert client.agents.retrieve(agent.id).id == agent.id
    finally:
        server.close()
