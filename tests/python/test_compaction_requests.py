"""Compaction as clients set it, ask for it and see it, and what happens at the same time."""

import json
import threading

import letta_client
import pytest

from conftest import client_of
from contexts import (
    FILLER,
    NAMES_FACTS,
    WINDOW,
    check_context,
    facts,
    history,
    in_context,
    raw_send,
    summarizer_requests,
    tell,
    tell_until_compacted,
)
from programs import MODEL, eventually
from talk import kinds, of_kind, raw_stream, reply, send, stop_reason, stream, user


# Modes and settings.


def test_mode_all_leaves_the_prompt_and_the_summary_alone(client, small):
    agent = small(compaction_settings={"mode": "all"})
    answer, told = tell_until_compacted(client, agent)
    (summary,) = of_kind(answer.messages, "summary_message")
    assert summary.compaction_stats.messages_count_after == 2
    assert facts(summary.summary) == {f"fact-{n}" for n in range(told - 1)}
    assert in_context(client, agent)[1] == summary.id and len(in_context(client, agent)) == 4


def test_the_share_that_leaves_is_a_setting(client, make_agent):
    gone = {}
    for share in (0.2, 0.6):
        agent = make_agent()
        for n in range(10):
            send(client, agent, f"hello {n}")
        settings = {"mode": "sliding_window", "sliding_window_percentage": share}
        done = client.agents.messages.compact(agent.id, compaction_settings=settings)
        gone[share] = done.num_messages_before + 1 - done.num_messages_after
    assert gone == {0.2: 4, 0.6: 12}


def test_another_model_and_prompt_make_the_summary(client, small, model, token):
    agent = small(prompt=f"{NAMES_FACTS} {token}", compaction_settings={"model": "openai-proxy/scripted-small"})
    tell_until_compacted(client, agent)
    (request, *_) = summarizer_requests(model, token)
    assert request["model"] == "scripted-small" and "tools" not in request
    assert "fact-0" in request["messages"][-1]["content"]


def test_a_long_summary_is_clipped(client, make_agent):
    agent = make_agent(compaction_settings={"prompt": "[[by-system]] [[words 500]]", "clip_chars": 300})
    for n in range(4):
        send(client, agent, f"hello {n}")
    done = client.agents.messages.compact(agent.id)
    assert len(done.summary) <= 300 and done.summary.startswith("Reply ")
    # A null is no setting.
    longer = {"mode": "all", "prompt": "[[by-system]] [[words 500]]", "clip_chars": None}
    done = client.agents.messages.compact(agent.id, compaction_settings=longer)
    assert 250 < len(done.summary) <= 300


def test_settings_are_patched_and_read(client, agent):
    settings = client.agents.update(agent.id, compaction_settings={"mode": "all", "clip_chars": 1000}).compaction_settings
    assert settings.mode == "all" and settings.clip_chars == 1000 and settings.prompt
    for wrong in ({"mode": "none"}, {"sliding_window_percentage": 3}, {"clip_chars": -5}):
        with pytest.raises(letta_client.APIStatusError) as refused:
            client.agents.update(agent.id, compaction_settings=wrong)
        assert refused.value.status_code in (400, 422)
    assert client.agents.retrieve(agent.id).compaction_settings.mode == "all"


# Compaction at a client's request.


def test_a_client_compacts_an_agent_and_gets_the_summary(client, make_agent):
    agent = make_agent(compaction_settings={"prompt": NAMES_FACTS})
    for n in range(5):
        send(client, agent, f"fact-{n}")
    done = client.agents.messages.compact(agent.id)
    assert (done.num_messages_before, done.num_messages_after) == (11, 9)
    assert done.summary == "Known: fact-0, fact-1."
    ids = check_context(client, agent)
    assert len(ids) == 9
    (summary,) = [m for m in history(client, agent) if m.id == ids[1]]
    notice = json.loads(summary.content)
    assert summary.message_type == "user_message" and notice["type"] == "system_alert"
    assert notice["compaction_stats"]["trigger"] == "manual" and done.summary in notice["message"]


