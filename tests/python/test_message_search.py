"""Recall and archival memory through the agents' own tools and through the API: filters, times, marks, and who sees what.

What ranks before what is not these tests' matter: they ask for words that only the wanted text has.
"""

import json
import uuid

import letta_client
import pytest

from talk import of_kind, reply, send


def call(tool, **arguments):
    return f"[[call {tool} {json.dumps(arguments)}]]"


def returned(answer):
    """What the only tool returned, parsed."""
    (found,) = of_kind(answer.messages, "tool_return_message")
    assert found.status == "success", found.tool_return
    return json.loads(found.tool_return)


@pytest.fixture
def told(client, agent):
    """What a tool of the agent returns."""

    def tell(name, **arguments):
        return returned(send(client, agent, call(name, **arguments)))

    return tell


@pytest.fixture
def capture(http):
    """Takes turns into an agent's memory, as (role, content, time), without a model call."""

    def post(agent, *turns):
        messages = [
            {"role": role, "content": content, "created_at": at, "otid": str(uuid.uuid4())}
            for role, content, at in turns
        ]
        answer = http.post(f"/v1/agents/{agent.id}/messages/capture", json={"messages": messages})
        assert answer.status_code == 200, answer.text
        return answer.json()["message_ids"]

    return post


@pytest.fixture
def voyage(agent, capture):
    """An agent that was told of a voyage in 2024."""
    capture(
        agent,
        ("user", "The voyage began in Bergen.", "2024-03-01T23:30:00Z"),
        ("assistant", "The voyage will be stormy.", "2024-03-02T08:00:00Z"),
        ("user", "The voyage ended in Tromsø.", "2024-06-10T12:00:00Z"),
    )
    return agent


def contents(found):
    return {hit["content"] for hit in found["results"]}


# The agents' tools.


def test_new_agents_have_the_tools_to_search_and_to_note(client, make_agent):
    names = {tool.name for tool in client.agents.tools.list(make_agent().id)}
    assert {"conversation_search", "archival_memory_insert", "archival_memory_search"} <= names


def test_an_agent_finds_what_was_said_with_times_and_speakers(voyage, told):
    found = told("conversation_search", query="Bergen")
    (hit,) = [hit for hit in found["results"] if "Bergen." in hit["content"]]
    assert hit["role"] == "user" and hit["in_context"] is True
    assert "2024" in hit["timestamp"] and "ago" in hit["time_ago"]
    assert 0 < hit["relevance"] <= 1


def test_its_own_searches_are_not_what_an_agent_finds(client, voyage, told):
    told("conversation_search", query="Bergen")
    found = told("conversation_search", query="Bergen")
    assert {hit["role"] for hit in found["results"]} <= {"user", "assistant"}


def test_an_agent_narrows_its_search(voyage, told):
    def search(**narrowed):
        return {text for text in contents(told("conversation_search", query="voyage", **narrowed)) if "[[" not in text}

    assert search(roles=["assistant"]) == {"The voyage will be stormy."}
    assert search(start_date="2024-06-01", end_date="2024-06-10") == {"The voyage ended in Tromsø."}
    assert search(end_date="2024-03-01") == {"The voyage began in Bergen."}
    assert len(told("conversation_search", query="voyage", limit=1)["results"]) == 1


def test_days_are_those_of_the_agents_time_zone(client, make_agent, capture):
    agent = make_agent(timezone="Asia/Tokyo")
    # Half past eight in the morning of the second of March in Tokyo.
    capture(agent, ("user", "The voyage began.", "2024-03-01T23:30:00Z"))

    def search(day):
        found = returned(send(client, agent, call("conversation_search", query="voyage", start_date=day, end_date=day)))
        return found["results"]

    assert search("2024-03-01") == []
    (hit,) = search("2024-03-02")
    assert "8:30" in hit["timestamp"]
    by_api = client.messages.search(agent_id=agent.id, query="voyage", start_date="2024-03-02", end_date="2024-03-02")
    assert [hit.content for hit in by_api] == ["The voyage began."]
    assert client.messages.search(agent_id=agent.id, query="voyage", end_date="2024-03-01") == []


def test_an_empty_search_is_told_as_such(told):
    found = told("archival_memory_search", query="anything at all")
    assert found["results"] == [] and "othing" in found["message"]


