"""Archival memory: passages of agents and archives, found by their words as soon as they are there."""

from concurrent.futures import ThreadPoolExecutor

import letta_client
import pytest

BOATS = ["The mast is made of spruce.", "The keel was laid in Bergen.", "Varnish needs two days to cure."]


def ids(items):
    return [item.id for item in items]


@pytest.fixture
def noted(client, make_agent):
    """An agent with three passages."""
    agent = make_agent()
    made = [client.agents.passages.create(agent.id, text=text, tags=["boat"])[0] for text in BOATS]
    return agent, made


def test_a_passage_comes_back_as_it_was_written(client, make_agent):
    agent = make_agent()
    passages = client.agents.passages.create(
        agent.id, text="Cedar planks: north shed", tags=["wood", "wood", "shed"], created_at="2024-03-01T10:00:00Z"
    )
    assert len(passages) == 1
    passage = passages[0]
    assert (passage.text, passage.tags) == ("Cedar planks: north shed", ["wood", "shed"])
    assert passage.created_at.isoformat() == "2024-03-01T10:00:00+00:00"
    assert passage.archive_id
    assert client.agents.passages.list(agent.id)[0].id == passage.id


@pytest.mark.parametrize("when", ["2026-01-01T00:00:00+25:00", "9999-12-30T23:00:00Z", "9999-12-31", "soon"])
def test_a_time_that_could_not_be_shown_again_is_refused(http, agent, when):
    passage = {"text": "keel", "created_at": when}
    answer = http.post(f"/v1/agents/{agent.id}/archival-memory", json=passage)
    assert answer.status_code == 422 and "created_at" in answer.text
    turn = {"role": "user", "content": "keel", "created_at": when}
    answer = http.post(f"/v1/agents/{agent.id}/messages/capture", json={"messages": [turn]})
    assert answer.status_code == 422, answer.text
    assert http.get(f"/v1/agents/{agent.id}/archival-memory").json() == []


def test_passages_are_listed_oldest_first_and_in_pages(client, noted):
    agent, made = noted
    assert ids(client.agents.passages.list(agent.id)) == ids(made)
    assert ids(client.agents.passages.list(agent.id, ascending=False)) == ids(made)[::-1]
    assert ids(client.agents.passages.list(agent.id, after=made[0].id, limit=1)) == [made[1].id]
    assert ids(client.agents.passages.list(agent.id, search="KEEL")) == [made[1].id]


def test_a_passage_is_found_by_its_words_at_once(client, noted):
    agent, made = noted
    found = client.agents.passages.search(agent.id, query="Where was the keel laid?")
    assert found.results[0].id == made[1].id
    assert found.results[0].content == BOATS[1]
    assert found.results[0].tags == ["boat"]
    assert found.count == len(found.results)


def test_results_carry_scores_their_parts_and_times(http, noted):
    agent, made = noted
    path = f"/v1/agents/{agent.id}/archival-memory/search"
    found = http.get(path, params={"query": "spruce mast"}).json()
    best = found["results"][0]
    assert best["id"] == made[0].id
    assert 0 < best["score"] <= 1
    assert best["scores"]["text"] > 0
    assert best["timestamp"].endswith("+00:00")
    assert found["nothing_relevant"] is False
    assert 0 <= found["embedded_share"] <= 1


def test_nothing_relevant_is_said_as_such(http, noted):
    agent, _ = noted
    path = f"/v1/agents/{agent.id}/archival-memory/search"
    found = http.get(path, params={"query": "zebra quantum soup"}).json()
    assert found["nothing_relevant"] is True


def test_search_is_narrowed_by_tags_and_dates(client, make_agent):
    agent = make_agent()
    notes = [("tide one", ["a", "b"], "2024-01-05"), ("tide two", ["a"], "2024-02-05"), ("tide three", ["c"], "2025-01-05")]
    made = [
        client.agents.passages.create(agent.id, text=text, tags=tags, created_at=f"{day}T12:00:00Z")[0]
        for text, tags, day in notes
    ]

    def found(**narrowed):
        return {result.id for result in client.agents.passages.search(agent.id, query="tide", **narrowed).results}

    assert found() == set(ids(made))
    assert found(tags=["a", "b"]) == {made[0].id, made[1].id}
    assert found(tags=["a", "b"], tag_match_mode="all") == {made[0].id}
    assert found(start_datetime="2024-02-05", end_datetime="2024-02-05") == {made[1].id}
    assert found(end_datetime="2024-12-31", tags=["c"]) == set()
    assert len(client.agents.passages.search(agent.id, query="tide", top_k=1).results) == 1


