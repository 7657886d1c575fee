"""Runs in the background: started, followed, resumed, cancelled."""

import time

import letta_client
import pytest

from programs import MODEL, eventually
from talk import kinds, of_kind, raw_stream, reply, send, stop_reason, stream, user

SLOW = "[[delay 30]] [[words 60]] slow"


def numbered(frames):
    return [f.seq_id for f in frames if getattr(f, "seq_id", None) is not None]


def content(frames):
    """Everything but pings, which belong to a connection and not to the run."""
    return [f.model_dump() for f in frames if f.message_type != "ping"]


def ended(client, run_id):
    return eventually(
        lambda: (run := client.runs.retrieve(run_id)).status in ("completed", "failed", "cancelled") and run,
        "the run is over",
    )


def test_an_async_message_answers_with_its_run_at_once(client, agent, token):
    run = client.agents.messages.create_async(agent.id, messages=[user(f"[[sleep 200]] async {token}")])
    assert run.id.startswith("run-") and run.status in ("created", "running") and run.background
    assert ended(client, run.id).stop_reason == "end_turn"
    said = list(client.runs.messages.list(run.id))
    assert kinds(said) == ["user_message", "assistant_message"]
    assert said[0].content == f"[[sleep 200]] async {token}"


def test_background_frames_are_numbered_without_gaps(client, agent):
    frames = stream(client, agent, "remember background", stream_tokens=True, background=True)
    numbers = numbered(frames)
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 5


def test_a_background_stream_can_be_read_again_from_any_frame(client, agent):
    frames = stream(client, agent, "remember to resume", stream_tokens=True, background=True)
    run_id = frames[0].run_id
    again = list(client.runs.messages.stream(run_id, starting_after=0))
    assert content(again) == content(frames)
    for after in (1, 3, numbered(frames)[-1]):
        rest = list(client.runs.messages.stream(run_id, starting_after=after))
        assert numbered(rest) == [n for n in numbered(frames) if n > after]
        assert kinds(rest)[-2:] == ["stop_reason", "usage_statistics"]


def test_a_reader_that_left_can_come_back_while_the_run_goes_on(client, agent):
    seen = []
    with client.agents.messages.stream(
        agent.id, messages=[user(SLOW)], stream_tokens=True, background=True
    ) as frames:
        for frame in frames:
            seen.append(frame)
            if len(seen) == 10:
                break
    rest = list(client.runs.messages.stream(seen[0].run_id, starting_after=seen[-1].seq_id))
    assert numbered(seen + rest) == list(range(1, numbered(rest)[-1] + 1))
    stored = of_kind(client.agents.messages.list(agent.id, limit=5).items, "assistant_message")
    assert reply(seen + rest) == stored[0].content


def test_two_readers_see_the_same(client, agent):
    run = client.agents.messages.create_async(agent.id, messages=[user(SLOW)])
    first = list(client.runs.messages.stream(run.id, starting_after=0))
    second = list(client.runs.messages.stream(run.id, starting_after=0))
    assert content(first) == content(second)
    assert reply(first)


def test_a_background_run_outlives_the_server(own_client, own_server):
    server = own_server()
    client = own_client(server)
    agent = client.agents.create(model=MODEL)
    frames = stream(client, agent, "hello", stream_tokens=True, background=True)
    server.kill()
    server.start()
    again = list(client.runs.messages.stream(frames[0].run_id, starting_after=0))
    assert content(again) == content(frames)


@pytest.mark.parametrize("after", [10_000, 2**63 - 1])
def test_a_reader_beyond_the_end_learns_how_the_run_ended(client, agent, http, after):
    for options in ({"background": True}, {}):
        frames = stream(client, agent, "hello", **options)
        run = frames[0].run_id
        eventually(lambda run=run: client.runs.retrieve(run).status == "completed", "the run is over")
        replay = raw_stream(http, f"/v1/runs/{run}/stream", {"starting_after": after})
        kinds_seen = [data["message_type"] for _, data in replay[:-1] if data["message_type"] != "ping"]
        assert kinds_seen == ["stop_reason", "usage_statistics"]
        assert replay[-1] == (None, "[DONE]")


def test_a_reader_ahead_of_a_run_sees_what_comes_next(client, agent):
    run = client.agents.messages.create_async(agent.id, messages=[user("[[sleep 500]] wait")])
    frames = list(client.runs.messages.stream(run.id, starting_after=10_000))
    assert stop_reason(frames) == "end_turn"


def test_a_run_is_cancelled_at_once(client, agent):
    run = client.agents.messages.create_async(agent.id, messages=[user("[[sleep 20000]] never")])
    eventually(lambda: client.runs.retrieve(run.id).status == "running", "the run has begun")
    started = time.monotonic()
    answer = client.agents.messages.cancel(agent.id, run_ids=[run.id])
    cancelled = ended(client, run.id)
    assert time.monotonic() - started < 1.0, "well under the model's 20 s, with room for a busy machine"
    assert answer == {run.id: "cancelled"}
    assert cancelled.status == "cancelled" and cancelled.stop_reason == "cancelled"
    assert send(client, agent, "and now?").stop_reason.stop_reason == "end_turn"


def test_a_cancelled_stream_ends_properly_and_keeps_its_text(client, agent):
    seen, cancelled = [], False
    messages = [user("[[delay 50]] [[words 200]] long")]
    with client.agents.messages.stream(agent.id, messages=messages, stream_tokens=True) as frames:
        for frame in frames:
            seen.append(frame)
            if frame.message_type == "assistant_message" and not cancelled:
                client.agents.messages.cancel(agent.id)
                cancelled = True
    assert stop_reason(seen) == "cancelled"
    (kept,) = of_kind(client.agents.messages.list(agent.id).items, "assistant_message")
    assert kept.content.startswith(reply(seen)) and len(kept.content.split()) < 200
    assert send(client, agent, "next").stop_reason.stop_reason == "end_turn"


def test_nothing_to_cancel_is_a_conflict(client, agent):
    with pytest.raises(letta_client.ConflictError, match="(?i)no active runs"):
        client.agents.messages.cancel(agent.id)


def test_an_ended_run_cannot_be_cancelled(client, agent):
    run_id = send(client, agent, "hello").messages[0].run_id
    with pytest.raises(letta_client.ConflictError):
        client.agents.messages.cancel(agent.id, run_ids=[run_id])
    assert client.runs.retrieve(run_id).status == "completed"


def test_the_stream_of_an_unknown_run_is_404(http):
    answer = http.post("/v1/runs/run-00000000-0000-4000-8000-0000000000ff/stream", json={"starting_after": 0})
    assert answer.status_code == 404


def test_the_last_frames_of_a_replay_have_no_number(http, client, agent):
    frames = stream(client, agent, "hello", stream_tokens=True, background=True)
    replay = raw_stream(http, f"/v1/runs/{frames[0].run_id}/stream", {"starting_after": 0})
    assert [body.get("seq_id") for _, body in replay[-3:-1]] == [None, None]
    assert replay[-1] == (None, "[DONE]")
