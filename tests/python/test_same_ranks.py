"""Both engines find the same, in the same order and with the same scores."""

import os
import uuid

import httpx
import pytest

from programs import MODEL, Server, eventually, weights

TEXTS = [
    "Ada restores sailing boats in a shed by the harbour.",
    "The mast of the Skua is made of spruce and needs varnish.",
    "She moved from Hamburg to Oslo in May 2024.",
    "Her sister Mia is allergic to walnuts.",
    "Zürich is where the engine was built; 東京 is where it was painted.",
    "Shopping list: varnish, two brushes, sandpaper",
    "The harbour master wants forty crowns a week.",
]
QUESTIONS = [
    "What is the mast made of?", "Where does Ada live now?", "varnish", "Who must not eat nuts?", "What happened in May 2024?",
    "東京", "How much does the harbour cost?", "Who is the president of France?",
]


@pytest.fixture(scope="module")
def both(model):
    if os.environ.get("MNEMIC_ENGINES", "sqlite,postgres") != "sqlite,postgres":
        pytest.skip("one engine only is tested")
    servers = [Server(engine, model, **weights()).start() for engine in ("sqlite", "postgres")]
    yield servers
    for server in servers:
        server.close()


def told(server):
    """What an agent that was told the texts finds for each question, as messages and as passages."""
    with httpx.Client(base_url=server.url, timeout=60) as http:
        agent = http.post("/v1/agents/", json={"model": MODEL, "name": "Ada"}).raise_for_status().json()["id"]
        at = [f"2024-06-{n + 1:02}T09:00:00Z" for n in range(len(TEXTS))]
        turns = [
            {"role": "user", "content": text, "created_at": day, "otid": str(uuid.uuid4())} for text, day in zip(TEXTS, at)
        ]
        http.post(f"/v1/agents/{agent}/messages/capture", json={"messages": turns}).raise_for_status()
        for text, day in zip(TEXTS, at):
            body = {"text": text, "created_at": day}
            http.post(f"/v1/agents/{agent}/archival-memory", json=body).raise_for_status()
        yield from (answers(http, agent, question) for question in QUESTIONS)


def answers(http, agent, question):
    path = f"/v1/agents/{agent}/archival-memory/search"

    def found():
        hits = http.post("/v1/messages/search", json={"agent_id": agent, "query": question}).raise_for_status().json()
        passages = http.get(path, params={"query": question}).raise_for_status().json()
        embedded = passages["embedded_share"] == 1 and all(hit["embedded_share"] == 1 for hit in hits)
        return (hits, passages) if embedded else None

    messages, passages = eventually(found, "everything has its vectors", 60)
    return {
        "question": question,
        "messages": [(hit["content"], hit["score"], hit["scores"], hit["nothing_relevant"]) for hit in messages],
        "passages": [(hit["content"], hit["score"], hit["scores"]) for hit in passages["results"]],
        "nothing": passages["nothing_relevant"],
    }


def test_both_engines_rank_alike(both):
    sqlite, postgres = both
    for here, there in zip(told(sqlite), told(postgres), strict=True):
        assert here["messages"] and here["passages"]
        assert here == there
