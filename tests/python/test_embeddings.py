"""Search by meaning: the model in the process with its real weights, models at providers, and none at all.

What is embedded when is not promised, so these tests wait for the share that is, or for what the provider was asked.
"""

import time

import httpx
import pytest

from conftest import client_of
from hub import Hub
from programs import MODEL, ScriptedModel, Server, eventually, weights
from talk import of_kind, send

LOCAL = "local/all-MiniLM-L6-v2"
REMOTE, OTHER = "openai/scripted-embed", "openai/other-embed"
BOATS = [
    "The physician prescribed a remedy against her cough.",
    "Spruce is what the mast is made of.",
    "Rents in the harbour district rose by a tenth.",
    "The committee adjourned until after the holidays.",
]
SURGERY = (
    "The surgeon removed the old woman's appendix on Tuesday night. She was brought to the hospital by ambulance with a "
    "fever and sharp pains, and the anaesthetist put her under at ten. The surgeons worked for two hours, because the "
    "appendix had already burst. The nurses on the ward gave her antibiotics, changed her bandages and took her "
    "temperature every hour. On Friday the stitches looked clean, and the doctors let her grandchildren visit her. She "
    "was sent home a week after the surgery, with painkillers and a list of exercises, and was well again by spring."
)
SECONDS = 180


@pytest.fixture(scope="module")
def embedder(engine, model):
    """A server that embeds with the real model."""
    running = Server(engine, model, **weights()).start()
    yield running
    running.close()


@pytest.fixture(scope="module")
def sdk(embedder):
    with client_of(embedder) as client:
        yield client


@pytest.fixture
def provider():
    """A provider of embeddings that a test has for itself."""
    scripted = ScriptedModel()
    yield scripted
    scripted.stop()


@pytest.fixture
def remote(engine, provider):
    """A server that embeds at the provider, and a client of it."""
    running = Server(engine, provider, MNEMIC_DEFAULT_EMBEDDING=REMOTE).start()
    with client_of(running) as client:
        yield running, client
    running.close()


def share(server, agent, query="anything"):
    """Of an agent's passages, the part that can be found by meaning."""
    path = f"{server.url}/v1/agents/{agent.id}/archival-memory/search"
    return httpx.get(path, params={"query": query}, timeout=60).raise_for_status().json()["embedded_share"]


def wait_until_embedded(server, agent):
    eventually(lambda: share(server, agent) == 1, "all passages have their vectors", SECONDS)


def found(client, agent, query):
    return [result.content for result in client.agents.passages.search(agent.id, query=query).results]


def filled(client, texts=BOATS, **fields):
    """An agent with passages."""
    agent = client.agents.create(model=MODEL, **fields)
    for text in texts:
        client.agents.passages.create(agent.id, text=text)
    return agent


def vectors(server, scope):
    """The items of a scope that have vectors, each as often as it has some, and with what model."""
    return sorted(server.query(f"SELECT item, model FROM vectors WHERE scope = '{scope}'"))


def archive_of(client, agent):
    return client.agents.passages.list(agent.id)[0].archive_id


# The model in the process.


def test_the_local_model_is_listed_and_the_default(sdk):
    listed = {model.handle: model for model in sdk.models.embeddings.list()}
    assert listed[LOCAL].embedding_dim == 384
    assert REMOTE in listed
    assert sdk.agents.create(model=MODEL).embedding == LOCAL


def test_a_paraphrase_without_common_words_is_found_once_embedded(embedder, sdk):
    agent = filled(sdk)
    assert found(sdk, agent, "mast of spruce")[0] == BOATS[1], "words find it before it is embedded"
    wait_until_embedded(embedder, agent)
    assert found(sdk, agent, "Which medicine did a doctor recommend?")[0] == BOATS[0]
    assert found(sdk, agent, "Accommodation near where ships land got more expensive")[0] == BOATS[2]


def test_the_room_that_vectors_take_is_told_in_the_unit_that_is_asked_for(embedder, sdk):
    wait_until_embedded(embedder, filled(sdk))

    def size(**unit):
        return httpx.get(f"{embedder.url}/v1/embeddings/total_storage_size", headers=unit, timeout=60)

    def is_told():
        told, [[taken]] = size(**{"storage-unit": "B"}).json(), embedder.query("SELECT SUM(LENGTH(data)) FROM vectors")
        assert told >= 384 * 2 * len(BOATS)
        return told == int(taken)

    eventually(is_told, "the sum of all vectors is told", SECONDS)
    assert size(**{"storage-unit": "kb"}).json() >= 3 and 0 < size().json() < 1
    wrong = size(**{"storage-unit": "acre"})
    assert wrong.status_code == 400 and "acre" in wrong.json()["detail"] and "GB" in wrong.json()["detail"]


