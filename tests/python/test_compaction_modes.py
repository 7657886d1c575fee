"""Compaction by the agent itself: its own model is asked at the end of the conversation as it sees it."""

import json

import pytest

from contexts import (
    DIGEST,
    FILLER,
    WINDOW,
    check_context,
    check_pairs,
    facts,
    history,
    in_context,
    tell,
    tell_until_compacted,
)
from talk import kinds, of_kind, reply, send

# Said by the last message of the request for a summary: names what begins with fact- in all of the conversation.
ASKS = "Write the summary now. [[keep-all fact-]]"
MODES = ["self_compact_sliding_window", "self_compact_all"]


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def own(make_agent, token):
    """Makes agents that summarize themselves when 8,000 tokens are full."""

    def make(mode, asks=ASKS, window=WINDOW, **settings):
        settings = {"mode": mode, "prompt": f"{asks} {token}", **settings}
        return make_agent(context_window_limit=window, compaction_settings=settings)

    return make


def asked(model, token):
    return [r for r in model.requests(token) if "Write the summary now." in str(r["messages"][-1]["content"])]


def test_the_summary_is_asked_for_behind_the_bytes_of_the_last_call(client, own, model, token, mode):
    agent = own(mode)
    told = 0
    answer = None
    for n in range(40):
        answer = send(client, agent, f"fact-{n} of-{token} {FILLER}", include_compaction_messages=True)
        told = n + 1
        if of_kind(answer.messages, "summary_message"):
            break
    (event,) = of_kind(answer.messages, "event_message")
    (summary,) = of_kind(answer.messages, "summary_message")
    stats = summary.compaction_stats
    assert event.event_data["trigger"] == stats.trigger == "post_step_context_check"
    assert stats.context_tokens_after < stats.context_tokens_before <= WINDOW
    assert stats.messages_count_before == 2 * (told - 1) + 1
    (request,) = asked(model, token)
    before = [r for r in model.requests(f"of-{token}") if r is not request and "Write the summary" not in str(r)]
    last = before[-2]
    assert "".join(json.dumps(tool) for tool in request["tools"]) == "".join(json.dumps(tool) for tool in last["tools"])
    shared = request["messages"][:-1]
    full = last["messages"] + [None]
    known = [m for m in shared[: len(last["messages"])]]
    assert known == full[: len(known)], "system prompt and history are those of the call before, from the beginning"
    assert len(shared) > 3
    assert request["model"] == "scripted" and "tool_choice" not in request
    gone = {f"fact-{n}" for n in range(told - 1)} if mode == "self_compact_all" else facts(summary.summary) - {"fact-"}
    assert facts(summary.summary) - {"fact-"} == gone and "fact-0" in gone
    ids = check_context(client, agent)
    assert ids[1] == summary.id
    if mode == "self_compact_all":
        assert stats.messages_count_after == 2
    else:
        assert stats.messages_count_after > 4


def test_without_the_wish_to_see_it_nothing_is_shown_of_it(client, own, token, mode):
    agent = own(mode)
    for n in range(40):
        answer = send(client, agent, f"fact-{n} {FILLER}")
        assert set(kinds(answer.messages)) <= {"assistant_message", "reasoning_message"}
        if len(in_context(client, agent)) < 2 * n:
            break
    else:
        raise AssertionError("the context is never compacted")
    summary = in_context(client, agent)[1]
    (told,) = [m for m in history(client, agent) if m.id == summary]
    assert told.message_type == "user_message" and "system_alert" in str(told.content)


def test_what_left_is_found_word_for_word(client, own, token, mode):
    agent = own(mode)
    send(client, agent, f"The spare key of {token} is under the third stone.")
    tell_until_compacted(client, agent)
    search = f'[[call conversation_search {{"query": "spare key {token}"}}]]'
    (found,) = of_kind(send(client, agent, search).messages, "tool_return_message")
    assert "under the third stone" in found.tool_return


