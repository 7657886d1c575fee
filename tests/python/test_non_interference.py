"""What one person's turns send to a model, and what is read back for that person, is the same to the byte whether others talk
with the agent or not."""

import json
import re

import openai
import pytest

from test_people import note, say, store

ADA, BOB = "ada", "bob"
ID = re.compile(r"\b(agent|block|message|run|step|conv|passage|archive|tool|call|user|org|letta|resp|msg|chatcmpl|group|identity|source|provider)-?_?[0-9a-f]{8}[0-9a-f-]*")
BARE = re.compile(r'(?<=")[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?=")')
# The scripted model answers with a digest of what it was sent, ids and all.
DIGEST = re.compile(r"\b[0-9a-f]{8}(?=:)")
# Ids, times and digests are texts, too: how many tokens they take differs from one to the next.
TOKENS = re.compile(r'"(context_window_size_current|num_tokens_\w+|context_tokens|prompt_tokens|input_tokens|total_tokens|cached_tokens)": ?[0-9]+')
TIMES = [
    re.compile(r"just now|\d+ (second|minute)s? ago"),
    re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00|Z| [AP]M [A-Z]+[+\-0-9]*)?"),
    re.compile(r'"(created|created_at|last_run_duration_ms|ttft_ns|total_duration_ns|duration_ms|llm_request_ns|seq_id|completed_at)": ?[0-9.]+'),
]


def normal(value):
    """Without what differs between any two runs: ids (numbered in the order in which they come) and times."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    for time in TIMES:
        text = time.sub("TIME", text)
    text = TOKENS.sub("TOKENS", text)
    text = DIGEST.sub("DIGEST", BARE.sub("BARE", text))
    known = {}
    return ID.sub(lambda found: known.setdefault(found.group(), f"{found.group(1)}#{len(known)}"), text)


class Script:
    """Ada's conversation; between any two of its steps `others` may do what they like."""

    def __init__(self, http, client, sdk, agent, word, others):
        self.http, self.client, self.sdk, self.agent, self.word, self.others = http, client, sdk, agent, word, others
        self.seen = []

    def look(self, value):
        self.seen.append(normal(value))
        self.others()

    def get(self, path, **query):
        answer = self.http.get(path, params=query)
        assert answer.status_code == 200, (path, answer.text)
        self.look(answer.json())
        return answer.json()

    def post(self, path, body):
        answer = self.http.post(path, json=body)
        assert answer.status_code < 300, (path, answer.text)
        self.look(answer.json())
        return answer.json()

    def run(self):
        path = f"/v1/agents/{self.agent.id}"
        self.others()
        self.look(say(self.http, self.agent, f"{self.word} I am Ada." + note("human", "Name: Ada."), ADA))
        self.look(say(self.http, self.agent, self.word + store("Ada's heron nests on the pier."), ADA))
        self.post(f"{path}/memory", {"content": "Ada owes the harbour master a pie.", "type": "archival_memory", "user_id": ADA})
        self.post(f"{path}/memory", {"content": "Prefers tea.", "type": "core_memory", "user_id": ADA})
        find = '[[call archival_memory_search {"query": "pier heron"}]]'
        self.look(say(self.http, self.agent, self.word + find, ADA))
        recall = '[[call conversation_search {"query": "pier heron Ada"}]]'
        self.look(say(self.http, self.agent, self.word + recall, ADA))
        self.stream(path)
        sent = self.client.agents.messages.create(agent_id=self.agent.id, input=f"{self.word} by SDK", extra_body={"user_id": ADA})
        self.look(sent.model_dump(mode="json"))
        talk = [{"role": "user", "content": f"{self.word} by OpenAI"}]
        self.look(self.sdk.chat.completions.create(model=self.agent.id, messages=talk, user=ADA).model_dump(mode="json"))
        self.look(self.sdk.responses.create(model=self.agent.id, input=f"{self.word} by responses", user=ADA).model_dump(mode="json"))
        self.look(say(self.http, self.agent, self.word + note("human", "Leaves early."), ADA))
        self.read_back(path)

    def stream(self, path):
        body = {"messages": [{"role": "user", "content": f"{self.word} stream"}], "stream_tokens": True, "include_pings": False, "user_id": ADA}
        with self.http.stream("POST", f"{path}/messages/stream", json=body) as answer:
            frames = [line[6:] for line in answer.iter_lines() if line.startswith("data: {")]
        self.look([json.loads(frame) for frame in frames])

    def read_back(self, path):
        person = self.get(f"{path}/users/{ADA}")
        conversation = person["conversation_id"]
        self.get(f"{path}/messages", user_id=ADA, limit=200)
        self.get(f"{path}/archival-memory", user_id=ADA)
        for query in ["pier", "tea", "pie heron", "harbour opens"]:
            self.post(f"{path}/memory/search", {"query": query, "user_id": ADA})
            self.get(f"{path}/archival-memory/search", query=query, user_id=ADA)
        self.get(f"/v1/conversations/{conversation}")
        self.get(f"/v1/conversations/{conversation}/messages", limit=200)
        self.get(f"{path}/context", conversation_id=conversation)
        self.get(f"{path}/export", user_id=ADA)
        self.get(path)


