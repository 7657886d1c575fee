"""The process dies at each named point; the next one loses nothing and does nothing twice."""

import uuid

import pytest

from harness import MODEL, Gone, check, check_calls, eventually

POINTS = [
    "accepted:1",
    "answered:1",
    "answered:2",
    "calls.started:1",
    "tool.effect:1",
    "call.returned:1",
    "close.written:1",
    "close.written:2",
    "closed:1",
    "commit.before:1",
    "commit.before:2",
    "commit.before:3",
    "commit.before:4",
    "commit.after:1",
    "commit.after:2",
    "commit.after:3",
    "commit.after:4",
]


@pytest.mark.parametrize("point", POINTS)
def test_a_turn_with_a_tool_survives_a_crash_at(point, server):
    server.start()
    agent = server.make_agent()
    server.kill()
    server.start(crash=point)
    text = f"count this {uuid.uuid4()}"
    acknowledged = []
    try:
        status, _ = server.send(agent, f"{text} [[call external_counter {{}}]]")
        if status == 200:
            acknowledged.append(text)
    except Gone:
        pass
    eventually(lambda: not server.is_alive(), 10, f"the process dies at {point}")
    server.kill()
    server.start()
    check(server, agent, acknowledged, [text])


NOTE = """
def note(word: str) -> str:
    \"\"\"Notes a word.

    Args:
        word: what to note
    \"\"\"
    with open("FOLDER/notes", "a") as notes:
        notes.write(word + chr(10))
    return "noted"
"""


@pytest.mark.parametrize("point", ["calls.started:1", "tool.effect:1", "call.returned:1", "close.written:1", "closed:1"])
def test_a_tool_that_somebody_wrote_runs_once_though_the_process_dies_at(point, server):
    server.start()
    grants = {"folders": [{"path": str(server.granted), "access": "write"}]}
    body = {"source_code": NOTE.replace("FOLDER", str(server.granted)), "grants": grants}
    status, tool = server.request("POST", "/v1/tools/", body)
    assert status == 200, tool
    agent = server.make_agent()
    status, attached = server.request("PATCH", f"/v1/agents/{agent}/tools/attach/{tool['id']}")
    assert status == 200, attached
    server.kill()
    server.start(crash=point)
    text = f"note this {uuid.uuid4()}"
    acknowledged = []
    try:
        status, _ = server.send(agent, f'{text} [[call note {{"word": "one"}}]]')
        acknowledged = [text] if status == 200 else []
    except Gone:
        pass
    eventually(lambda: not server.is_alive(), 10, f"the process dies at {point}")
    server.kill()
    server.start()
    check(server, agent, acknowledged, [text])
    notes = server.granted / "notes"
    noted = notes.read_text().splitlines() if notes.exists() else []
    assert noted == ([] if point == "calls.started:1" else ["one"])
    status, answer = server.send(agent, '[[call note {"word": "two"}]]')
    assert status == 200 and notes.read_text().splitlines() == [*noted, "two"], answer


@pytest.mark.parametrize(
    "point",
    ["accepted:1", "calls.started:1", "tool.effect:1", "call.returned:1", "answers.taken:1", "answered:1", "close.written:1", "closed:1"],
)
def test_an_approved_call_runs_once_though_the_process_dies_at(point, server):
    server.start()
    grants = {"folders": [{"path": str(server.granted), "access": "write"}]}
    body = {
        "source_code": NOTE.replace("FOLDER", str(server.granted)),
        "grants": grants,
        "default_requires_approval": True,
    }
    status, tool = server.request("POST", "/v1/tools/", body)
    assert status == 200, tool
    agent = server.make_agent()
    status, attached = server.request("PATCH", f"/v1/agents/{agent}/tools/attach/{tool['id']}")
    assert status == 200, attached
    text = f"note this {uuid.uuid4()}"
    status, asked = server.send(agent, f'{text} [[call note {{"word": "one"}}]]')
    assert status == 200 and asked["stop_reason"]["stop_reason"] == "requires_approval", asked
    call = asked["messages"][-1]["tool_call"]["tool_call_id"]
    approval = {"messages": [{"type": "approval", "approvals": [{"type": "approval", "tool_call_id": call, "approve": True}]}]}
    server.kill()
    server.start(crash=point)
    acknowledged = []
    try:
        status, _ = server.request("POST", f"/v1/agents/{agent}/messages", approval)
        acknowledged = [text] if status == 200 else []
    except Gone:
        pass
    eventually(lambda: not server.is_alive(), 10, f"the process dies at {point}")
    server.kill()
    server.start()
    notes = server.granted / "notes"
    noted = lambda: notes.read_text().splitlines() if notes.exists() else []
    # Sent again, as a client does that heard nothing: whatever became of the first, it runs at most once.
    eventually(lambda: server.request("POST", f"/v1/agents/{agent}/messages", approval)[0] == 200, 20, "the answer is taken")
    check(server, agent, acknowledged, [text])
    assert noted() == ([] if point == "calls.started:1" else ["one"]), point
    status, answer = server.send(agent, "hello again")
    assert status == 200 and answer["stop_reason"]["stop_reason"] == "end_turn", answer