def test_what_was_said_is_found_by_meaning(embedder, sdk, token):
    agent = sdk.agents.create(model=MODEL)
    for text in BOATS:
        send(sdk, agent, text)

    def first():
        path = f"{embedder.url}/v1/messages/search"
        body = {"query": "Which medicine did a doctor recommend?", "agent_id": agent.id, "search_mode": "vector"}
        hits = httpx.post(path, json=body, timeout=60).raise_for_status().json()
        said = [hit["content"] for hit in hits if hit["content"] in BOATS]
        return said[:1] == [BOATS[0]]

    eventually(first, "a paraphrase finds the message before others", SECONDS)


def test_a_line_that_is_back_in_a_block_hides_nothing(embedder, sdk):
    agent = sdk.agents.create(model=MODEL, memory_blocks=[{"label": "human", "value": "Ada lives in Oslo."}])
    send(sdk, agent, "I moved to Oslo, near the harbour.")
    for value in ("Ada lives in Rome.", "Ada lives in Oslo."):
        sdk.agents.blocks.update("human", agent_id=agent.id, value=value)
    for _ in range(2):
        answer = send(sdk, agent, '[[call conversation_search {"query": "Ada lives in Oslo near the harbour"}]]')
        (returned,) = of_kind(answer.messages, "tool_return_message")
        assert "I moved to Oslo, near the harbour." in returned.tool_return


def test_of_a_long_passage_the_last_paragraph_is_found_by_meaning(embedder, sdk):
    filler = "The minutes of the meeting list who was present and which papers were approved. " * 380
    assert len(filler.split()) > 5_000
    long = f"{filler}\n\n{SURGERY}"
    agent = filled(sdk, [long, "The oven is broken.", "The minutes were never published."])
    wait_until_embedded(embedder, agent)
    assert found(sdk, agent, "Grandmother had an operation")[0] == long


def test_vectors_go_with_what_they_were_made_of(embedder, sdk, token):
    agent = filled(sdk)
    send(sdk, agent, "Something to remember her by.")
    wait_until_embedded(embedder, agent)
    archive = archive_of(sdk, agent)
    eventually(lambda: vectors(embedder, agent.id), "the message has its vector", SECONDS)
    assert len(vectors(embedder, archive)) == len(BOATS)
    sdk.agents.passages.delete(sdk.agents.passages.list(agent.id)[0].id, agent_id=agent.id)
    assert len(vectors(embedder, archive)) == len(BOATS) - 1
    sdk.agents.delete(agent.id)
    assert vectors(embedder, agent.id) == []
    sdk.archives.delete(archive)
    assert vectors(embedder, archive) == []


def test_a_passage_that_takes_a_deleted_ones_place_is_embedded(embedder, sdk):
    agent = filled(sdk)
    wait_until_embedded(embedder, agent)
    sdk.agents.passages.delete(sdk.agents.passages.list(agent.id)[-1].id, agent_id=agent.id)
    sdk.agents.passages.create(agent.id, text="The surgeon removed her appendix on Tuesday night.")
    wait_until_embedded(embedder, agent)
    assert "appendix" in found(sdk, agent, "Grandmother had an operation")[0]


def test_many_passages_at_once_are_all_embedded_each_once(embedder, sdk, token):
    archive = sdk.archives.create(name=token)
    sdk.archives.passages.create_many(archive.id, passages=[{"text": f"buoy number {n}"} for n in range(300)])
    eventually(lambda: len(vectors(embedder, archive.id)) == 300, "all have their vectors", SECONDS)


def test_missing_files_are_fetched_while_words_find(engine, model, own_client):
    hub = Hub(stop_after=30_000_000)
    server = Server(engine, model, MNEMIC_OFFLINE="false", HF_ENDPOINT=hub.url).start()
    try:
        assert hub.stopped.wait(30)
        client = own_client(server)
        agent = filled(client)
        assert found(client, agent, "mast of spruce")[0] == BOATS[1]
        assert share(server, agent) == 0
        hub.go_on.set()
        wait_until_embedded(server, agent)
        assert found(client, agent, "Which medicine did a doctor recommend?")[0] == BOATS[0]
    finally:
        hub.close()
        server.close()


