"""Answers as streams: by step and by token."""

import letta_client
import pytest

from talk import kinds, of_kind, raw_stream, reply, send, stop_reason, stream, user


def data(frames):
    return [body for _, body in frames]


def post(http, agent, text, **options):
    path = f"/v1/agents/{agent.id}/messages/stream"
    return raw_stream(http, path, {"messages": [user(text)], **options})


def test_a_step_stream_has_whole_messages(client, agent):
    frames = stream(client, agent, "remember the stream", stream_tokens=False, include_pings=False)
    assert kinds(frames) == [
        "tool_call_message", "tool_return_message", "assistant_message", "stop_reason", "usage_statistics",
    ]
    assert stop_reason(frames) == "end_turn"
    assert frames[-1].step_count == 2


def test_a_token_streams_fragments_are_the_whole_text(client, agent):
    whole = reply(send(client, agent, "the same question"))
    frames = stream(client, agent, "the same question", stream_tokens=True)
    parts = of_kind(frames, "assistant_message")
    assert len(parts) > 5, "the text comes in fragments"
    assert "".join(part.content for part in parts) == whole
    assert len({(part.id, part.otid) for part in parts}) == 1


def test_fragments_of_a_call_are_its_name_and_then_its_arguments(http, agent):
    frames = data(post(http, agent, "remember the fragments", stream_tokens=True))
    calls = [f for f in frames if isinstance(f, dict) and f["message_type"] == "tool_call_message"]
    first, *rest = [f["tool_calls"] for f in calls]
    assert first["name"] == "memory_insert" and rest
    assert all("name" not in delta and delta["tool_call_id"] == first["tool_call_id"] for delta in rest)
    arguments = first.get("arguments", "") + "".join(delta["arguments"] for delta in rest)
    assert "remember the fragments" in arguments and arguments.endswith("}")
    (returned,) = [f for f in frames if isinstance(f, dict) and f["message_type"] == "tool_return_message"]
    assert returned["tool_call_id"] == first["tool_call_id"] and returned["status"] == "success"


def test_streamed_messages_are_the_stored_ones(client, agent):
    frames = stream(client, agent, "remember what is stored", stream_tokens=True)
    streamed = {f.id for f in frames if f.message_type.endswith("_message")}
    stored = {m.id: m for m in client.agents.messages.list(agent.id, limit=10).items}
    assert streamed <= set(stored)
    (final,) = of_kind(stored.values(), "assistant_message")
    assert final.content == reply(frames)
    (otid,) = {f.otid for f in of_kind(frames, "assistant_message")}
    assert final.otid == otid


def test_the_frames_are_framed_as_clients_expect(http, agent):
    frames = post(http, agent, "hello", stream_tokens=True)
    assert all(event is None for event, _ in frames), "clients drop frames with an event name"
    bodies = data(frames)
    assert bodies[0]["message_type"] == "ping" and bodies[0]["run_id"].startswith("run-")
    assert [b if isinstance(b, str) else b["message_type"] for b in bodies[-3:]] == [
        "stop_reason", "usage_statistics", "[DONE]",
    ]
    assert bodies[-3] == {"message_type": "stop_reason", "stop_reason": "end_turn"}
    assert {b["run_id"] for b in bodies[:-3]} == {bodies[0]["run_id"]}


def test_pings_can_be_left_out(http, agent):
    frames = data(post(http, agent, "hello", include_pings=False))
    assert all(f == "[DONE]" or f["message_type"] != "ping" for f in frames)


def test_a_stream_can_be_filtered_by_kind(http, agent):
    frames = data(post(http, agent, "remember me", include_return_message_types=["assistant_message"]))
    found = {f["message_type"] for f in frames if f != "[DONE]"}
    assert found <= {"ping", "assistant_message", "stop_reason", "usage_statistics"}
    assert "assistant_message" in found


def test_the_streaming_flag_of_the_plain_route_streams(client, agent):
    with client.agents.messages.create(
        agent.id, messages=[user("hello")], streaming=True, stream_tokens=True
    ) as frames:
        assert reply(list(frames)).startswith("Reply ")


