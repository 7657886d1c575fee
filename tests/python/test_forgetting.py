"""Who is forgotten is nowhere any more: a word is said through every way in, and looked for in all bytes that the server keeps."""

import base64
import json
import threading
import uuid

import httpx
import pytest

from canaries import kept, places
from programs import MODEL, eventually
from tool_calls import ASKS, DOCS, PIXEL

SCRATCH = '''
def NAME(word: str) -> str:
    """Keeps a word in a file.

    Args:
        word: the word
    """
    with open("kept.txt", "w") as file:
        file.write(word)
    return "kept " + open("kept.txt").read()
'''


class Person:
    """Somebody who says words that nobody else says, and what of it stands where."""

    def __init__(self, web, name):
        self.web = web
        self.id = f"{name}-{uuid.uuid4().hex[:12]}"
        self.words = {}

    def word(self, route):
        """A word for a way in."""
        return self.words.setdefault(route, f"canary-{uuid.uuid4().hex[:16]}")

    def post(self, path, body, **options):
        answer = self.web.post(path, json=body, **options)
        assert answer.status_code in (200, 201), (path, answer.text)
        return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.text


def calls(name, **arguments):
    return f"[[call {name} {json.dumps(arguments)}]]"


def over(web, run_id):
    def ended():
        run = web.get(f"/v1/runs/{run_id}").json()
        return run["status"] in ("completed", "failed", "cancelled")

    eventually(ended, f"{run_id} is over")


def make_tool(web, source):
    name = f"f_{uuid.uuid4().hex[:12]}"
    tool = web.post("/v1/tools/", json={"source_code": source.replace("NAME", name).replace("DOCS", DOCS)})
    assert tool.status_code == 200, tool.text
    return tool.json()


@pytest.fixture
def place(own_server, model):
    """A server of its own with an agent that many people talk with, by every way that there is."""
    server = own_server(MNEMIC_ALLOW_PRIVATE_URLS="true")
    with httpx.Client(base_url=server.url, timeout=60) as web:
        asks, scratch = make_tool(web, ASKS), make_tool(web, SCRATCH)
        blocks = [{"label": "human", "value": "Nothing is known yet."}, {"label": "board", "value": "Opens at nine."}]
        body = {
            "name": "Juno", "model": MODEL, "memory_blocks": blocks, "enable_sleeptime": True,
            "tool_ids": [asks["id"], scratch["id"]], "tools": ["core_memory_append", "archival_memory_insert", "core_memory_replace"],
            "open_to_users": ["board"],
        }
        made = web.post("/v1/agents/", json=body)
        assert made.status_code == 200, made.text
        yield Place(server, model, web, made.json()["id"], (asks["name"], scratch["name"]))


