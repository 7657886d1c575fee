"""The process dies while a conversation is compacted: by a summarizer or by the agent itself, for a turn or for a client."""

import uuid

import pytest

from harness import MODEL, Gone, check, check_calls, eventually

WINDOW = 8_000


SUMMARIZER = {"prompt": "[[by-system]] [[keep fact-]]"}


def by_itself(mode):
    """Settings with which the agent's own model makes the summary."""
    return {"mode": mode, "prompt": "Write the summary now. [[keep-all fact-]]"}


def make_small_agent(server, settings):
    """An agent whose next message makes a compaction necessary; the messages that it was told."""
    body = {
        "model": MODEL,
        "context_window_limit": 32_000,
        "memory_blocks": [{"label": "human", "value": "Ada."}],
        "compaction_settings": settings,
    }
    status, agent = server.request("POST", "/v1/agents/", body)
    assert status == 200, agent
    told = [f"fact-{n} {uuid.uuid4()}" for n in range(24)]
    for text in told:
        call = '[[call memory_insert {"label": "human", "new_string": "x"}]]'
        status, answer = server.send(agent["id"], f"{text} {call} {'lorem ipsum dolor ' * 60}")
        assert status == 200, answer
    status, agent = server.request("PATCH", f"/v1/agents/{agent['id']}", {"context_window_limit": WINDOW})
    assert status == 200, agent
    return agent["id"], told


def check_context(server, agent):
    """The context is the prompt, perhaps a summary, and messages of which no call is without its return."""
    _, state = server.request("GET", f"/v1/agents/{agent}")
    messages = [m for m in server.pages(f"/v1/agents/{agent}/messages") if m["id"] in state["message_ids"]]
    assert messages[0]["message_type"] == "system_message" and messages[0]["id"] == state["message_ids"][0]
    assert len(state["message_ids"]) == len(set(state["message_ids"])) == len({m["id"] for m in messages})
    check_calls(messages)
    return sum("system_alert" in str(m.get("content")) for m in messages)


def compact_and_die(server, settings, point, text):
    """A message that makes a compaction necessary, at whose point the process dies; what holds afterwards."""
    server.start()
    agent, told = make_small_agent(server, settings)
    server.kill()
    server.start(crash=point)
    sent = f"{text} {uuid.uuid4()}"
    try:
        status, _ = server.send(agent, sent)
        acknowledged = [sent] if status == 200 else []
    except Gone:
        acknowledged = []
    eventually(lambda: not server.is_alive(), 10, f"the process dies at {point}")
    server.kill()
    server.start()
    check(server, agent, [*told, *acknowledged], [sent])
    assert check_context(server, agent) == 1
    status, found = server.request("POST", "/v1/messages/search", {"query": told[0], "agent_id": agent})
    assert status == 200 and any(told[0] in str(item) for item in found)
    return agent


@pytest.mark.parametrize("point", ["compaction.summarized:1", "compaction.stored:1", "answered:1", "close.written:1"])
@pytest.mark.parametrize("text", ["go on", "[[overflow-above 4000]] go on"])
def test_a_compaction_survives_a_crash_at(point, text, server):
    """Before the call, and after the provider's refusal of it."""
    compact_and_die(server, SUMMARIZER, point, text)


# Before the agent is asked for its summary, after it has told it, in the middle of the write, and around its commit.
OWN = ["compaction.asked:1", "compaction.summarized:1", "compaction.written:1", "commit.before:2", "compaction.stored:1"]


@pytest.mark.parametrize("mode", ["self_compact_sliding_window", "self_compact_all"])
@pytest.mark.parametrize("point", OWN)
def test_a_compaction_by_the_agent_itself_survives_a_crash_at(point, mode, server):
    agent = compact_and_die(server, by_itself(mode), point, "go on")
    _, state = server.request("GET", f"/v1/agents/{agent}")
    summary = [m for m in server.pages(f"/v1/agents/{agent}/messages") if m["id"] == state["message_ids"][1]]
    assert "fact-0" in str(summary[0]["content"]), "the summary is the agent's own, also at the second try"


@pytest.mark.parametrize("point", ["compaction.asked:1", "compaction.written:1", "answered:1"])
def test_a_compaction_by_the_agent_itself_after_a_refusal_survives_a_crash_at(point, server):
    """The summary is a part of the step's commit then."""
    compact_and_die(server, by_itself("self_compact_sliding_window"), point, "[[overflow-above 6000]] go on")


@pytest.mark.parametrize(
    ("settings", "point"),
    [
        (SUMMARIZER, "commit.before:1"),
        (by_itself("self_compact_all"), "compaction.asked:1"),
        (by_itself("self_compact_all"), "compaction.written:1"),
        (by_itself("self_compact_sliding_window"), "compaction.written:1"),
    ],
)
def test_a_compaction_that_a_client_asked_for_survives_a_crash(settings, point, server):
    server.start()
    agent, told = make_small_agent(server, settings)
    server.kill()
    server.start(crash=point)
    try:
        server.request("POST", f"/v1/agents/{agent}/summarize", {})
    except Gone:
        pass
    eventually(lambda: not server.is_alive(), 10, "the process dies")
    server.kill()
    server.start()
    # Nothing holds the conversation any more.
    status, done = server.request("POST", f"/v1/agents/{agent}/summarize", {})
    assert status == 200 and done["num_messages_after"] < done["num_messages_before"], done
    check(server, agent, told)
    assert check_context(server, agent) == 1