def bob(http, sdk, agent, word):
    """What Bob does each time he gets a turn: he talks, notes, stores, searches, and does the same by other routes."""
    turns = iter(range(1000))

    def act():
        n = next(turns)
        kind = n % 6
        if kind == 0:
            say(http, agent, f"{word} I am Bob {n}, and a heron too." + note("human", f"Bob fact {n}."), BOB)
        elif kind == 1:
            say(http, agent, word + store(f"Bob's heron {n} nests on the pier too."), BOB)
        elif kind == 2:
            body = {"content": f"Bob's pie {n} of the pier.", "type": "archival_memory", "user_id": BOB}
            assert http.post(f"/v1/agents/{agent.id}/memory", json=body).status_code == 201
        elif kind == 3:
            say(http, agent, word + note("board", f"Bob was here {n}.") + '[[call archival_memory_search {"query": "heron"}]]', BOB)
        elif kind == 4:
            sdk.chat.completions.create(model=agent.id, messages=[{"role": "user", "content": f"{word} pier {n}"}], user=f"bob-{n}")
        else:
            http.get(f"/v1/agents/{agent.id}/archival-memory/search", params={"query": "heron", "user_id": BOB})

    return act


@pytest.mark.parametrize("more", [{}, {"enable_sleeptime": True}], ids=["alone", "with sleeptime"])
def test_others_change_nothing_for_a_person(http, client, server, model, make_agent, token, more):
    blocks = [
        {"label": "human", "value": "Nothing is known yet."},
        {"label": "persona", "value": "I am Sailor."},
        {"label": "board", "value": "The harbour opens at nine."},
    ]
    told, asked = [], []
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as sdk:
        for n, busy in enumerate([False, True]):
            agent = make_agent(name="Sailor", memory_blocks=blocks, tools=["core_memory_append"], **more)
            http.post(f"/v1/agents/{agent.id}/archival-memory", json={"text": "The harbour opens at nine, the pier at ten."})
            word = f"w{token}{'ab'[n]}"
            others = bob(http, sdk, agent, f"b{token}") if busy else lambda: None
            script = Script(http, client, sdk, agent, word, others)
            script.run()
            settled(http, agent)
            told.append([seen.replace(word, "WORD") for seen in script.seen])
            asked.append([normal(request).replace(word, "WORD") for request in model.requests(word)])
    assert len(asked[0]) >= 14 and "Ada's heron nests" in "".join(asked[0])
    for alone, among in zip(*told, strict=True):
        assert alone == among
    assert sorted(asked[0]) == sorted(asked[1])
    assert "Bob" not in "".join(told[1] + asked[1])


def settled(http, agent):
    """Waits until nothing that follows from a turn is at work."""
    while any(run["status"] in ("created", "running") for run in http.get("/v1/runs", params={"limit": 200}).json()):
        pass