def test_a_request_s_settings_go_before_the_agents_field_by_field(client, make_agent, model, token):
    agent = make_agent(compaction_settings={"prompt": f"{NAMES_FACTS} {token}", "clip_chars": 250})
    for n in range(40):
        send(client, agent, f"fact-{n}-with-a-rather-long-name-to-fill-the-summary")
    done = client.agents.messages.compact(agent.id, compaction_settings={"model": "openai-proxy/scripted-small"})
    assert done.summary.startswith("Known: fact-0") and len(done.summary) <= 250
    assert summarizer_requests(model, token)[-1]["model"] == "scripted-small"
    # Another mode brings its own prompt.
    asked = len(summarizer_requests(model, token))
    done = client.agents.messages.compact(agent.id, compaction_settings={"mode": "all"})
    assert done.num_messages_after == 2 and len(summarizer_requests(model, token)) == asked
    kept = client.agents.retrieve(agent.id).compaction_settings
    assert kept.mode == "sliding_window" and token in kept.prompt, "the agent's own settings stay"


def test_a_context_that_would_not_get_shorter_is_refused(client, agent, http):
    with pytest.raises(letta_client.BadRequestError, match="too few"):
        client.agents.messages.compact(agent.id)
    send(client, agent, "hello")
    client.agents.messages.compact(agent.id, compaction_settings={"mode": "all"})
    for _ in range(2):
        with pytest.raises(letta_client.BadRequestError):
            client.agents.messages.compact(agent.id, compaction_settings={"mode": "all"})
    assert reply(send(client, agent, "[[echo]] next")) == "[[echo]] next"
    assert http.post(f"/v1/agents/{agent.id}/summarize").status_code == 200, "without a body"


def test_unknown_things_and_wrong_settings_are_told(client, agent, http):
    unknown = "agent-00000000-0000-4000-8000-0000000000ff"
    assert http.post(f"/v1/agents/{unknown}/summarize", json={}).status_code == 404
    conversation = "conv-00000000-0000-4000-8000-0000000000ff"
    assert http.post(f"/v1/conversations/{conversation}/compact", json={}).status_code == 404
    wrong = {"compaction_settings": {"mode": "some"}}
    answer = http.post(f"/v1/agents/{agent.id}/summarize", json=wrong)
    assert answer.status_code in (400, 422) and "mode" in answer.text
    answer = http.post(f"/v1/agents/{agent.id}/summarize", json={"compaction_settings": "all"})
    assert answer.status_code == 422


def test_the_window_of_a_conversation_is_that_of_its_own_model(client, make_agent, http):
    agent = make_agent(compaction_settings={"prompt": NAMES_FACTS})
    thread = client.conversations.create(agent_id=agent.id, model="openai-proxy/scripted-small")
    for n in range(4):
        http.post(f"/v1/conversations/{thread.id}/messages", json={"input": f"fact-{n}", "streaming": False})
    client.conversations.messages.compact(thread.id)
    listed = http.get(f"/v1/conversations/{thread.id}/messages").json()
    (notice,) = [json.loads(m["content"]) for m in listed if "system_alert" in str(m.get("content"))]
    assert notice["compaction_stats"]["context_window"] == 8_192


def test_conversations_are_compacted_by_themselves(client, make_agent, http):
    agent = make_agent(context_window_limit=WINDOW, compaction_settings={"prompt": NAMES_FACTS})
    thread = client.conversations.create(agent_id=agent.id)
    send(client, agent, "in the default one")
    default = in_context(client, agent)

    def say(text):
        body = {"input": text, "streaming": False, "include_compaction_messages": True}
        return http.post(f"/v1/conversations/{thread.id}/messages", json=body).raise_for_status().json()

    compacted = 0
    for n in range(30):
        answer = say(f"fact-{n} {FILLER} [[overflow-above {WINDOW}]]")
        compacted += sum(m["message_type"] == "summary_message" for m in answer["messages"])
    assert compacted >= 1
    before = client.conversations.retrieve(thread.id).in_context_message_ids
    done = client.conversations.messages.compact(thread.id)
    after = client.conversations.retrieve(thread.id).in_context_message_ids
    assert (done.num_messages_before, done.num_messages_after) == (len(before), len(after))
    assert after[0] == before[0] and set(after[2:]) < set(before)
    assert in_context(client, agent) == default, "the other conversation is as it was"
    assert say("[[echo]] next")["messages"][-1]["content"] == "[[echo]] next"
    send(client, agent, "more")
    done = http.post("/v1/conversations/default/compact", json={"agent_id": agent.id, "compaction_settings": {"mode": "all"}})
    assert done.status_code == 200 and done.json()["num_messages_after"] == 2, done.text