class Place:
    def __init__(self, server, model, web, agent, tools):
        self.server, self.model, self.web, self.agent = server, model, web, agent
        self.asks, self.scratch = tools

    def person(self, name):
        return Person(self.web, name)

    def speak(self, who):
        """Says something by every way in."""
        agent, word, own = f"/v1/agents/{self.agent}", who.word, {"user_id": who.id}
        plain = f"/api/agents/{self.agent}/messages"

        def talk(text, **more):
            return {"messages": [{"role": "user", "content": text}], **own, **more}

        who.post(f"{agent}/messages", talk(word("message")))
        who.post(f"{agent}/messages/stream", talk(word("stream"), stream_tokens=True))
        frames = who.post(f"{agent}/messages/stream", talk(word("background"), stream_tokens=True, background=True))
        assert word("background") and "[DONE]" in frames
        run = who.post(f"{agent}/messages/async", talk(word("async"), otid=word("otid of a request")))["id"]
        over(self.web, run)
        # Nothing listens there: the post is tried again and again.
        callback = f"http://127.0.0.1:9/{word('callback')}"
        over(self.web, who.post(f"{agent}/messages/async", talk(word("called back"), callback_url=callback))["id"])
        named = {"role": "user", "content": word("named"), "name": word("name"), "otid": word("otid"), "sender_id": word("sender")}
        who.post(f"{agent}/messages", {"messages": [named], **own})
        pixel = base64.b64encode(base64.b64decode(PIXEL) + word("image").encode()).decode()
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": pixel}}
        who.post(f"{agent}/messages", talk([image, {"type": "text", "text": word("beside an image")}]))
        who.post(plain, {"message": word("plain"), "userId": who.id})
        note = calls("core_memory_append", label="human", content=word("block"))
        who.post(plain, {"message": note, "userId": who.id})
        change = calls("core_memory_replace", label="human", old_content=word("block"), new_content=word("changed block"))
        who.post(plain, {"message": change, "userId": who.id})
        who.post(plain, {"message": calls("core_memory_append", label="board", content=word("common block")), "userId": who.id})
        who.post(plain, {"message": calls("archival_memory_insert", content=word("passage of a turn")), "userId": who.id})
        who.post(plain, {"message": calls(self.scratch, word=word("scratch")), "userId": who.id})
        asked = calls(self.asks, method="POST", path=f"{agent}/archival-memory", body={"text": word("passage of a tool")})
        who.post(plain, {"message": asked, "userId": who.id})
        for kind in ("core_memory", "archival_memory"):
            who.post(f"{agent}/memory", {"content": word(kind), "type": kind, **own})
        long = word("long passage") * 400
        (passage,) = who.post(f"{agent}/archival-memory", {"text": long, "tags": [word("tag")], **own})
        archive = f"/v1/archives/{passage['archive_id']}/passages"
        who.post(archive, {"text": word("archive"), "metadata": {"of": word("metadata")}, **own})
        who.post(f"{archive}/batch", {"passages": [{"text": word("archive batch"), **own}]})
        who.post(f"{agent}/messages/capture", {"messages": [{"role": "user", "content": word("capture")}], **own})
        chat = {"model": self.agent, "messages": [{"role": "user", "content": word("chat")}], "user": who.id}
        who.post("/v1/chat/completions", chat)
        who.post("/v1/chat/completions", {**chat, "stream": True, "messages": [{"role": "user", "content": word("chat stream")}]})
        who.post("/v1/responses", {"model": self.agent, "input": word("response"), "user": who.id, "metadata": {"m": word("run metadata")}})
        token = who.post("/v1/user-tokens", {"agent_id": self.agent, "user_id": who.id})["token"]
        alone = {"authorization": f"Bearer {token}"}
        who.post(f"{agent}/messages", {"messages": [{"role": "user", "content": word("token")}]}, headers=alone)
        batch = {"requests": [{"agent_id": self.agent, "messages": [{"role": "user", "content": word("batch")}]}]}
        asked = calls(self.asks, method="POST", path="/v1/messages/batches", body=batch)
        who.post(plain, {"message": asked, "userId": who.id})
        failing = self.web.post(f"{agent}/messages", json=talk(f"{word('failed')} [[error 400]]"))
        assert failing.status_code != 200
        thread = self.web.get(f"{agent}/users/{who.id}").json()["conversation_id"]
        found = self.web.patch(f"/v1/conversations/{thread}", json={"summary": word("thread's summary"), "description": word("description")})
        assert found.status_code == 200, found.text
        self.web.post(f"/v1/conversations/{thread}/compact", json={})
        fork = who.post(f"/v1/conversations/{thread}/fork", {})["id"]
        who.post(f"/v1/conversations/{fork}/messages", {"messages": [{"role": "user", "content": word("fork")}], "streaming": False})
        former = who.post(f"{agent}/messages", talk(word("feedback")))["messages"][0]["step_id"]
        self.web.patch(f"/v1/steps/{former}/feedback", json={"feedback": "positive", "tags": [word("feedback tag")]})
        self.settle()

    def speak_elsewhere(self, who):
        """Says something to a group, and has a copy of what was said with another agent, made of a file."""
        crew = [self.web.post("/v1/agents/", json={"model": MODEL}).json()["id"] for _ in range(2)]
        group = {"agent_ids": crew, "description": "crew", "manager_config": {"manager_type": "round_robin"}}
        group = who.post("/v1/groups/", group)["id"]
        said = {"messages": [{"role": "user", "content": who.word("group")}], "user_id": who.id}
        who.post(f"/v1/groups/{group}/messages", said)
        who.post(f"/v1/agents/{self.agent}/messages", {"input": who.word("message"), "user_id": who.id})
        file = self.web.get(f"/v1/agents/{self.agent}/export", params={"user_id": who.id})
        assert who.words["message"] in file.text
        copied = self.web.post("/v1/agents/import", files={"file": ("agent.af", file.text)})
        assert copied.status_code == 200, copied.text
        whose = {"user_id": who.id, "limit": 1000}
        threads = [self.web.get(f"/v1/agents/{copy}/messages", params=whose).text for copy in copied.json()["agent_ids"]]
        assert any(who.words["message"] in thread for thread in threads), [thread[:300] for thread in threads]
        identity = {"identifier_key": who.id, "name": who.word("identity"), "identity_type": "user"}
        who.post("/v1/identities/", identity)
        self.settle()

    def settle(self):
        """Waits until nothing runs any more."""

        def quiet():
            runs = self.web.get("/v1/runs/", params={"limit": 200}).json()
            return all(run["status"] in ("completed", "failed", "cancelled") for run in runs)

        eventually(quiet, "all runs are over")


