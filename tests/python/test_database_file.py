"""The SQLite file belongs to its users: other programs may read it while the server runs."""

import contextlib
import sqlite3
import threading

import pytest

from conftest import ENGINES
from programs import MODEL
from talk import of_kind, send

TURNS = 100


@pytest.fixture(scope="session", params=[engine for engine in ENGINES if engine == "sqlite"])
def engine(request):
    return request.param


def test_other_programs_may_read_the_database_while_the_server_writes(own_server, own_client, token):
    server = own_server()
    client = own_client(server)
    agent = client.agents.create(model=MODEL)
    path = f"file:{server.folder}/data/mnemic.db"
    over = threading.Event()
    failures = []

    def count(mode):
        with contextlib.closing(sqlite3.connect(f"{path}?mode={mode}", uri=True)) as database:
            return database.execute("SELECT COUNT(*) FROM messages WHERE body LIKE ?", (f"%{token} %",)).fetchone()[0]

    def read():
        counts = [0]
        while not over.is_set():
            counts.append(count("rw" if len(counts) % 2 else "ro"))
            if counts[-1] < counts[-2]:
                failures.append(counts[-2:])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for turn in range(TURNS):
            send(client, agent, f"[[echo]] {token} {turn}")
    finally:
        over.set()
        for reader in readers:
            reader.join()
        assert server.process.poll() is None, f"the server died of {server.process.poll()}"
    assert failures == []
    server.kill()
    server.start()
    assert count("ro") == 2 * TURNS, "something is lost"
    assert len(of_kind(client.agents.messages.list(agent.id, limit=1000), "user_message")) == TURNS