# What clients see.


def test_streams_show_when_a_compaction_begins_and_what_came_of_it(client, small):
    for options in ({"stream_tokens": False}, {"stream_tokens": True}, {"stream_tokens": True, "background": True}):
        agent = small()
        for n in range(40):
            frames = stream(client, agent, f"fact-{n} {FILLER}", include_compaction_messages=True, **options)
            seen = [kind for kind in kinds(frames) if kind != "ping"]
            if "summary_message" in seen:
                break
        assert seen[:3] == ["event_message", "summary_message", "assistant_message"], options
        summary = of_kind(frames, "summary_message")[0]
        assert summary.summary.startswith("Known: fact-0") and summary.run_id
        assert stop_reason(frames) == "end_turn"
        ids = check_context(client, agent)
        assert ids[1] == summary.id


def test_who_did_not_ask_for_them_sees_no_compaction_messages(client, small):
    agent = small()
    for n in range(20):
        answer = send(client, agent, f"fact-{n} {FILLER}")
        assert kinds(answer.messages) == ["assistant_message"]
    for n in range(20):
        frames = stream(client, agent, f"fact-{n} {FILLER}", stream_tokens=True)
        assert not {"event_message", "summary_message"} & set(kinds(frames))
    listed = history(client, agent)
    summaries = [m for m in of_kind(listed, "user_message") if "system_alert" in str(m.content)]
    assert len(summaries) >= 2 and not of_kind(listed, "summary_message")
    for summary in summaries:
        notice = json.loads(summary.content)
        assert set(notice) == {"type", "message", "time", "compaction_stats"} and "Known: fact-" in notice["message"]


def test_a_background_run_s_compaction_is_replayed(client, small, http):
    agent = small()
    for n in range(40):
        body = {"input": f"fact-{n} {FILLER}", "streaming": True, "background": True, "stream_tokens": True,
                "include_compaction_messages": True}
        frames = [data for _, data in raw_stream(http, f"/v1/agents/{agent.id}/messages/stream", body)]
        shown = [frame for frame in frames if frame != "[DONE]" and frame["message_type"] != "ping"]
        if any(frame["message_type"] == "summary_message" for frame in shown):
            break
    numbers = [frame["seq_id"] for frame in shown if frame.get("seq_id")]
    assert numbers == sorted(set(numbers))
    run = next(frame["run_id"] for frame in shown if frame.get("run_id"))
    again = [data for _, data in raw_stream(http, f"/v1/runs/{run}/stream", {"starting_after": 0})]
    again = [frame for frame in again if frame != "[DONE]" and frame["message_type"] != "ping"]
    assert again == shown
    run = client.agents.messages.create_async(agent.id, messages=[user(f"fact-x {FILLER * 10}")])
    eventually(lambda: client.runs.retrieve(run.id).status == "completed", "the run is completed")


# Things at once.


def test_a_cancel_during_a_summary_ends_the_run_at_once_and_loses_nothing(client, small, model, token, http):
    agent = small(prompt=f"[[by-system]] [[hang]] {token}", window=32_000)
    tell(client, agent, 0, 12)
    client.agents.update(agent.id, context_window_limit=5_000)
    before = in_context(client, agent)
    answers = []
    sender = threading.Thread(target=lambda: answers.append(raw_send(http, agent, "go on")))
    sender.start()
    eventually(lambda: summarizer_requests(model, token), "the summarizer is asked")
    client.agents.messages.cancel(agent.id)
    sender.join(10)
    assert answers and answers[0].json()["stop_reason"]["stop_reason"] == "cancelled", answers
    assert set(before) <= set(in_context(client, agent))
    client.agents.update(agent.id, compaction_settings={"prompt": NAMES_FACTS})
    assert reply(send(client, agent, "[[echo]] next")) == "[[echo]] next"
    check_context(client, agent)


