"""The process dies while it embeds; the next one goes on: every text gets its vectors, and none is embedded for nothing."""

import json
import urllib.request
import uuid

import pytest

from harness import ScriptedModel, eventually, server

PASSAGES = 100
REMOTE = "openai/scripted-embed"


@pytest.fixture
def provider():
    scripted = ScriptedModel()
    yield scripted
    scripted.stop()


@pytest.fixture
def embedding(engine, provider):
    """A server on which embeddings can be switched on."""
    with server(engine, provider) as found:
        yield found


def asked(provider):
    with urllib.request.urlopen(f"http://{provider.address}/embeddings") as answer:
        return [text for _, text in json.load(answer)["asked"]]


def share(found, agent):
    status, answer = found.request("GET", f"/v1/agents/{agent}/archival-memory/search?query=buoy")
    assert status == 200, answer
    return answer["embedded_share"]


def filled(found, text):
    """An agent whose archive holds many passages, written at once."""
    agent = found.make_agent()
    status, first = found.request("POST", f"/v1/agents/{agent}/archival-memory", {"text": f"{text} first"})
    assert status == 200, first
    archive = first[0]["archive_id"]
    passages = {"passages": [{"text": f"{text} {n}"} for n in range(PASSAGES)]}
    status, answer = found.request("POST", f"/v1/archives/{archive}/passages/batch", passages)
    assert status == 200, answer
    return agent


@pytest.mark.parametrize(
    "point", ["vectors.stored:1", "vectors.stored:2", "commit.before:5", "commit.after:5", "commit.after:6"]
)
def test_embedding_goes_on_after_a_crash_at(point, embedding, provider):
    text = f"buoy {uuid.uuid4().hex}"
    embedding.start()
    agent = filled(embedding, text)
    embedding.kill()
    embedding.embeddings = {"MNEMIC_DEFAULT_EMBEDDING": REMOTE}
    embedding.start(crash=point)
    eventually(lambda: not embedding.is_alive(), 30, f"the process dies at {point}")
    embedding.kill()
    embedding.start()
    eventually(lambda: share(embedding, agent) == 1, 60, "every passage has its vectors")
    texts = [one for one in asked(provider) if one.startswith(text)]
    assert len(set(texts)) == PASSAGES + 1
    # The batch whose vectors were not stored yet is made again, no other.
    assert len(texts) - len(set(texts)) <= 32, "texts that had vectors were embedded again"