def test_a_deleted_passage_is_found_no_more(client, noted):
    agent, made = noted
    assert client.agents.passages.search(agent.id, query="keel").results[0].id == made[1].id
    client.agents.passages.delete(made[1].id, agent_id=agent.id)
    assert made[1].id not in {result.id for result in client.agents.passages.search(agent.id, query="keel").results}
    assert ids(client.agents.passages.list(agent.id)) == [made[0].id, made[2].id]
    with pytest.raises(letta_client.NotFoundError):
        client.agents.passages.delete(made[1].id, agent_id=agent.id)


def test_an_agent_without_passages_finds_nothing(client, make_agent):
    agent = make_agent()
    assert client.agents.passages.list(agent.id) == []
    assert client.agents.passages.search(agent.id, query="anything").count == 0


def test_an_archive_is_made_changed_listed_and_deleted(client, token):
    made = client.archives.create(name=token, description="Tour notes")
    assert client.archives.retrieve(made.id).description == "Tour notes"
    client.archives.update(made.id, name=f"{token}-b")
    assert ids(client.archives.list(name=f"{token}-b")) == [made.id]
    assert client.archives.list(name=token).items == []
    client.archives.delete(made.id)
    with pytest.raises(letta_client.NotFoundError):
        client.archives.retrieve(made.id)


def test_archives_are_iterated_completely(client, token):
    made = [client.archives.create(name=token) for _ in range(5)]
    assert ids(client.archives.list(name=token, limit=2)) == ids(made)[::-1]


def test_agents_share_an_archive(client, http, make_agent, token):
    archive = client.archives.create(name=token)
    ada, bea = make_agent(), make_agent()
    for agent in (ada, bea):
        assert client.agents.archives.attach(archive.id, agent_id=agent.id) is None
    client.agents.passages.create(ada.id, text="The harbour closes at nine.")
    found = client.agents.passages.search(bea.id, query="harbour")
    assert [result.content for result in found.results] == ["The harbour closes at nine."]
    assert {agent["id"] for agent in http.get(f"/v1/archives/{archive.id}/agents").json()} == {ada.id, bea.id}
    client.agents.archives.detach(archive.id, agent_id=bea.id)
    assert client.agents.passages.search(bea.id, query="harbour").count == 0


def test_many_passages_are_written_at_once_or_not_at_all(client, http, token):
    archive = client.archives.create(name=token)
    texts = [f"buoy number {n}" for n in range(50)]
    made = client.archives.passages.create_many(archive.id, passages=[{"text": text} for text in texts])
    assert [passage.text for passage in made] == texts
    found = client.passages.search(query="buoy number 37", archive_id=archive.id, limit=3)
    assert found[0].passage.text == "buoy number 37"
    assert found[0].score > 0
    bad = {"passages": [{"text": "fine"}, {"text": "tags", "tags": ["x" * 5000]}]}
    answer = http.post(f"/v1/archives/{archive.id}/passages/batch", json=bad)
    assert answer.status_code == 400
    assert client.passages.search(query="fine", archive_id=archive.id) == [] or all(
        hit.passage.text != "fine" for hit in client.passages.search(query="fine", archive_id=archive.id)
    )
    client.archives.passages.delete(made[0].id, archive_id=archive.id)
    newest = client.passages.search(archive_id=archive.id, limit=100)
    assert len(newest) == 49


def test_passages_of_all_archives_are_searched_together(client, make_agent, token):
    agent = make_agent()
    mine = client.agents.passages.create(agent.id, text=f"{token} lives in the agent")[0]
    archive = client.archives.create(name=token)
    other = client.archives.passages.create(archive.id, text=f"{token} lives in an archive")
    everywhere = {hit.passage.id for hit in client.passages.search(query=token)}
    assert {mine.id, other.id} <= everywhere
    assert [hit.passage.id for hit in client.passages.search(query=token, agent_id=agent.id)] == [mine.id]


def test_without_words_the_newest_passages_with_the_tags_and_dates_come_first(client, http, token):
    archive = client.archives.create(name=token)
    passages = [
        {"text": f"log {n}", "tags": [f"port {n % 2}", "log"], "created_at": f"2024-05-0{n}T12:00:00Z"} for n in range(1, 6)
    ]
    client.archives.passages.create_many(archive.id, passages=passages)

    def found(**narrowed):
        hits = http.post("/v1/passages/search", json={"archive_id": archive.id, **narrowed}).raise_for_status().json()
        return [hit["passage"]["text"] for hit in hits]

    assert found(limit=2) == ["log 5", "log 4"]
    assert found(tags=["port 1"]) == ["log 5", "log 3", "log 1"]
    assert found(tags=["port 0", "port 1"], limit=3) == ["log 5", "log 4", "log 3"]
    assert found(tags=["port 0", "log"], tag_match_mode="all") == ["log 4", "log 2"]
    assert found(tags=["port"]) == []
    assert found(start_date="2024-05-02T00:00:00Z", end_date="2024-05-03T23:00:00Z") == ["log 3", "log 2"]