def test_a_client_s_compaction_while_a_turn_runs_is_refused_and_harms_nothing(client, make_agent, http, token, model):
    agent = make_agent(compaction_settings={"prompt": NAMES_FACTS})
    for n in range(4):
        send(client, agent, f"fact-{n}")
    answers = []
    sender = threading.Thread(target=lambda: answers.append(raw_send(http, agent, f"{token} [[hold {token}]]")))
    sender.start()
    eventually(lambda: model.requests(token), "the turn runs")
    answer = http.post(f"/v1/agents/{agent.id}/summarize", json={})
    assert answer.status_code == 409, answer.text
    model.release(token)
    sender.join(20)
    assert answers[0].json()["stop_reason"]["stop_reason"] == "end_turn"
    assert client.agents.messages.compact(agent.id).num_messages_before == 11


@pytest.mark.parametrize(("route", "count"), [("agents/{}", 3), ("conversations/default", 1)])
def test_messages_that_come_while_a_client_compacts_wait_and_are_answered(
    client, make_agent, http, token, model, route, count
):
    agent = make_agent(compaction_settings={"prompt": f"[[by-system]] [[hold {token}]] [[keep fact-]] {token}"})
    for n in range(4):
        send(client, agent, f"fact-{n}")
    answers = {}

    def compact(name):
        answers[name] = http.post(f"/v1/agents/{agent.id}/summarize", json={})

    def say(name):
        body = {"input": f"meanwhile {name}", "agent_id": agent.id, "streaming": False}
        answers[name] = http.post(f"/v1/{route.format(agent.id)}/messages", json=body)

    threads = [threading.Thread(target=compact, args=["compact"])]
    threads[0].start()
    eventually(lambda: summarizer_requests(model, token), "the summarizer is asked")
    second = http.post(f"/v1/agents/{agent.id}/summarize", json={})
    assert second.status_code == 409, second.text
    threads += [threading.Thread(target=say, args=[f"n{n}"]) for n in range(count)]
    for thread in threads[1:]:
        thread.start()
    eventually(lambda: len(http.get("/v1/runs/", params={"agent_id": agent.id, "active": True}).json()) >= count, "they wait")
    model.release(token)
    for thread in threads:
        thread.join(30)
    assert answers["compact"].json()["num_messages_after"] < 9, answers["compact"].text
    assert all(answers[f"n{n}"].json()["stop_reason"]["stop_reason"] == "end_turn" for n in range(count))
    ids = check_context(client, agent)
    assert len(ids) == answers["compact"].json()["num_messages_after"] + 2 * count


def test_turns_and_compactions_in_any_order_lose_nothing(client, small, http):
    agent = small(window=16_000)
    stop = threading.Event()
    codes = []

    def compact():
        while not stop.is_set():
            codes.append(http.post(f"/v1/agents/{agent.id}/summarize", json={}).status_code)

    compactor = threading.Thread(target=compact)
    compactor.start()
    try:
        for n in range(25):
            call = '[[call memory_insert {"label": "human", "new_string": "x"}]]' if n % 3 else ""
            assert send(client, agent, f"fact-{n} {call}").stop_reason.stop_reason == "end_turn"
    finally:
        stop.set()
        compactor.join(30)
    assert set(codes) <= {200, 400, 409} and 200 in codes, set(codes)
    check_context(client, agent)
    said = [m.content for m in of_kind(history(client, agent), "user_message") if str(m.content).startswith("fact-")]
    assert [text.split()[0] for text in said] == [f"fact-{n}" for n in range(25)]


def test_after_a_restart_the_compacted_context_is_what_it_was(own_server, own_client, model, token):
    server = own_server()
    client = own_client(server)
    settings = {"prompt": NAMES_FACTS}
    agent = client.agents.create(model=MODEL, context_window_limit=WINDOW, compaction_settings=settings)
    tell_until_compacted(client, agent)
    send(client, agent, f"before {token}")
    server.kill()
    server.start()
    with client_of(server) as again:
        send(again, agent, f"after {token}")
        check_context(again, agent)
    before, after = model.last_request(f"before {token}"), model.last_request(f"after {token}")
    assert after["messages"][: len(before["messages"])] == before["messages"], "the prefix is the same, byte for byte"