def test_calls_and_returns_leave_together(client, own, model, token, mode):
    agent = own(mode)
    call = '[[call memory_insert {"label": "human", "new_string": "x"}]]'
    for n in range(25):
        send(client, agent, f"fact-{n} {token} {call if n % 2 else ''} {FILLER}")
        check_context(client, agent)
    for request in model.requests(token):
        check_pairs(request)
    assert asked(model, token)


def test_a_model_that_calls_a_tool_instead_is_asked_once_more_without(client, own, model, token, mode):
    agent = own(mode, 'Write the summary now. [[call conversation_search {"query": "x"}]] [[echo]]')
    answer, _ = tell_until_compacted(client, agent)
    tries = asked(model, token)
    assert len(tries) >= 2 and tries[1].get("tool_choice") == "none"
    assert "memory_insert" in json.dumps(tries[1]["tools"]), "the tools stay"
    assert answer.stop_reason.stop_reason == "end_turn"
    check_context(client, agent)


def test_what_the_agent_can_t_do_itself_is_left_to_a_summarizer(client, own, model, token):
    """self_compact_all, then self_compact_sliding_window, then all, whose model is another."""
    agent = own("self_compact_all", "Write the summary now. [[empty]] [[by-system]]", model="openai-proxy/scripted-small")
    answer, told = tell_until_compacted(client, agent)
    (summary,) = of_kind(answer.messages, "summary_message")
    assert summary.compaction_stats.messages_count_after == 2
    assert len(asked(model, token)) >= 2
    assert len(of_kind(answer.messages, "event_message")) == 1, "told once"
    assert answer.stop_reason.stop_reason == "end_turn"


def test_a_model_that_fails_never_holds_up_the_conversation(client, own, token, mode):
    agent = own(mode, "Write the summary now. [[error 400]] [[by-system]]")
    answer, told = tell_until_compacted(client, agent)
    (summary,) = of_kind(answer.messages, "summary_message")
    assert DIGEST in summary.summary and answer.stop_reason.stop_reason == "end_turn"
    assert reply(send(client, agent, "[[echo]] next")) == "[[echo]] next"
    check_context(client, agent)


def test_a_client_asks_an_agent_to_compact_itself(client, make_agent, model, token, mode):
    agent = make_agent(compaction_settings={"mode": "sliding_window", "prompt": "[[by-system]] [[keep fact-]]"})
    for n in range(5):
        send(client, agent, f"fact-{n}")
    settings = {"mode": mode, "prompt": f"{ASKS} {token}"}
    done = client.agents.messages.compact(agent.id, compaction_settings=settings)
    (request,) = asked(model, token)
    assert request["messages"][1]["content"] == "fact-0" and request["tools"]
    assert "fact-0" in done.summary
    expected = 2 if mode == "self_compact_all" else 9
    assert (done.num_messages_before, done.num_messages_after) == (11, expected)
    assert client.agents.retrieve(agent.id).compaction_settings.mode == "sliding_window"
    check_context(client, agent)


def test_another_mode_brings_its_own_prompt(client, make_agent, model, token, mode):
    agent = make_agent(compaction_settings={"mode": "sliding_window", "prompt": f"Mine. {token}"})
    for n in range(4):
        send(client, agent, f"hello-{token} {n}")
    client.agents.messages.compact(agent.id, compaction_settings={"mode": mode})
    last = [r for r in model.requests(f"hello-{token}") if "the server that runs you" in str(r["messages"][-1])]
    assert len(last) == 1 and "Mine." not in str(last[0]["messages"][-1])
    client.agents.update(agent.id, compaction_settings={"mode": mode})
    assert "the server that runs you" in client.agents.retrieve(agent.id).compaction_settings.prompt


def test_a_refused_request_is_made_shorter(client, own, model, token, mode):
    agent = own(mode, window=32_000)
    tell(client, agent, 0, 20)
    answer = send(client, agent, f"[[overflow-above 6000]] and now? {token}", include_compaction_messages=True)
    assert answer.stop_reason.stop_reason == "end_turn"
    (summary,) = of_kind(answer.messages, "summary_message")
    assert summary.compaction_stats.trigger == "context_window_exceeded"
    check_context(client, agent)