def test_reasoning_is_streamed_before_the_answer(client, agent):
    frames = stream(client, agent, "[[reasoning let me think]] hi", stream_tokens=True, include_pings=False)
    seen = list(dict.fromkeys(kinds(frames)))
    assert seen[:2] == ["reasoning_message", "assistant_message"]
    assert "".join(f.reasoning for f in of_kind(frames, "reasoning_message")) == "let me think"


def test_parallel_calls_stream_apart(http, agent):
    calls = "".join(f'[[call memory_insert {{"label": "human", "new_string": "n{n}"}}]]' for n in range(2))
    frames = [f for f in data(post(http, agent, calls, stream_tokens=True)) if isinstance(f, dict)]
    arguments = {}
    for frame in frames:
        if frame["message_type"] == "tool_call_message":
            delta = frame["tool_calls"]
            deltas = delta if isinstance(delta, list) else [delta]
            for one in deltas:
                arguments.setdefault(one["tool_call_id"], "")
                arguments[one["tool_call_id"]] += one.get("arguments") or ""
    assert len(arguments) == 2
    assert sorted("n0" in a for a in arguments.values()) == [False, True]


def test_a_stream_to_an_unknown_agent_is_404(client):
    with pytest.raises(letta_client.NotFoundError):
        stream(client, "agent-00000000-0000-4000-8000-0000000000ff", "hello")


@pytest.mark.parametrize(
    ("directive", "kind"),
    [("[[error 401]]", "llm_authentication"), ("[[error 400]]", "llm_bad_request"), ("[[error 500]]", "llm_error")],
)
def test_a_providers_failure_is_an_error_frame(http, agent, directive, kind):
    frames = post(http, agent, f"{directive} in a stream", stream_tokens=True)
    (_, stop), (event, error), (_, done) = frames[-3:]
    assert stop["message_type"] == "stop_reason" and stop["stop_reason"] == "llm_api_error"
    assert event == "error" and error["message_type"] == "error_message"
    assert error["error_type"] == kind and error["run_id"] == frames[0][1]["run_id"] and error["message"]
    assert done == "[DONE]"


def test_the_sdk_raises_on_an_error_frame(client, agent):
    with pytest.raises(letta_client.APIError):
        stream(client, agent, "[[error 401]] for the sdk")


def test_a_connection_that_breaks_in_the_middle_ends_in_an_error_frame(http, client, agent):
    frames = post(http, agent, "[[drop]] [[words 40]] half", stream_tokens=True)
    (event, error), (_, done) = frames[-2:]
    assert event == "error" and error["error_type"] in ("stream_incomplete", "llm_error", "llm_connection")
    assert done == "[DONE]"
    assert send(client, agent, "still there?").stop_reason.stop_reason == "end_turn"


def test_a_call_of_which_only_the_beginning_came_is_not_made(http, client, agent):
    frames = post(http, agent, '[[cut 2]] [[call conversation_search {"query": "sails"}]]', stream_tokens=True)
    (event, error), _ = frames[-2:]
    assert event == "error" and error["error_type"] == "stream_incomplete"
    assert send(client, agent, "still there?").stop_reason.stop_reason == "end_turn"
    assert "tool_return_message" not in [m.message_type for m in client.agents.messages.list(agent.id)]


def test_a_client_that_leaves_does_not_stop_the_run(client, http, agent):
    path = f"/v1/agents/{agent.id}/messages/stream"
    body = {"messages": [user("[[delay 20]] [[words 40]] go on without me")], "stream_tokens": True}
    with http.stream("POST", path, json=body) as response:
        next(response.iter_lines())
    # The next message waits for its turn, behind the run that was left alone.
    send(client, agent, "next")
    (left, _) = of_kind(client.agents.messages.list(agent.id, order="asc").items, "assistant_message")
    assert len(left.content.split()) >= 40


def test_an_unknown_model_is_refused_before_a_run_begins(http, client, agent):
    for form in ("messages", "messages/stream", "messages/async"):
        body = {"messages": [user("hello")], "override_model": "nope/none"}
        answer = http.post(f"/v1/agents/{agent.id}/{form}", json=body)
        assert answer.status_code in (400, 404) and "nope" in answer.text
    assert list(client.runs.list(agent_ids=[agent.id])) == []