def test_what_an_agent_notes_it_finds_again(client, agent, told, token):
    answer = send(client, agent, call("archival_memory_insert", content=f"The code is {token}.", tags=["codes"]))
    assert of_kind(answer.messages, "tool_return_message")[0].status == "success"
    (passage,) = client.agents.passages.list(agent.id)
    assert (passage.text, passage.tags) == (f"The code is {token}.", ["codes"])
    (hit,) = told("archival_memory_search", query=token)["results"]
    assert (hit["content"], hit["tags"], hit["id"]) == (passage.text, ["codes"], passage.id)
    assert told("archival_memory_search", query=token, tags=["other"])["results"] == []
    assert told("archival_memory_search", query=token, end_datetime="2020-01-01")["results"] == []


def test_wrong_arguments_of_a_search_are_told_to_the_model(client, agent):
    for name, arguments in [
        ("archival_memory_search", {}),
        ("archival_memory_search", {"query": "x", "tag_match_mode": "some"}),
        ("archival_memory_insert", {"content": ""}),
        ("conversation_search", {"query": "x", "start_date": "soon"}),
        ("conversation_search", {"query": "x", "start_date": "2024-02-01", "end_date": "2024-01-01"}),
    ]:
        (found,) = of_kind(send(client, agent, call(name, **arguments)).messages, "tool_return_message")
        assert found.status == "error" and len(found.tool_return) > 20, (name, arguments)


def test_what_a_block_said_once_is_found_and_marked_as_superseded(client, agent, told):
    client.agents.blocks.update("human", agent_id=agent.id, value="Ada lives in Porto.")
    client.agents.blocks.update("human", agent_id=agent.id, value="Ada lives in Ghent.")
    found = told("conversation_search", query="Porto")
    (hit,) = [hit for hit in found["results"] if hit["content"] == "Ada lives in Porto."]
    assert "human" in hit["superseded"] and "no longer" in hit["superseded"]


def test_a_line_that_is_back_in_a_block_hides_nothing(client, agent, told):
    send(client, agent, "I moved to Oslo, near the harbour.")
    for value in ("Ada lives in Oslo.", "Ada lives in Rome.", "Ada lives in Oslo."):
        client.agents.blocks.update("human", agent_id=agent.id, value=value)
    for _ in range(2):
        contents_found = contents(told("conversation_search", query="Ada lives in Oslo near the harbour"))
        assert "I moved to Oslo, near the harbour." in contents_found
        assert "Ada lives in Oslo." not in contents_found, "it is true again"
        assert "Ada lives in Rome." in contents_found


def test_what_was_said_in_a_deleted_thread_is_found_no_more(client, http, agent, told, token):
    thread = client.conversations.create(agent_id=agent.id)
    http.post(f"/v1/conversations/{thread.id}/messages", json={"input": f"The safe {token} is open.", "streaming": False})
    body = {"agent_id": agent.id, "query": f"safe {token}"}
    assert any(token in hit["content"] for hit in http.post("/v1/messages/search", json=body).json())
    assert http.delete(f"/v1/conversations/{thread.id}").status_code in (200, 204)
    assert not any(f"The safe {token}" in hit["content"] for hit in http.post("/v1/messages/search", json=body).json())
    assert not any(f"The safe {token}" in text for text in contents(told("conversation_search", query=f"safe {token}")))


def test_messages_that_were_compacted_away_are_found_and_marked(client, http, agent, token):
    for n in range(6):
        send(client, agent, f"The parcel {token} number {n} has arrived.")
    done = http.post(f"/v1/agents/{agent.id}/summarize")
    assert done.status_code in (200, 204), done.text
    hits = http.post("/v1/messages/search", json={"agent_id": agent.id, "query": f"parcel {token}", "limit": 50}).json()
    said = {hit["content"]: hit["in_context"] for hit in hits if hit["content"].startswith("The parcel")}
    assert len(said) == 6, "what left the context is lost to search"
    assert said[f"The parcel {token} number 0 has arrived."] is False


# The API.


def test_messages_are_searched_by_the_sdk(client, voyage):
    def search(**narrowed):
        return [hit.content for hit in client.messages.search(agent_id=voyage.id, query="voyage", **narrowed)]

    assert set(search()) == {"The voyage began in Bergen.", "The voyage will be stormy.", "The voyage ended in Tromsø."}
    assert len(search(limit=2)) == 2
    assert search(start_date="2024-06-01") == ["The voyage ended in Tromsø."]
    assert search(end_date="2024-03-01") == ["The voyage began in Bergen."]
    assert set(search(search_mode="fts")) == set(search())
    (first, *_) = client.messages.search(agent_id=voyage.id, query="Bergen")
    assert first.message_type == "user_message" and first.agent_id == voyage.id