# At a provider.


def test_a_providers_model_finds_by_meaning(remote, provider):
    server, client = remote
    provider.embed_as(synonyms={"keel": "vessel"})
    agent = filled(client, ["apple", "keel", "spoon"])
    assert agent.embedding == REMOTE
    wait_until_embedded(server, agent)
    assert found(client, agent, "vessel")[0] == "keel"
    assert {"apple", "keel", "spoon"} <= set(provider.embedded("scripted-embed"))


def test_an_archive_has_the_model_it_names(embedder, sdk, model, token):
    archive = sdk.archives.create(name=token, embedding=OTHER)
    assert archive.embedding_config.handle == OTHER
    sdk.archives.passages.create(archive.id, text=f"keel {token}")
    eventually(lambda: f"keel {token}" in model.embedded("other-embed"), "its model is asked", SECONDS)
    eventually(lambda: vectors(embedder, archive.id), "the vectors are there", SECONDS)
    assert [name for _, name in vectors(embedder, archive.id)] == [OTHER]


def test_another_model_embeds_an_archive_anew_while_words_find(remote, provider, token):
    server, client = remote
    texts = [f"{word} {token}" for word in ("apple", "keel", "spoon")]
    agent = filled(client, texts)
    wait_until_embedded(server, agent)
    archive = archive_of(client, agent)
    provider.embed_as(status=503)
    changed = httpx.patch(f"{server.url}/v1/archives/{archive}", json={"embedding": OTHER}).raise_for_status().json()
    assert changed["embedding_config"]["handle"] == OTHER
    assert found(client, agent, "keel")[0] == texts[1], "words find it"
    assert share(server, agent, "keel") == 0
    provider.embed_as(synonyms={"keel": "vessel"})
    wait_until_embedded(server, agent)
    assert found(client, agent, f"vessel {token}")[0] == texts[1]
    eventually(lambda: {name for _, name in vectors(server, archive)} == {OTHER}, "the old vectors are gone")


def test_another_model_of_an_agent_embeds_its_messages_anew(remote, provider, token):
    server, client = remote
    agent = client.agents.create(model=MODEL)
    send(client, agent, f"keel {token}")

    def is_asked(model):
        return lambda: any(f"keel {token}" in text for text in provider.embedded(model))

    eventually(is_asked("scripted-embed"), "the first model is asked")
    client.agents.update(agent.id, embedding=OTHER)
    eventually(is_asked("other-embed"), "the second model is asked")
    eventually(lambda: {name for _, name in vectors(server, agent.id)} == {OTHER}, "only its vectors stay")


@pytest.mark.parametrize(
    "failing",
    [{"status": 500}, {"status": 401}, {"status": 400}, {"missing": 1}, {"delay_ms": 60_000}],
    ids=["fails", "refuses the key", "refuses everything", "sends fewer vectors", "does not answer"],
)
def test_a_provider_that_fails_costs_only_the_meaning(engine, provider, own_client, failing):
    provider.embed_as(**failing)
    server = Server(engine, provider, **weights()).start()
    try:
        client = own_client(server)
        broken = filled(client, ["apple", "keel", "spoon"], embedding=REMOTE)
        whole = filled(client)
        started = time.monotonic()
        assert found(client, broken, "keel")[0] == "keel"
        assert time.monotonic() - started < 15
        wait_until_embedded(server, whole)
        assert share(server, broken, "keel") == 0
        provider.embed_as()
        if "delay_ms" not in failing:
            wait_until_embedded(server, broken)
    finally:
        server.close()


@pytest.mark.parametrize("failing", [{"status": 500}, {"delay_ms": 60_000}], ids=["fails", "hangs"])
def test_a_provider_that_failed_holds_up_only_the_first_search(remote, provider, failing):
    server, client = remote
    agent = filled(client, ["apple", "keel", "spoon"])
    wait_until_embedded(server, agent)
    provider.embed_as(synonyms={"keel": "vessel"}, **failing)
    assert found(client, agent, "a first keel")[0] == "keel"
    started = time.monotonic()
    for n in range(5):
        assert found(client, agent, f"keel {n}")[0] == "keel"
    assert time.monotonic() - started < 1
    assert not [text for text in provider.embedded() if text.startswith("keel ")], "it is not asked"
    if "status" in failing:
        # It works again: as soon as it embeds something, it is asked for queries too.
        provider.embed_as(synonyms={"keel": "vessel"})
        client.agents.passages.create(agent.id, text="a keel of oak")
        wait_until_embedded(server, agent)
        eventually(lambda: "oak" in " ".join(found(client, agent, "vessel")[:2]), "it is found by meaning", SECONDS)