@pytest.mark.parametrize("point", ["calls.started:1", "call.returned:1", "call.returned:2", "call.returned:3", "answers.taken:1"])
def test_what_a_client_answered_is_not_lost_when_the_process_dies_at(point, server):
    """A tool that was approved, one that the client ran, one that was denied, and an edit of memory, in one answer."""
    server.start()
    grants = {"folders": [{"path": str(server.granted), "access": "write"}]}
    tool = {"source_code": NOTE.replace("FOLDER", str(server.granted)), "grants": grants, "default_requires_approval": True}
    status, tool = server.request("POST", "/v1/tools/", tool)
    assert status == 200, tool
    agent = server.make_agent()
    status, _ = server.request("PATCH", f"/v1/agents/{agent}/tools/attach/{tool['id']}")
    assert status == 200
    mine = [{"name": "pick", "description": "Picks.", "parameters": {"type": "object", "properties": {}}}]
    calls = '[[call note {"word": "one"}]] [[call pick {}]] [[call note {"word": "two"}]] [[call memory_insert {"label": "human", "new_string": "wet"}]]'
    body = {"messages": [{"role": "user", "content": f"{uuid.uuid4()} {calls}"}], "client_tools": mine}
    status, asked = server.request("POST", f"/v1/agents/{agent}/messages", body)
    assert status == 200, asked
    ids = [call["tool_call_id"] for call in asked["messages"][-1]["tool_calls"]]
    answers = [
        {"type": "approval", "tool_call_id": ids[0], "approve": True},
        {"type": "tool", "tool_call_id": ids[1], "tool_return": "red", "status": "success"},
        {"type": "approval", "tool_call_id": ids[2], "approve": False, "reason": "too much"},
    ]
    approval = {"messages": [{"type": "approval", "approvals": answers}], "client_tools": mine}
    server.kill()
    server.start(crash=point)
    try:
        server.request("POST", f"/v1/agents/{agent}/messages", approval)
    except Gone:
        pass
    eventually(lambda: not server.is_alive(), 10, f"the process dies at {point}")
    server.kill()
    server.start()
    check(server, agent)
    messages = server.pages(f"/v1/agents/{agent}/messages")
    returned = {m["tool_call_id"]: m["tool_return"] for m in messages if m["message_type"] == "tool_return_message"}
    assert returned[ids[1]] == "red" and "too much" in returned[ids[2]], returned
    status, block = server.request("GET", f"/v1/agents/{agent}/core-memory/blocks/human")
    assert block["value"].count("wet") == 1, "an edit is made once"
    notes = server.granted / "notes"
    noted = notes.read_text().splitlines() if notes.exists() else []
    assert noted in ([], ["one"]) and (point == "calls.started:1" or noted == ["one"]), noted


@pytest.mark.parametrize("point", ["accepted:1", "mid-stream:3", "answered:1", "close.written:1", "closed:1"])
def test_a_background_stream_is_only_extended_after_a_crash_at(point, server):
    server.start()
    agent = server.make_agent()
    server.kill()
    server.start(crash=point)
    text = f"stream this {uuid.uuid4()} [[words 40]] [[delay 5]]"
    body = {
        "messages": [{"role": "user", "content": text}],
        "stream_tokens": True,
        "background": True,
    }
    seen, whole = server.stream(f"/v1/agents/{agent}/messages/stream", body)
    eventually(lambda: not server.is_alive(), 10, f"the process dies at {point}")
    server.kill()
    server.start()
    check(server, agent, [text] if whole else [], [text])
    for run in server.pages(f"/v1/runs/?agent_id={agent}"):
        if not run["background"]:
            continue
        replayed, ended = server.stream(f"/v1/runs/{run['id']}/stream", {"starting_after": 0})
        assert ended, "the replay ends with [DONE]"
        numbered = [frame for frame in seen if frame.get("seq_id")]
        again = [frame for frame in replayed if frame.get("seq_id")]
        assert again[: len(numbered)] == numbered, "what a client saw is replayed as it was"
        assert [f["message_type"] for f in replayed][-2:] == ["stop_reason", "usage_statistics"]


@pytest.mark.parametrize("point", ["accepted:1", "commit.before:2", "answers.kept:1", "commit.before:3", "commit.after:3"])
def test_what_one_client_answered_while_a_person_decides_survives_a_crash_at(point, server):
    server.start()
    tool = {"source_code": NOTE.replace("FOLDER", "/nowhere"), "default_requires_approval": True}
    status, tool = server.request("POST", "/v1/tools/", tool)
    assert status == 200, tool
    agent = server.make_agent()
    assert server.request("PATCH", f"/v1/agents/{agent}/tools/attach/{tool['id']}")[0] == 200
    mine = [{"type": "function", "function": {"name": "pick", "parameters": {"type": "object", "properties": {}}}}]
    asks = {"role": "user", "content": f'{uuid.uuid4()} [[call pick {{}}]] [[call note {{"word": "one"}}]]'}
    status, first = server.request("POST", "/v1/chat/completions", {"model": agent, "messages": [asks], "tools": mine})
    assert status == 200, first
    message = first["choices"][0]["message"]
    [call] = message["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "red"}
    body = {"model": agent, "messages": [asks, message, result], "tools": mine}
    server.kill()
    server.start(crash=point)
    try:
        server.request("POST", "/v1/chat/completions", body)
    except Gone:
        pass
    eventually(lambda: not server.is_alive(), 10, f"the process dies at {point}")
    server.kill()
    server.start()
    # Sent again, as a client does that heard nothing.
    status, answer = server.request("POST", "/v1/chat/completions", body)
    assert status == 200 and answer["choices"][0]["finish_reason"] == "stop", answer
    pending = server.request("GET", f"/v1/agents/{agent}?include=agent.pending_approval")[1]["pending_approval"]
    [left] = pending["tool_calls"]
    denial = {"type": "approval", "tool_call_id": left["tool_call_id"], "approve": False, "reason": "no"}
    status, done = server.request("POST", f"/v1/agents/{agent}/messages", {"messages": [{"type": "approval", "approvals": [denial]}]})
    assert status == 200, done
    check(server, agent)
    messages = server.pages(f"/v1/agents/{agent}/messages")
    returned = {m["tool_call_id"]: m["tool_return"] for m in messages if m["message_type"] == "tool_return_message"}
    assert returned[call["id"]] == "red", returned