def test_archives_beyond_the_budget_of_memory_are_searched_one_after_the_other(own_server, own_client):
    server = own_server(MNEMIC_INDEX_CACHE_MB="1")
    client = own_client(server)
    for name in ("north", "south", "west"):
        archive = client.archives.create(name=name)
        texts = [f"buoy {n} of the {name} channel, anchored at mark {n * 7}" for n in range(8_000)]
        client.archives.passages.create_many(archive.id, passages=[{"text": text} for text in texts])
    for name in ("north", "south", "west", "north"):
        best = client.passages.search(query=f"buoy 4321 of the {name} channel", limit=3)[0]
        assert best.passage.text.startswith(f"buoy 4321 of the {name} channel,")


@pytest.mark.parametrize(
    "path, body, status",
    [
        ("/v1/archives/", {}, 422),
        ("/v1/archives/", {"name": " "}, 400),
        ("/v1/archives/", {"name": "x", "embedding": "nobody/has-it"}, 400),
        ("/v1/archives/", {"name": "x", "description": "x" * 10_001}, 400),
        ("/v1/archives/archive-1/passages", {"text": "x"}, 422),
        ("/v1/archives/archive-00000000-0000-4000-8000-0000000000ff/passages", {"text": "x"}, 404),
        ("/v1/passages/search", {"query": "x", "limit": 0}, 422),
        ("/v1/passages/search", {"query": "x", "limit": 101}, 422),
        ("/v1/passages/search", {"query": "x", "start_date": "soon"}, 422),
        ("/v1/passages/search", {"query": "x", "agent_id": "agent-00000000-0000-4000-8000-0000000000ff"}, 404),
    ],
)
def test_wrong_requests_are_refused_with_a_reason(http, path, body, status):
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_a_passage_has_a_greatest_length(http, make_agent):
    agent = make_agent()
    answer = http.post(f"/v1/agents/{agent.id}/archival-memory", json={"text": "x" * 200_001})
    assert answer.status_code == 400
    assert "200001" in answer.json()["detail"]


def test_text_of_every_kind_is_kept_and_found(client, make_agent):
    agent = make_agent()
    text = "Zürich naïve \x00 emoji 🦀 line\r\nbreak 東京タワー"
    made = client.agents.passages.create(agent.id, text=text)[0]
    assert client.agents.passages.list(agent.id)[0].text == text
    for query in ("zürich", "naïve", "東京"):
        assert [hit.id for hit in client.agents.passages.search(agent.id, query=query).results] == [made.id], query


def test_after_many_are_deleted_the_one_that_is_left_is_found(http, make_agent):
    agent = make_agent()
    path = f"/v1/agents/{agent.id}/archival-memory"
    made = [http.post(path, json={"text": f"The tide table, page {n}."}).json()[0]["id"] for n in range(61)]
    assert http.get(f"{path}/search", params={"query": "tide table", "top_k": 5}).json()["count"] == 5
    for passage in made[:60]:
        assert http.delete(f"{path}/{passage}").status_code in (200, 204)
    found = http.get(f"{path}/search", params={"query": "tide table", "top_k": 5}).json()
    assert [result["id"] for result in found["results"]] == [made[60]]
    assert found["nothing_relevant"] is False


def test_searches_of_shared_archives_do_not_wait_for_each_other(client, make_agent, token):
    """Two agents share two archives, each the other way round, while both are written to and searched."""
    agents = [make_agent(), make_agent()]
    for agent in agents:
        client.agents.passages.create(agent.id, text="The first entry.")
    owned = [client.agents.passages.list(agent.id)[0].archive_id for agent in agents]
    client.agents.archives.attach(owned[1], agent_id=agents[0].id)
    client.agents.archives.attach(owned[0], agent_id=agents[1].id)

    def work(n):
        agent = agents[n % 2]
        for round in range(12):
            client.agents.passages.create(agent.id, text=f"Entry {n} {round} {token}.")
            assert client.agents.passages.search(agent.id, query=f"entry {token}").count > 0
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8), timeout=60)) == [True] * 8


def test_a_whole_book_as_a_query_is_searched_by_its_beginning(http, noted):
    agent, made = noted
    query = "Where was the keel laid? " + "word " * 5_000
    found = http.post("/v1/passages/search", json={"query": query, "agent_id": agent.id}).json()
    assert found[0]["passage"]["id"] == made[1].id


def test_a_blank_passage_is_refused_and_times_without_end_are_taken(http, noted):
    agent, made = noted
    path = f"/v1/agents/{agent.id}/archival-memory"
    refused = http.post(path, json={"text": " \n"})
    assert refused.status_code in (400, 422) and "blank" in refused.text
    found = http.get(f"{path}/search", params={"query": "keel", "end_datetime": "9999-12-31T23:59:59Z"})
    assert found.json()["results"][0]["id"] == made[1].id