def assert_gone(place, who, receipt):
    if place.server.engine == "sqlite":
        assert receipt["erased"] is True and receipt["left"] is None, receipt
    else:
        assert receipt["erased"] is False and "write-ahead log" in receipt["left"], receipt
    everything = kept(place.server)
    found = {route: places(everything, word) for route, word in {**who.words, "the id": who.id}.items()}
    assert {route: at for route, at in found.items() if at} == {}


def assert_there(place, who, routes):
    found = b"\n".join(kept(place.server).values())
    assert {route for route in routes if who.words[route].encode() not in found} == set()


STAYS = ["message", "stream", "background", "async", "plain", "changed block", "passage of a turn", "scratch", "capture", "fork", "batch"]


@pytest.mark.parametrize("everywhere", [False, True], ids=["by its agent", "everywhere"])
def test_nothing_that_a_person_said_by_any_way_is_left_and_what_another_said_is(place, everywhere):
    ada, bob = place.person("ada"), place.person("bob")
    # In this order: what Ada's turns write where everybody reads it, others may be told afterwards.
    place.speak(bob)
    if everywhere:
        # What she writes for everybody from then on is in no copy.
        place.speak_elsewhere(ada)
    place.speak(ada)
    place.person("carl").post(f"/api/agents/{place.agent}/messages", {"message": "My prompt shows the board.", "userId": "carl"})
    place.settle()
    assert_there(place, ada, STAYS)
    path = f"/v1/end-users/{ada.id}" if everywhere else f"/v1/agents/{place.agent}/users/{ada.id}"
    answer = place.web.delete(path)
    assert answer.status_code == 200, answer.text + place.server.log()
    receipt, removed = answer.json(), answer.json()["removed"]
    for kind in ("conversations", "messages", "runs", "steps", "events", "blocks", "versions", "passages", "batches", "tokens"):
        assert removed[kind] > 0, (kind, receipt)
    assert len(receipt["common_blocks"]) == 1 and receipt["copies"] == []
    assert_gone(place, ada, receipt)
    assert_there(place, bob, STAYS)
    place.server.kill()
    place.server.start()
    assert_gone(place, ada, receipt)
    board = place.web.get(f"/v1/agents/{place.agent}/core-memory/blocks/board").json()["value"]
    assert board == f"Opens at nine.\n{bob.words['common block']}"
    said = place.web.post(f"/api/agents/{place.agent}/messages", json={"message": "Hello again", "userId": bob.id})
    assert said.status_code == 200 and said.json()["messages"][0]["content"]