def test_roles_and_threads_narrow_a_search(client, http, voyage, token):
    def search(**narrowed):
        hits = http.post("/v1/messages/search", json={"agent_id": voyage.id, **narrowed}).json()
        return {hit["content"] for hit in hits}

    assert search(query="voyage", roles=["assistant"]) == {"The voyage will be stormy."}
    thread = client.conversations.create(agent_id=voyage.id)
    list(client.conversations.messages.create(thread.id, messages=[{"role": "user", "content": f"aside {token}"}]))
    assert f"aside {token}" in search(query=token)
    assert f"aside {token}" in search(query=token, conversation_id=thread.id)
    assert not any("voyage" in text for text in search(query="voyage", conversation_id=thread.id))


def test_stored_messages_come_with_their_ranks(http, voyage):
    body = {"query": "voyage Tromsø", "agent_id": voyage.id}
    hits = http.post("/v1/agents/messages/search", json=body).json()
    (best,) = [hit for hit in hits if hit["fts_rank"] == 1]
    assert best["embedded_text"] == "The voyage ended in Tromsø." and best["vector_rank"] is None
    assert best["message"]["role"] == "user" and best["message"]["id"].startswith("message-")
    assert 0 < best["rrf_score"] <= 1


def test_without_words_the_newest_come_first(http, voyage):
    hits = http.post("/v1/messages/search", json={"agent_id": voyage.id, "limit": 2}).json()
    assert [hit["content"] for hit in hits] == ["The voyage ended in Tromsø.", "The voyage will be stormy."]


def test_without_words_what_was_said_is_found_behind_many_calls(client, http, agent):
    said = reply(send(client, agent, "The anchor is down."))
    for n in range(6):
        send(client, agent, call("archival_memory_search", query=f"anchor {n}"), max_steps=1)
    hits = http.post("/v1/messages/search", json={"agent_id": agent.id, "roles": ["assistant"], "limit": 1}).json()
    assert [hit["content"] for hit in hits] == [said]


def test_a_message_is_found_as_soon_as_it_is_answered(client, agent, token):
    for n in range(5):
        send(client, agent, f"Note {n} of {token}")
        hits = client.messages.search(agent_id=agent.id, query=f"note {token}", limit=50)
        assert f"Note {n} of {token}" in [hit.content for hit in hits]


def test_agents_do_not_find_what_others_were_told(client, make_agent, token):
    ada, bea = make_agent(), make_agent()
    send(client, ada, f"My secret is {token}.")
    client.agents.passages.create(ada.id, text=f"The secret is {token}.")
    assert client.messages.search(agent_id=ada.id, query=token)
    assert all(token not in hit.content for hit in client.messages.search(agent_id=bea.id, query="secret"))
    assert client.agents.passages.search(bea.id, query=token).count == 0
    assert client.passages.search(agent_id=bea.id, query=token) == []
    for tool in ("conversation_search", "archival_memory_search"):
        found = returned(send(client, bea, call(tool, query="my secret")))
        assert not any(token in text for text in contents(found))
    # Over all agents both are found.
    assert token in " ".join(hit.content for hit in client.messages.search(query=f"secret {token}"))
    assert token in " ".join(hit.passage.text for hit in client.passages.search(query=f"secret {token}"))


def test_what_a_deleted_agent_was_told_is_found_no_more(client, make_agent, token):
    agent = make_agent()
    send(client, agent, f"My secret is {token}.")
    assert token in " ".join(hit.content for hit in client.messages.search(query=f"secret {token}"))
    client.agents.delete(agent.id)
    assert token not in " ".join(hit.content for hit in client.messages.search(query=f"secret {token}"))
    with pytest.raises(letta_client.NotFoundError):
        client.messages.search(agent_id=agent.id, query=token)


@pytest.mark.parametrize(
    "body, status, word",
    [
        ({"limit": 0}, 422, "limit"),
        ({"limit": 101}, 422, "limit"),
        ({"search_mode": "guess"}, 422, "search_mode"),
        ({"roles": ["wizard"]}, 422, "roles"),
        ({"start_date": "soon"}, 422, "start_date"),
        ({"agent_id": "nobody"}, 422, "agent_id"),
        ({"agent_id": "agent-00000000-0000-4000-8000-0000000000ff"}, 404, "gent"),
        ({"conversation_id": "conv-00000000-0000-4000-8000-0000000000ff"}, 404, "onversation"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages/search", "/v1/agents/messages/search"])
def test_wrong_searches_are_refused_with_a_reason(http, path, body, status, word):
    answer = http.post(path, json={"query": "x", **body})
    assert answer.status_code == status and word in answer.text, answer.text
