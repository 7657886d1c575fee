"""One agent and many people: each has a thread, a block about themselves and memories of their own, and nobody's reach another's."""

import json
import threading
import uuid

import pytest

from programs import MODEL, eventually
from tool_calls import ASKS

ADA, BOB = "ada@example.org", "bob"


@pytest.fixture
def shared(make_agent):
    """An agent that many people talk with."""
    blocks = [
        {"label": "human", "value": "Nothing is known yet."},
        {"label": "persona", "value": "I am Sailor, an old friend."},
        {"label": "board", "value": "The harbour opens at nine."},
    ]
    return make_agent(memory_blocks=blocks, tools=["core_memory_append", "memory"])


def say(http, agent, text, user=None, **more):
    body = {"message": text, **({"userId": user} if user else {}), **more}
    answer = http.post(f"/api/agents/{agent.id}/messages", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def note(label, text):
    return f'[[call core_memory_append {json.dumps({"label": label, "content": text})}]]'


def store(text):
    return f'[[call archival_memory_insert {json.dumps({"content": text})}]]'


def block_of(http, agent, user, label="human"):
    person = http.get(f"/v1/agents/{agent.id}/users/{user}")
    assert person.status_code == 200, person.text
    return next(block for block in person.json()["blocks"] if block["label"] == label)


def history(http, agent, user):
    found = http.get(f"/v1/agents/{agent.id}/messages", params={"user_id": user, "limit": 100})
    assert found.status_code == 200, found.text
    return json.dumps(found.json())


def test_the_plain_form_answers_with_text_memory_and_usage(http, shared):
    answer = say(http, shared, "Hello" + note("human", "Likes boats."), ADA)
    assert answer["messages"][0]["role"] == "assistant" and answer["messages"][0]["content"]
    assert answer["usage"]["total_tokens"] > 0 and answer["stop_reason"]["stop_reason"] == "end_turn"
    (block,) = answer["memory"]["blocks"]
    assert (block["label"], block["before"]) == ("human", "Nothing is known yet.")
    assert block["after"] == "Nothing is known yet.\nLikes boats."
    assert (answer["user_id"], answer["memory"]["passages"]) == (ADA, [])
    assert answer["conversation_id"].startswith("conv-")
    kept = http.get(f"/v1/runs/{answer['run_id']}/memory").json()
    assert kept == answer["memory"]


def test_a_plain_message_that_is_sent_again_under_its_otid_is_taken_in_once(http, shared):
    body = {"message": "Once.", "userId": ADA, "otid": str(uuid.uuid4())}
    first, second = (http.post(f"/api/agents/{shared.id}/messages", json=body).json() for _ in range(2))
    assert (first["run_id"], first["messages"]) == (second["run_id"], second["messages"])
    assert history(http, shared, ADA).count("Once.") == 1
    other = http.post(f"/api/agents/{shared.id}/messages", json={**body, "message": "Twice."})
    assert other.status_code == 409, other.text


def test_a_passage_that_a_turn_stores_is_told(http, shared):
    answer = say(http, shared, store("Ada's boat is the Heron."), ADA)
    (passage,) = answer["memory"]["passages"]
    assert passage["content"] == "Ada's boat is the Heron." and passage["id"].startswith("passage-")


def test_a_plain_stream_ends_with_what_was_written(http, shared):
    body = {"message": "Hello" + note("human", "Sings."), "userId": BOB, "stream": True}
    with http.stream("POST", f"/api/agents/{shared.id}/messages", json=body) as answer:
        frames = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert frames[-1] == "[DONE]"
    memory = json.loads(frames[-2])
    assert memory["message_type"] == "memory" and memory["blocks"][0]["after"].endswith("Sings.")
    kinds = [json.loads(frame)["message_type"] for frame in frames[:-1]]
    assert "assistant_message" in kinds and kinds.count("memory") == 1 and "usage_statistics" in kinds


def test_each_person_has_an_own_thread_block_and_archive(http, client, shared):
    say(http, shared, "I am Ada." + note("human", "Name: Ada."), ADA)
    say(http, shared, store("Ada's secret is a heron."), ADA)
    say(http, shared, "I am Bob." + note("human", "Name: Bob."), BOB)
    assert block_of(http, shared, ADA)["value"] == "Nothing is known yet.\nName: Ada."
    assert block_of(http, shared, BOB)["value"] == "Nothing is known yet.\nName: Bob."
    assert client.agents.blocks.retrieve("human", agent_id=shared.id).value == "Nothing is known yet."
    assert "I am Ada." in history(http, shared, ADA) and "Bob" not in history(http, shared, ADA)
    assert "Ada" not in history(http, shared, BOB)

    def search(user):
        body = {"query": "heron", **({"user_id": user} if user else {})}
        return http.post(f"/v1/agents/{shared.id}/memory/search", json=body).json()["results"]

    assert [(found["content"], found["user_id"]) for found in search(ADA)] == [("Ada's secret is a heron.", ADA)]
    assert search(BOB) == [] and search(None) == []
    people = http.get(f"/v1/agents/{shared.id}/users").json()
    assert {person["user_id"] for person in people} == {ADA, BOB}


def test_ids_of_users_are_compared_byte_for_byte(http, shared):
    for user, text in [("ada", "small"), ("Ada", "large"), ("ada ", "blank"), ("a\u0301da", "split"), ("\u00e1da", "whole"), ("a/b?c%2F", "odd")]:
        say(http, shared, note("human", text), user)
    people = http.get(f"/v1/agents/{shared.id}/users").json()
    assert {person["user_id"] for person in people} == {"ada", "Ada", "ada ", "a\u0301da", "\u00e1da", "a/b?c%2F"}
    assert block_of(http, shared, "ada")["value"].endswith("small") and block_of(http, shared, "a%2Fb%3Fc%252F")["value"].endswith("odd")


@pytest.mark.parametrize("user", ["", "x" * 257, "a\nb", ".", ".."])
def test_what_is_no_id_of_a_user_is_refused(http, shared, user):
    posts = [
        (f"/api/agents/{shared.id}/messages", {"message": "x", "userId": user}),
        (f"/v1/agents/{shared.id}/messages", {"input": "x", "user_id": user}),
        (f"/v1/agents/{shared.id}/messages/stream", {"input": "x", "user_id": user}),
        (f"/v1/agents/{shared.id}/messages/async", {"input": "x", "user_id": user}),
        (f"/v1/agents/{shared.id}/memory", {"content": "x", "type": "core_memory", "user_id": user}),
        (f"/v1/agents/{shared.id}/memory/search", {"query": "x", "user_id": user}),
        (f"/v1/agents/{shared.id}/archival-memory", {"text": "x", "user_id": user}),
    ]
    for path, body in posts:
        answer = http.post(path, json=body)
        assert answer.status_code == 422 and "user_id" in answer.text, (path, answer.text)
    for path in ["messages", "archival-memory", "archival-memory/search?query=x"]:
        answer = http.get(f"/v1/agents/{shared.id}/{path}", params={"user_id": user, "query": "x"})
        assert answer.status_code == 422 and "user_id" in answer.text, (path, answer.text)
    assert http.get(f"/v1/agents/{shared.id}/users").json() == []


def test_without_a_user_only_what_is_common_is_touched(http, client, shared):
    def add(content, kind, user=None):
        body = {"content": content, "type": kind, **({"userId": user} if user else {})}
        answer = http.post(f"/api/agents/{shared.id}/memory", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    assert add("We close in winter.", "core_memory")["label"] == "facts"
    assert add("Tea is free.", "core_memory")["value"] == "We close in winter.\nTea is free."
    assert add("Prefers tea.", "core_memory", ADA)["value"] == "Nothing is known yet.\nPrefers tea."
    assert add("The pier is old.", "archival_memory")["type"] == "archival_memory"
    add("Ada fell off the pier.", "archival_memory", ADA)
    assert client.agents.blocks.retrieve("facts", agent_id=shared.id).value == "We close in winter.\nTea is free."

    def found(user=None):
        body = {"query": "pier", **({"userId": user} if user else {})}
        return {one["content"] for one in http.post(f"/api/agents/{shared.id}/memory/search", json=body).json()["results"]}

    assert found() == {"The pier is old."} == found(BOB)
    assert found(ADA) == {"The pier is old.", "Ada fell off the pier."}
    assert add("x", "core_memory", BOB)["value"] == "Nothing is known yet.\nx"
    for body in [{"content": " ", "type": "core_memory"}, {"content": "x", "type": "nonsense"}, {"content": "x"}]:
        assert http.post(f"/api/agents/{shared.id}/memory", json=body).status_code == 422


def test_what_is_common_is_read_only_in_a_persons_turn(http, client, shared):
    answer = say(http, shared, note("board", "Ada was here."), ADA)
    assert answer["memory"]["blocks"] == []
    assert "read-only" in history(http, shared, ADA)
    assert client.agents.blocks.retrieve("board", agent_id=shared.id).value == "The harbour opens at nine."
    say(http, shared, note("board", "Closed on Monday."))
    assert client.agents.blocks.retrieve("board", agent_id=shared.id).value.endswith("Closed on Monday.")


def test_a_creator_opens_a_common_block_by_name(http, client, shared):
    assert http.patch(f"/v1/agents/{shared.id}", json={"open_to_users": ["board"]}).json()["open_to_users"] == ["board"]
    answer = say(http, shared, note("board", "Ada was here.") + note("persona", "Ada is the boss."), ADA)
    assert [block["label"] for block in answer["memory"]["blocks"]] == ["board"]
    assert client.agents.blocks.retrieve("board", agent_id=shared.id).value.endswith("Ada was here.")
    assert client.agents.blocks.retrieve("persona", agent_id=shared.id).value == "I am Sailor, an old friend."


def test_an_agent_may_insist_on_a_user(http, client, make_agent):
    agent = make_agent(extra_body={"require_user": True})
    assert http.get(f"/v1/agents/{agent.id}").json()["require_user"] is True
    refused = [
        http.post(f"/v1/agents/{agent.id}/messages", json={"input": "x"}),
        http.post(f"/api/agents/{agent.id}/messages", json={"message": "x"}),
        http.post(f"/v1/agents/{agent.id}/memory", json={"content": "x", "type": "core_memory"}),
        http.post(f"/v1/agents/{agent.id}/memory/search", json={"query": "x"}),
        http.get(f"/v1/agents/{agent.id}/archival-memory/search", params={"query": "x"}),
    ]
    for answer in refused:
        assert answer.status_code == 422 and "user_id" in answer.text, answer.text
    # That API knows no other status for what is wrong with a request.
    talk = {"model": agent.id, "messages": [{"role": "user", "content": "x"}]}
    assert http.post("/v1/chat/completions", json=talk).status_code == 400
    assert say(http, agent, "x", ADA)["messages"][0]["content"]
    assert http.patch(f"/v1/agents/{agent.id}", json={"requireUser": False}).status_code == 200
    assert say(http, agent, "x")["user_id"] is None


def test_twenty_at_once_make_one_agent(http, token):
    body = {"name": f"only {token}", "model": MODEL.split("/")[1], "persona": "P", "human": "H", "ifNotExists": True, "tags": [token]}
    made = []

    def make():
        answer = http.post("/api/agents", json=body)
        made.append(answer.json().get("id", answer.text))

    threads = [threading.Thread(target=make) for _ in range(20)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(made) == 20 and len(set(made)) == 1, set(made)
    agent = http.get(f"/v1/agents/{made[0]}").json()
    values = {block["label"]: block["value"] for block in agent["memory"]["blocks"]}
    assert (values["persona"], values["human"], agent["model"]) == ("P", "H", MODEL)
    again = http.post("/api/agents", json={**body, "model": "nobody/has-this"})
    assert again.status_code == 200 and again.json()["id"] == made[0]
    assert http.post("/api/agents", json={"ifNotExists": True, "model": MODEL}).status_code == 400
    assert http.post("/api/agents", json={"model": "a-model-nobody-has"}).status_code == 400


def test_the_first_two_messages_of_a_person_make_one_thread(http, shared):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(say(http, shared, "Hello", ADA))) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len({answer["conversation_id"] for answer in answers}) == 1 and len(answers) == 6


def test_a_person_who_is_forgotten_is_a_stranger_again_and_nobody_else_is(http, make_agent, model, token):
    blocks = [{"label": "human", "value": "Nothing is known yet."}]
    agent = make_agent(memory_blocks=blocks, tools=["core_memory_append"], enable_sleeptime=True)
    for user in (ADA, BOB):
        say(http, agent, f"I am {user} {token}" + note("human", f"Name: {user}."), user)
        say(http, agent, store(f"The boat of {user}."), user)
    gone = http.delete(f"/v1/agents/{agent.id}/users/{ADA}")
    assert gone.status_code == 200, gone.text
    removed = gone.json()["removed"]
    assert gone.json()["user_id"] == ADA and removed["messages"] >= 6 and removed["passages"] == 1 and removed["blocks"] == 1
    assert history(http, agent, ADA) == "[]" and http.get(f"/v1/agents/{agent.id}/users/{ADA}").status_code == 404
    found = http.post(f"/v1/agents/{agent.id}/memory/search", json={"query": "boat", "user_id": ADA}).json()
    assert found["results"] == []
    say(http, agent, f"hello again {token}", ADA)
    asked = json.dumps(model.last_request(f"hello again {token}"))
    assert f"I am {ADA}" not in asked and f"Name: {ADA}" not in asked
    assert f"I am {BOB}" in history(http, agent, BOB) and block_of(http, agent, BOB)["value"].endswith(f"Name: {BOB}.")
    everywhere = http.delete(f"/v1/end-users/{BOB}-{token}")
    assert everywhere.status_code == 200 and everywhere.json()["removed"]["messages"] == 0
    assert http.delete(f"/v1/end-users/{BOB}").status_code == 200 and history(http, agent, BOB) == "[]"


def test_a_tool_changes_in_a_persons_turn_only_what_is_that_persons(http, client, make_agent, tool, token):
    made = tool(ASKS)
    blocks = [{"label": "human", "value": "Nothing is known yet."}, {"label": "board", "value": "Opens at nine."}]
    agent = make_agent(memory_blocks=blocks, tool_ids=[made.id])
    passage = http.post(f"/v1/agents/{agent.id}/archival-memory", json={"text": "The pier is old."}).json()[0]
    board = client.agents.blocks.retrieve("board", agent_id=agent.id)
    other = http.post("/v1/blocks/", json={"label": f"other-{token}", "value": "x"}).json()
    client.blocks.update(board.id, value="Opens at eight.")

    def asked(method, path, **body):
        """The status that Ada's turn gets."""
        arguments = json.dumps({"method": method, "path": path, "body": body})
        answer = say(http, agent, f"[[call {made.name} {arguments}]]", ADA)["messages"][0]["content"]
        return int(answer.removeprefix("Done: [").split(",")[0])

    archive = f"/v1/archives/{passage['archive_id']}"
    for method, path, body in [
        ("PATCH", f"/v1/blocks/{board.id}", {"value": "Ada was here."}),
        ("DELETE", f"/v1/blocks/{board.id}", {}),
        ("POST", f"/v1/blocks/{board.id}/restore", {"version": 1}),
        ("PATCH", f"/v1/agents/{agent.id}/core-memory/blocks/board", {"value": "Ada was here."}),
        ("PATCH", f"/v1/agents/{agent.id}/core-memory/blocks/attach/{other['id']}", {}),
        ("PATCH", f"/v1/agents/{agent.id}", {"system": "Serve Ada alone."}),
        ("DELETE", f"/v1/agents/{agent.id}", {}),
        ("PATCH", f"/v1/tools/{made.id}", {"description": "Ada's"}),
        ("POST", f"/v1/agents/{agent.id}/recompile", {}),
        ("POST", "/v1/agents/", {"name": f"mine {token}"}),
        ("PATCH", archive, {"name": "Ada's"}),
        ("DELETE", archive, {}),
        ("DELETE", f"/v1/agents/{agent.id}/archival-memory/{passage['id']}", {}),
    ]:
        assert asked(method, path, **body) in (400, 403, 404), (method, path)
    assert client.agents.blocks.retrieve("board", agent_id=agent.id).value == "Opens at eight."
    assert [one["text"] for one in http.get(f"/v1/agents/{agent.id}/archival-memory").json()] == ["The pier is old."]
    own = http.post(f"/v1/agents/{agent.id}/archival-memory", json={"text": "Ada's.", "user_id": ADA}).json()[0]
    assert asked("DELETE", f"/v1/agents/{agent.id}/archival-memory/{own['id']}") == 200
    assert asked("PATCH", f"/v1/blocks/{block_of(http, agent, ADA)['id']}", value="Is Ada.") == 200
    # What was opened is the agent's own, not what others have under the same name.
    foreign = http.post("/v1/blocks/", json={"label": "board", "value": "Another's."}).json()["id"]
    names = ["board", http.get(archive).json()["name"]]
    http.patch(f"/v1/agents/{agent.id}", json={"open_to_users": names}).raise_for_status()
    assert asked("PATCH", f"/v1/blocks/{board.id}", value="Ada was here.") == 200
    assert asked("PATCH", f"/v1/blocks/{foreign}", value="Ada was here.") == 400
    assert asked("DELETE", archive) == 400, "others have passages in it"
    assert asked("DELETE", f"/v1/agents/{agent.id}/archival-memory/{passage['id']}") == 200


def test_wherever_a_user_is_named_it_counts_or_is_refused(http, shared, token):
    say(http, shared, f"I am Ada {token}.", ADA)
    thread = http.get(f"/v1/agents/{shared.id}/users/{ADA}").json()["conversation_id"]
    nobodys = http.post(f"/v1/conversations/?agent_id={shared.id}", json={}).json()["id"]

    def post(path, user, **more):
        body = {"messages": [{"role": "user", "content": f"hello {token}"}], "streaming": False, "user_id": user, **more}
        return http.post(path, json=body).status_code

    assert post(f"/v1/conversations/{thread}/messages", ADA) == 200
    assert post(f"/v1/conversations/{thread}/messages", BOB) == post(f"/v1/conversations/{nobodys}/messages", BOB) == 404
    assert post(f"/v1/conversations/{thread}/messages/preview-raw-payload", BOB) == 404
    assert post("/v1/conversations/default/messages", BOB, agent_id=shared.id) == 200
    assert f"hello {token}" in history(http, shared, BOB) and f"I am Ada {token}" not in history(http, shared, BOB)
    assert post(f"/v1/agents/{shared.id}/messages/preview-raw-payload", ADA) == 422
    batch = {"requests": [{"agent_id": shared.id, "messages": [{"role": "user", "content": "x"}], "user_id": ADA}]}
    assert http.post("/v1/messages/batches", json=batch).status_code == 422
    capture = {"messages": [{"role": "user", "content": f"in the past {token}"}], "user_id": ADA}
    assert http.post(f"/v1/agents/{shared.id}/messages/capture", json=capture).status_code == 200
    assert f"in the past {token}" in history(http, shared, ADA)
    default = http.get(f"/v1/agents/{shared.id}/messages", params={"conversation_id": "default"}).text
    assert f"in the past {token}" not in default
    archive = http.post(f"/v1/agents/{shared.id}/archival-memory", json={"text": "The pier is old."}).json()[0]["archive_id"]
    passages = f"/v1/archives/{archive}/passages"
    assert http.post(passages, json={"text": "Ada is ill.", "user_id": ADA}).status_code == 200
    both = {"passages": [{"text": "Ada sails.", "user_id": ADA}, {"text": "Bob rows.", "user_id": BOB}]}
    assert http.post(f"{passages}/batch", json=both).status_code == 422
    assert http.post(f"{passages}/batch", json={"passages": both["passages"][:1]}).status_code == 200
    for user, wanted in ((ADA, {"Ada is ill.", "Ada sails.", "The pier is old."}), (BOB, {"The pier is old."})):
        found = http.get(f"/v1/agents/{shared.id}/archival-memory", params={"user_id": user}).json()
        assert {one["text"] for one in found} == wanted
    group = http.post("/v1/groups/", json={"agent_ids": [shared.id], "description": "crew"}).json()["id"]
    assert post(f"/v1/groups/{group}/messages", "carl") == 200
    assert post(f"/v1/groups/{group}/messages", "") == 422


def test_what_is_known_of_a_person_outlives_the_thread(http, shared):
    say(http, shared, note("human", "Name: Ada."), ADA)
    first = http.get(f"/v1/agents/{shared.id}/users/{ADA}").json()["conversation_id"]
    assert http.delete(f"/v1/conversations/{first}").status_code == 200
    assert say(http, shared, "hello", ADA)["conversation_id"] != first
    assert block_of(http, shared, ADA)["value"].endswith("Name: Ada.")


def test_whoever_never_spoke_is_forgotten_as_well(http, shared, token):
    user = f"mute-{token}"
    for kind in ("archival_memory", "core_memory"):
        body = {"content": f"secret {token}", "type": kind, "user_id": user}
        assert http.post(f"/v1/agents/{shared.id}/memory", json=body).status_code == 201
    loose = http.post("/v1/archives/", json={"name": f"loose {token}"}).json()["id"]
    http.post(f"/v1/archives/{loose}/passages", json={"text": f"secret {token}", "user_id": user}).raise_for_status()
    made = http.post("/v1/user-tokens", json={"agent_id": shared.id, "user_id": user}).raise_for_status().json()["token"]
    removed = http.delete(f"/v1/end-users/{user}").json()["removed"]
    assert (removed["passages"], removed["blocks"], removed["tokens"]) == (2, 1, 1)
    left = http.post("/v1/passages/search", json={"query": f"secret {token}", "archive_id": loose}).json()
    assert token not in json.dumps(left)
    body = {"messages": [{"role": "user", "content": "hello"}]}
    used = http.post(f"/v1/agents/{shared.id}/messages", json=body, headers={"authorization": f"Bearer {made}"})
    assert used.status_code == 401


def test_a_retry_of_one_person_is_not_taken_for_anothers(http, shared, token):
    made = [
        http.post("/v1/user-tokens", json={"agent_id": shared.id, "user_id": user}).json()["token"] for user in (ADA, BOB)
    ]
    body = {"messages": [{"role": "user", "content": f"hi {token}"}]}

    def send(one, retry):
        headers = {"authorization": f"Bearer {one}", "x-stainless-retry-count": str(retry)}
        answer = http.post(f"/v1/agents/{shared.id}/messages", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["messages"][0]["run_id"]

    adas = send(made[0], 0)
    bobs = send(made[1], 1)
    assert adas != bobs and send(made[0], 1) == adas and send(made[1], 1) == bobs
    assert f"hi {token}" in history(http, shared, BOB)


def test_what_a_tool_sends_in_a_persons_turn_never_lands_in_nobodys_thread(http, make_agent, tool, token):
    made = tool(ASKS)
    agent, other = make_agent(tool_ids=[made.id]), make_agent()
    words = {"messages": [{"role": "user", "content": f"heron {token}"}]}
    batch = {"requests": [{"agent_id": other.id, **words}]}
    ways = [("/v1/messages/batches", batch), (f"/v1/agents/{other.id}/messages/capture", words), (f"/v1/agents/{other.id}/messages", words)]
    for sent, (path, body) in enumerate(ways, 1):
        arguments = json.dumps({"method": "POST", "path": path, "body": body})
        assert "[200" in say(http, agent, f"[[call {made.name} {arguments}]]", ADA)["messages"][0]["content"], path
        # A batch takes its time, and its thread is busy until then.
        eventually(lambda: history(http, other, ADA).count(f'"content": "heron {token}"') == sent, "it is in Ada's thread")
        eventually(lambda: not http.get("/v1/runs/", params={"agent_id": other.id, "active": True}).json(), "the run is over")
    nobodys = http.get(f"/v1/agents/{other.id}/messages", params={"conversation_id": "default"}).text
    assert f"heron {token}" not in nobodys


def test_a_fork_of_a_persons_thread_is_about_the_same_person(http, shared, model, token):
    say(http, shared, "Hello" + note("human", f"Likes boats {token}."), ADA)
    thread = http.get(f"/v1/agents/{shared.id}/users/{ADA}").json()["conversation_id"]
    fork = http.post(f"/v1/conversations/{thread}/fork", json={}).raise_for_status().json()
    assert fork["isolated_block_ids"] == [block_of(http, shared, ADA)["id"]]

    def in_fork(conversation, text):
        body = {"messages": [{"role": "user", "content": text}], "streaming": False}
        http.post(f"/v1/conversations/{conversation}/messages", json=body).raise_for_status()

    in_fork(fork["id"], note("human", f"Has a dog {token}."))
    assert f"Has a dog {token}." in block_of(http, shared, ADA)["value"]
    say(http, shared, f"And now {token}?", ADA)
    assert f"Has a dog {token}." in json.dumps(model.last_request(f"And now {token}?")["messages"][0])
    file = http.get(f"/v1/agents/{shared.id}/export").json()
    made = http.post("/v1/agents/import", files={"file": ("juno.af", json.dumps(file))}).raise_for_status().json()
    twin = made["agent_ids"][0]
    [copy] = [one for one in http.get("/v1/conversations/", params={"agent_id": twin}).json() if one["id"] != own(http, twin, ADA)["conversation_id"]]
    assert copy["isolated_block_ids"] == [block["id"] for block in own(http, twin, ADA)["blocks"]]
    create = {"command": "create", "path": "/memories/likes", "description": "What Ada likes.", "file_text": f"tea {token}"}
    in_fork(fork["id"], f"[[call memory {json.dumps(create)}]]")
    assert block_of(http, shared, ADA, "likes")["value"] == f"tea {token}"
    http.delete(f"/v1/conversations/{fork['id']}").raise_for_status()
    assert f"Has a dog {token}." in block_of(http, shared, ADA)["value"]


def own(http, agent_id, user):
    return http.get(f"/v1/agents/{agent_id}/users/{user}").raise_for_status().json()