@pytest.fixture
def talker(http, make_agent):
    """An agent, and a function by which somebody says something to it: the messages of the answer."""
    blocks = [{"label": "human", "value": "Nothing is known yet."}]
    agent = make_agent(memory_blocks=blocks, tools=["core_memory_append", "archival_memory_insert"])

    def say(text, user=None):
        whose = {"user_id": user} if user else {}
        body = {"messages": [{"role": "user", "content": text}], **whose}
        answer = http.post(f"/v1/agents/{agent.id}/messages", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["messages"]

    return agent, say


def history(http, agent, user=None):
    query = {"limit": 100, **({"user_id": user} if user else {"conversation_id": "default"})}
    return http.get(f"/v1/agents/{agent.id}/messages", params=query).json()


def forget(http, agent, user=None, **parts):
    whose = f"/users/{user}" if user else ""
    answer = http.post(f"/v1/agents/{agent.id}{whose}/forget", json=parts)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_fact_is_shown_first_and_then_forgotten_wherever_it_stands(server, http, model, talker, token):
    agent, say = talker
    ada, bob, fact = f"ada-{token}", f"bob-{token}", f"asthma-{token}"
    for user in (ada, bob, None):
        say(f"I have {fact}.", user)
        say("I sail." + calls("core_memory_append", label="human", content=f"Sails, has {fact}."), user)
        say("Note it." + calls("archival_memory_insert", content=f"{fact} since childhood"), user)
    thread = http.get(f"/v1/agents/{agent.id}/users/{ada}").json()["conversation_id"]
    told = {"summary": f"About {fact}.", "description": f"She has {fact}."}
    assert http.patch(f"/v1/conversations/{thread}", json=told).status_code == 200
    shown = forget(http, agent, ada, text=fact.upper(), dry_run=True)
    assert shown["dry_run"] and not shown["erased"] and shown["removed"]["passages"] == 1 and shown["removed"]["messages"] >= 5
    assert any(fact in (message["text"] or "") for message in shown["found"]["messages"])
    assert [(block["label"], block["still_says"]) for block in shown["found"]["blocks"]] == [("human", True)]
    assert fact in json.dumps(history(http, agent, ada)), "nothing has gone yet"
    gone = forget(http, agent, ada, text=fact, change_blocks=True)
    assert gone["removed"]["messages"] == shown["removed"]["messages"] and gone["removed"]["passages"] == 1
    assert fact not in json.dumps(gone), "the receipt does not tell it again"
    assert fact not in http.get(f"/v1/conversations/{thread}").text
    assert fact not in json.dumps(history(http, agent, ada))
    (block,) = http.get(f"/v1/agents/{agent.id}/users/{ada}").json()["blocks"]
    assert block["value"] == "Nothing is known yet.\nSails, has ."
    said = say(f"hello {token}", ada)
    assert said[-1]["message_type"] == "assistant_message"
    asked = json.dumps(model.last_request(f"hello {token}"))
    assert fact not in asked and "Sails, has ." in asked
    assert fact in json.dumps(history(http, agent, bob)) and fact in json.dumps(history(http, agent))
    rows = server.query(f"SELECT COUNT(*) FROM messages WHERE subject = '{ada}' AND body LIKE '%{fact}%'")
    runs = server.query(f"SELECT COUNT(*) FROM runs WHERE subject = '{ada}' AND input LIKE '%{fact}%'")
    assert rows == runs == [("0",)]
    everybodys = forget(http, agent, text=fact)
    assert everybodys["removed"]["passages"] == 1 and fact not in json.dumps(history(http, agent))
    assert [block["still_says"] for block in everybodys["found"]["blocks"]] == [True]
    assert fact in json.dumps(history(http, agent, bob)), "what is nobody's is not Bob's"


def test_single_messages_and_passages_go_and_calls_with_their_returns(http, talker, token):
    agent, say = talker
    ada = f"ada-{token}"
    say("first", ada)
    say("Note it." + calls("archival_memory_insert", content=f"heron {token}"), ada)
    say("last", ada)
    before = history(http, agent, ada)
    returned = next(message for message in before if message["message_type"] == "tool_return_message")
    passage = http.get(f"/v1/agents/{agent.id}/archival-memory", params={"user_id": ada}).json()[0]
    gone = forget(http, agent, ada, message_ids=[returned["id"]], passage_ids=[passage["id"]])
    assert (gone["removed"]["messages"], gone["removed"]["passages"]) == (2, 1), gone
    after = history(http, agent, ada)
    assert not {message["message_type"] for message in after} & {"tool_call_message", "tool_return_message"}
    assert "first" in json.dumps(after) and say("and now?", ada)[-1]["message_type"] == "assistant_message"
    other = forget(http, agent, f"bob-{token}", message_ids=[after[0]["id"]])
    assert other["removed"]["messages"] == 0, "what is Ada's is not there for Bob"


def test_a_time_and_a_thread_are_forgotten(http, talker, token):
    agent, say = talker
    ada = f"ada-{token}"
    say(f"early {token}", ada)
    middle = http.get(f"/v1/agents/{agent.id}/users/{ada}").json()["last_message_at"]
    say("Note it." + calls("core_memory_append", label="human", content=f"present {token}"), ada)
    (block,) = forget(http, agent, ada, **{"from": middle, "dry_run": True})["found"]["blocks"]
    assert block["still_says"], "what a block says now stays, and is told"
    say(f"late {token}", ada)
    forget(http, agent, ada, to=middle)
    left = json.dumps(history(http, agent, ada))
    assert f"early {token}" not in left and f"late {token}" in left
    thread = http.get(f"/v1/agents/{agent.id}/users/{ada}").json()["conversation_id"]
    gone = forget(http, agent, ada, conversation_id=thread)
    assert gone["removed"]["conversations"] == 1 and history(http, agent, ada) == []
    assert say("hello", ada)[-1]["message_type"] == "assistant_message"


def test_what_says_nothing_to_forget_is_refused(http, talker):
    agent, _ = talker
    for body in [{}, {"text": " "}, {"change_blocks": True, "conversation_id": "conv-00000000-0000-4000-8000-000000000000"}, {"message_ids": ["nonsense"]}]:
        answer = http.post(f"/v1/agents/{agent.id}/users/ada/forget", json=body)
        assert answer.status_code == 422, (body, answer.text)


def refused(http, agent, user, status, **parts):
    answer = http.post(f"/v1/agents/{agent.id}/users/{user}/forget", json=parts)
    assert answer.status_code == status, answer.text


def test_a_thread_of_somebody_else_is_not_there(http, talker, make_agent, token):
    agent, say = talker
    ada, bob = f"ada-{token}", f"bob-{token}"
    say("hello", ada)
    say(f"mine {token}", bob)
    thread = http.get(f"/v1/agents/{agent.id}/users/{bob}").json()["conversation_id"]
    for parts in ({}, {"text": "mine"}, {"dry_run": True}):
        refused(http, agent, ada, 404, conversation_id=thread, **parts)
        refused(http, make_agent(), bob, 404, conversation_id=thread, **parts)
    assert f"mine {token}" in json.dumps(history(http, agent, bob))


def test_a_turn_that_was_asked_it_and_still_runs_is_in_the_way(http, talker, token, model):
    agent, say = talker
    ada, secret = f"ada-{token}", f"secret-{token}"
    say("hello", ada)
    body = {"input": f"{secret} [[hold {token}]]", "user_id": ada}
    run = http.post(f"/v1/agents/{agent.id}/messages/async", json=body).json()["id"]
    refused(http, agent, ada, 409, text=secret)
    model.release(token)
    over(http, run)
    forget(http, agent, ada, text=secret)
    assert secret not in json.dumps(history(http, agent, ada))


def test_misspelled_fields_and_empty_users_forget_nothing(http, talker, token):
    agent, say = talker
    ada, fact = f"ada-{token}", f"fact-{token}"
    say(fact, ada)
    say(fact)
    refused(http, agent, ada, 422, text=fact, dryrun=True)
    refused(http, agent, "", 422, text=fact)
    assert http.post(f"/v1/agents/{agent.id}/users/{ada}/forget", json={"text": fact, "dryRun": True}).json()["dry_run"]
    assert fact in json.dumps(history(http, agent, ada)) and fact in json.dumps(history(http, agent))


def test_what_a_tool_made_for_a_person_goes_with_the_person(place):
    ada = place.person("ada")
    agent = f"/v1/agents/{place.agent}"
    block = {"label": "notes", "value": ada.word("block of a tool")}
    asked = calls(place.asks, method="POST", path="/v1/blocks/", body=block)
    ada.post(f"{agent}/messages", {"input": asked, "user_id": ada.id})
    place.settle()
    assert_there(place, ada, ["block of a tool"])
    assert_gone(place, ada, place.web.delete(f"{agent}/users/{ada.id}").json())


def test_a_persons_turn_changes_of_a_common_block_what_it_says_and_nothing_else(place):
    ada = place.person("ada")
    agent = f"/v1/agents/{place.agent}"
    board = place.web.get(f"{agent}/core-memory/blocks/board").json()
    for change in ({"description": ada.word("description")}, {"metadata": {"of": ada.word("metadata")}}, {"value": "Opens at ten."}):
        asked = calls(place.asks, method="PATCH", path=f"/v1/blocks/{board['id']}", body=change)
        ada.post(f"{agent}/messages", {"input": asked, "user_id": ada.id})
    now = place.web.get(f"{agent}/core-memory/blocks/board").json()
    assert (now["description"], now["metadata"], now["value"]) == (board["description"], board["metadata"], "Opens at ten.")


@pytest.mark.parametrize("way", ["detach", "delete"])
def test_what_prompts_showed_of_a_block_that_is_gone_goes_too(place, way):
    ada, bob = place.person("ada"), place.person("bob")
    agent = f"/v1/agents/{place.agent}"
    note = calls("core_memory_append", label="board", content=ada.word("board"))
    ada.post(f"{agent}/messages", {"input": note, "user_id": ada.id})
    bob.post(f"{agent}/messages", {"input": "hello", "user_id": bob.id})
    bob.post(f"{agent}/messages", {"input": "hello"})
    place.settle()
    board = place.web.get(f"{agent}/core-memory/blocks/board").json()["id"]
    if way == "detach":
        assert place.web.patch(f"{agent}/core-memory/blocks/detach/{board}").status_code == 200
    else:
        assert place.web.delete(f"/v1/blocks/{board}").status_code == 200
    assert_gone(place, ada, place.web.delete(f"/v1/end-users/{ada.id}").json())
    assert bob.post(f"{agent}/messages", {"input": "and now?", "user_id": bob.id})["messages"]


def test_traces_of_what_models_were_shown_go_too(own_server):
    server = own_server(MNEMIC_TRACE_HOURS="24")
    with httpx.Client(base_url=server.url, timeout=60) as web:
        agent = web.post("/v1/agents/", json={"model": MODEL}).json()["id"]
        ada = Person(web, "ada")
        talk = f"/v1/agents/{agent}/messages"
        first = {"input": ada.word("first"), "user_id": ada.id}
        ada.post(talk, first)
        step = ada.post(talk, {"input": "and then?", "user_id": ada.id})["messages"][-1]["step_id"]
        assert ada.words["first"] in web.get(f"/v1/steps/{step}/trace").text
        body = {"text": ada.words["first"]}
        assert ada.post(f"/v1/agents/{agent}/users/{ada.id}/forget", body)["removed"]["messages"] >= 1
        assert places(kept(server), ada.words["first"]) == []


def test_what_still_runs_for_a_person_revives_nobody(place):
    ada, bob = place.person("ada"), place.person("bob")
    asked = calls(place.asks, method="POST", path=f"/v1/agents/{place.agent}/archival-memory", body={"text": ada.word("late passage")})
    texts = [f"{ada.word('late answer')} [[hold late {ada.id}]]", f"{ada.word('late call')} {asked} [[steps 2]] [[sleep 300]]"]
    threads = []
    for text in texts:
        body = {"messages": [{"role": "user", "content": text}], "user_id": ada.id, "background": True, "stream_tokens": True}
        send = lambda body=body: place.web.post(f"/v1/agents/{place.agent}/messages/stream", json=body)
        threads.append(threading.Thread(target=send))
        threads[-1].start()
    bob.post(f"/v1/agents/{place.agent}/messages", {"input": bob.word("message"), "user_id": bob.id})
    running = {"limit": 100, "active": True}
    eventually(lambda: len(place.web.get("/v1/runs/", params=running).json()) >= 1, "a run is under way")
    receipt = place.web.delete(f"/v1/agents/{place.agent}/users/{ada.id}")
    assert receipt.status_code == 200, receipt.text
    place.model.release(f"late {ada.id}")
    for thread in threads:
        thread.join()
    place.settle()
    again = place.web.delete(f"/v1/agents/{place.agent}/users/{ada.id}").json()
    assert again["removed"]["messages"] == again["removed"]["passages"] == 0, "nothing came after the receipt"
    assert_gone(place, ada, again)
    assert_there(place, bob, ["message"])
