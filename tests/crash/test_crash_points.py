"""The process dies at each named point; the next one loses nothing and does nothing twice."""

import uuid

import pytest

from harness import Gone, check, eventually

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