def test_a_text_that_the_provider_refuses_holds_up_no_other(remote, provider):
    server, client = remote
    provider.embed_as(status=400, status_for="unspeakable")
    texts = ["apple", "an unspeakable thing", "keel", "spoon"]
    agent = filled(client, texts)
    eventually(lambda: share(server, agent) == 0.75, "the others have their vectors", SECONDS)
    assert found(client, agent, "unspeakable")[0] == texts[1]


def test_a_long_text_holds_up_no_other(remote, provider):
    _, client = remote
    provider.embed_as(delay_ms=1_500)
    long, short = (client.agents.create(model=MODEL, name=name) for name in ("long", "short"))
    client.agents.passages.create(long.id, text="The log of the voyage goes on. " * 6_000)
    eventually(provider.embedded, "the long text is begun")
    client.agents.passages.create(short.id, text=BOATS[1])
    server = remote[0]
    eventually(lambda: share(server, short) == 1, "the short text has its vector", SECONDS)
    assert share(server, long) < 1
    provider.embed_as(delay_ms=0)
    wait_until_embedded(server, long)
    asked = [text for text in provider.embedded() if "log of the voyage" in text and len(text) > 100]
    assert sum(map(len, asked)) < 1.3 * len("The log of the voyage goes on. " * 6_000), "what was made is kept"


def test_vectors_of_another_length_are_all_made_anew(remote, provider):
    server, client = remote
    provider.embed_as(dims=16)
    agent = filled(client, ["apple", "keel", "spoon"])
    wait_until_embedded(server, agent)
    provider.embed_as(dims=24, synonyms={"keel": "vessel"})
    client.agents.passages.create(agent.id, text="lamp")
    scope = archive_of(client, agent)
    lengths = f"SELECT dims, COUNT(*) FROM vectors WHERE scope = '{scope}' GROUP BY dims"
    eventually(lambda: server.query(lengths) == [("24", "4")], "all vectors have the new length", SECONDS)
    assert found(client, agent, "vessel")[0] == "keel"


# None at all, and one after that.


def test_without_embeddings_words_find_and_nothing_waits(engine, provider, own_client):
    server = Server(engine, provider, MNEMIC_DEFAULT_EMBEDDING="none").start()
    try:
        client = own_client(server)
        assert LOCAL not in [model.handle for model in client.models.embeddings.list()]
        agent = filled(client, ["apple", "keel", "spoon"])
        assert not agent.embedding
        assert found(client, agent, "keel")[0] == "keel"
        assert provider.embedded() == []
        # Switched on later, they take in what came meanwhile.
        server.terminate()
        server.environment["MNEMIC_DEFAULT_EMBEDDING"] = REMOTE
        provider.embed_as(synonyms={"keel": "vessel"})
        server.start()
        wait_until_embedded(server, agent)
        assert found(client, agent, "vessel")[0] == "keel"
        # Off and on again, with texts in between.
        server.terminate()
        server.environment["MNEMIC_DEFAULT_EMBEDDING"] = "none"
        server.start()
        client.agents.passages.create(agent.id, text="lamp")
        server.terminate()
        server.environment["MNEMIC_DEFAULT_EMBEDDING"] = REMOTE
        server.start()
        wait_until_embedded(server, agent)
        assert "lamp" in provider.embedded()
    finally:
        server.close()


def test_another_default_embeds_all_that_follows_it_anew(engine, provider, own_client, token):
    server = Server(engine, provider, MNEMIC_DEFAULT_EMBEDDING=REMOTE).start()
    try:
        client = own_client(server)
        archive = client.archives.create(name=token)
        client.archives.passages.create(archive.id, text=f"keel {token}")
        eventually(lambda: vectors(server, archive.id), "it has its vector")
        server.terminate()
        server.environment["MNEMIC_DEFAULT_EMBEDDING"] = OTHER
        server.start()
        eventually(lambda: {name for _, name in vectors(server, archive.id)} == {OTHER}, "it has the other one")
    finally:
        server.close()
