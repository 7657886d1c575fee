"""Conversations that outgrow their model's window: older messages give way to a summary, nothing is lost, and
the agent goes on."""

import json
import time

import pytest

from contexts import (
    DIGEST,
    FILLER,
    NAMES_FACTS,
    WINDOW,
    check_context,
    check_pairs,
    facts,
    history,
    in_context,
    raw_send,
    summarizer_requests,
    tell,
    tell_until_compacted,
)
from programs import MODEL, free_port
from talk import of_kind, reply, send, user


# Before the call.


def test_a_conversation_of_any_length_goes_on_and_no_request_is_larger_than_the_window(client, small, model, token):
    agent = small()
    for n in range(60):
        # The model itself refuses what is larger than the window.
        answer = send(client, agent, f"fact-{n} {token} [[overflow-above {WINDOW}]] {FILLER}")
        assert answer.stop_reason.stop_reason == "end_turn"
        assert answer.usage.prompt_tokens <= WINDOW
    turns = [request for request in model.requests(token) if "[[by-system]]" not in str(request["messages"][0])]
    assert len(turns) == 60, "no request was refused"
    assert len(check_context(client, agent)) < 45
    said = [m.content for m in of_kind(history(client, agent), "user_message") if token in str(m.content)]
    assert len([text for text in said if text.startswith("fact-")]) == 60


def test_what_left_stands_in_the_summary_and_the_newest_messages_stay(client, small, model, token):
    agent = small()
    answer, told = tell_until_compacted(client, agent)
    (event,) = of_kind(answer.messages, "event_message")
    (summary,) = of_kind(answer.messages, "summary_message")
    stats = summary.compaction_stats
    assert event.event_type == "compaction" and event.event_data["context_window"] == WINDOW
    assert event.event_data["trigger"] == stats.trigger == "post_step_context_check"
    assert event.event_data["context_token_estimate"] == stats.context_tokens_before
    assert stats.context_tokens_after < stats.context_tokens_before <= WINDOW
    assert stats.messages_count_after < stats.messages_count_before == 2 * (told - 1) + 1
    assert stats.context_window == WINDOW
    send(client, agent, f"and now? {token}")
    request = model.last_request(token)
    check_pairs(request)
    first, *others = request["messages"][1:]
    assert first["role"] == "user" and "conversation_search" in str(first["content"])
    shown = facts(str(first["content"]).replace("'", " "))
    kept = {fact for m in others if m["role"] == "user" for fact in facts(m["content"])}
    assert shown and not shown & kept
    assert shown | kept == {f"fact-{n}" for n in range(told)}
    ids = check_context(client, agent)
    assert ids[1] == summary.id


def test_answers_are_not_counted_twice(client, small):
    """The answers are in the next request: whoever adds them to the last one compacts at half of the window."""
    agent = small()
    most = 0
    for n in range(40):
        answer = send(client, agent, f"[[words 800]] {n}", include_compaction_messages=True)
        if of_kind(answer.messages, "summary_message"):
            break
        most = answer.usage.prompt_tokens
    assert most > WINDOW * 0.7, "compacted too early"


def test_summaries_are_summarized_again(client, small):
    agent = small()
    told = 0
    for _ in range(3):
        answer, told = tell_until_compacted(client, agent, told)
    (summary,) = of_kind(answer.messages, "summary_message")
    assert {"fact-0", "fact-12", "fact-18"} <= facts(summary.summary)
    ids = check_context(client, agent)
    standing = [m for m in history(client, agent) if m.id in ids and "system_alert" in str(m.__dict__.get("content"))]
    assert [m.id for m in standing] == [summary.id], "one summary, the newest, is in the context"


def test_a_long_turn_is_compacted_between_its_steps_and_still_sees_what_it_is_about(client, small, model, token):
    agent = small()
    send(client, agent, f"harbour {FILLER}")
    search = '[[call conversation_search {"query": "harbour"}]] ' * 3
    answer = send(client, agent, f"{search} [[steps 50]] {token}", max_steps=12, include_compaction_messages=True)
    assert answer.stop_reason.stop_reason == "max_steps" and len(of_kind(answer.messages, "summary_message")) > 1
    assert len(of_kind(answer.messages, "tool_return_message")) == 36
    asked = [request for request in model.requests(token) if "[[by-system]]" not in request["messages"][0]["content"]]
    assert len(asked) == 12
    for request in asked:
        check_pairs(request)
        assert token in [m for m in request["messages"] if m["role"] == "user"][-1]["content"]
    # In the store they stand in the same order.
    summary, question = check_context(client, agent)[1:3]
    told = {m.id: str(m.content) for m in of_kind(history(client, agent), "user_message")}
    assert "system_alert" in told[summary] and token in told[question]
    assert reply(send(client, agent, "[[echo]] go on")) == "[[echo]] go on"


# After the provider's refusal.


@pytest.mark.parametrize(
    "words",
    [
        "openai", "responses", "anthropic", "anthropic-size", "llama-server", "ollama", "ollama-native", "vllm",
        "lm-studio", "openrouter",
    ],
)
def test_a_refusal_in_any_back_ends_words_is_followed_by_a_shorter_try(client, small, model, token, words):
    agent = small(window=32_000)
    tell(client, agent, 0, 20)
    limit = f"[[overflow-above 6000]] [[refusal {words}]]"
    answer = send(client, agent, f"{limit} and now? {token}", include_compaction_messages=True)
    assert answer.stop_reason.stop_reason == "end_turn"
    (event, *_) = of_kind(answer.messages, "event_message")
    (summary,) = of_kind(answer.messages, "summary_message")
    assert event.event_data["trigger"] == summary.compaction_stats.trigger == "context_window_exceeded"
    tries = model.requests(f"and now? {token}")
    assert 2 <= len(tries) <= 4
    for request in tries:
        check_pairs(request)
    ids = check_context(client, agent)
    assert ids[1] == summary.id
    assert reply(send(client, agent, f"[[echo]] {limit} next")).endswith("next")


def test_a_model_that_always_refuses_is_asked_a_few_times_only_and_nothing_is_lost(client, small, model, token, http):
    agent = small(window=32_000)
    tell(client, agent, 0, 20)
    before = in_context(client, agent)
    answer = raw_send(http, agent, f"[[overflow]] {token}")
    assert answer.status_code == 400 and answer.json()["error"]["type"] == "context_window_exceeded", answer.text
    assert 2 <= len(model.requests(f"[[overflow]] {token}")) <= 4
    assert in_context(client, agent) == before, "a request that fails changes nothing"
    assert reply(send(client, agent, "[[echo]] next")) == "[[echo]] next"


def test_a_window_that_is_far_smaller_than_it_is_told_is_found_out_and_kept_to(client, small, model, token):
    """As with servers that load a model with a window of their own."""
    agent = small(model="openai-proxy/scripted-narrow", window=128_000)
    for n in range(25):
        send(client, agent, f"fact-{n} {FILLER} {token}")
    send(client, agent, f"and now? {token}")
    assert len(model.requests(f"and now? {token}")) == 1, "what was learned is kept to"
    check_context(client, agent)


@pytest.mark.parametrize("narrow", ["openai-proxy/scripted-narrow", "openai-proxy/scripted-small"])
def test_an_agent_with_a_long_context_goes_over_to_a_model_with_a_small_window(client, small, model, token, narrow):
    agent = small(window=128_000)
    for n in range(25):
        send(client, agent, f"fact-{n} {FILLER * 22}")
    client.agents.update(agent.id, model=narrow)
    answer = send(client, agent, f"and now? {token}")
    assert answer.stop_reason.stop_reason == "end_turn" and answer.usage.prompt_tokens < WINDOW
    assert len(model.requests(f"and now? {token}")) <= 4
    assert reply(send(client, agent, "[[echo]] next")) == "[[echo]] next"
    check_context(client, agent)


def test_a_request_for_another_model_leaves_the_context_as_it_is(client, small, model, token):
    agent = small(window=128_000)
    for n in range(10):
        send(client, agent, f"fact-{n} {FILLER * 10}")
    before = in_context(client, agent)
    answer = send(client, agent, f"small one? {token}", override_model="openai-proxy/scripted-small")
    assert answer.stop_reason.stop_reason == "end_turn" and answer.usage.prompt_tokens < WINDOW
    assert in_context(client, agent)[: len(before)] == before
    assert send(client, agent, "the large one").usage.prompt_tokens > 3 * WINDOW


# Calls and returns.


@pytest.mark.parametrize("mode", ["sliding_window", "all"])
@pytest.mark.parametrize("calls", [1, 4])
def test_calls_and_returns_leave_together(client, small, model, token, mode, calls):
    agent = small(compaction_settings={"mode": mode})
    call = '[[call memory_insert {"label": "human", "new_string": "x"}]] '
    for n in range(30):
        send(client, agent, f"fact-{n} {token} {call * calls if n % 2 else ''} {FILLER}")
        check_context(client, agent)
    for request in model.requests(token):
        if "[[by-system]]" not in request["messages"][0]["content"]:
            check_pairs(request)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_calls_and_returns_leave_together_when_a_client_compacts(client, make_agent, model, token, share):
    agent = make_agent()
    for n in range(4):
        send(client, agent, '[[call memory_insert {"label": "human", "new_string": "x"}]] ' * 3 + f"{n}")
    settings = {"mode": "sliding_window", "sliding_window_percentage": share}
    done = client.agents.messages.compact(agent.id, compaction_settings=settings)
    ids = check_context(client, agent)
    assert done.num_messages_after == len(ids) < done.num_messages_before == 17
    send(client, agent, f"next {token}")
    check_pairs(model.last_request(token))


# A summarizer that does not do its work.


@pytest.mark.parametrize(
    "trouble",
    ["[[error 400]]", "[[error 401]]", "[[error 429]]", "[[error 500]]", "[[empty]]", "[[drop]]", "[[overflow]]", "[[call x]]"],
)
def test_a_summarizer_that_fails_is_replaced_by_a_digest(own_server, own_client, trouble):
    # On a server of its own: what failed is not asked for a while, also by other agents.
    client = own_client(own_server())
    settings = {"prompt": f"[[by-system]] {trouble}"}
    agent = client.agents.create(model=MODEL, context_window_limit=WINDOW, compaction_settings=settings)
    answer, told = tell_until_compacted(client, agent)
    assert answer.stop_reason.stop_reason == "end_turn"
    (summary,) = of_kind(answer.messages, "summary_message")
    assert summary.summary.startswith(DIGEST)
    assert len(facts(summary.summary)) > 5, "what was said is told in short"
    tell(client, agent, told, told + 20)
    check_context(client, agent)


@pytest.mark.parametrize("trouble", ["[[hang]]", "[[sleep 60000]]"])
def test_a_summarizer_that_is_too_slow_does_not_hold_up_the_turn(own_server, own_client, trouble):
    server = own_server(MNEMIC_COMPACTION_TIMEOUT_SECONDS="1")
    client = own_client(server, timeout=20)
    settings = {"prompt": f"[[by-system]] {trouble}"}
    agent = client.agents.create(model=MODEL, context_window_limit=WINDOW, compaction_settings=settings)
    answer, _ = tell_until_compacted(client, agent)
    assert of_kind(answer.messages, "summary_message")[0].summary.startswith(DIGEST)
    done = client.agents.messages.compact(agent.id)
    assert done.summary.startswith(DIGEST)
    assert reply(send(client, agent, "[[echo]] next")) == "[[echo]] next"


@pytest.mark.parametrize("trouble", ["[[hang]]", "[[error 500]]"])
def test_a_summarizer_that_hung_or_failed_is_not_waited_for_by_the_next_turns(
    own_server, own_client, model, token, trouble
):
    server = own_server(MNEMIC_COMPACTION_TIMEOUT_SECONDS="3")
    client = own_client(server)
    settings = {"prompt": f"[[by-system]] {trouble} {token}"}
    agent = client.agents.create(model=MODEL, context_window_limit=WINDOW, compaction_settings=settings)
    _, told = tell_until_compacted(client, agent)
    asked = len(summarizer_requests(model, token))
    assert asked >= 1
    started = time.monotonic()
    answer, _ = tell_until_compacted(client, agent, first=told)
    assert of_kind(answer.messages, "summary_message")[0].summary.startswith(DIGEST)
    assert len(summarizer_requests(model, token)) == asked and time.monotonic() - started < 15
    # Who asks for the summary itself gets it as soon as the model works again, and then all others do.
    client.agents.update(agent.id, compaction_settings={"prompt": NAMES_FACTS})
    assert client.agents.messages.compact(agent.id).summary.startswith("Known: fact-")
    answer, _ = tell_until_compacted(client, agent, first=told + 40)
    assert of_kind(answer.messages, "summary_message")[0].summary.startswith("Known: fact-")


def test_a_named_summarizer_that_rests_is_replaced_by_the_agents_own_model(own_server, own_client, model, token):
    server = own_server(ANTHROPIC_API_KEY="sk-none", ANTHROPIC_BASE_URL=f"http://127.0.0.1:{free_port()}")
    client = own_client(server)
    settings = {"prompt": NAMES_FACTS, "model": "anthropic/claude-haiku-4-5"}
    agent = client.agents.create(model=MODEL, context_window_limit=WINDOW, compaction_settings=settings)
    for first in (0, 50):
        answer, _ = tell_until_compacted(client, agent, first=first)
        assert of_kind(answer.messages, "summary_message")[0].summary.startswith("Known: fact-")


def test_a_summarizer_whose_window_is_smaller_than_told_is_given_less(client, small):
    agent = small(prompt="[[by-system]] [[overflow-above 2000]] [[keep fact-]]")
    answer, _ = tell_until_compacted(client, agent)
    (summary,) = of_kind(answer.messages, "summary_message")
    assert summary.summary.startswith("Known: fact-")


def test_a_summarizer_that_is_not_there_is_replaced_by_the_agents_own_model(client, small):
    agent = small(compaction_settings={"model": "openai-proxy/no-such-model"})
    answer, _ = tell_until_compacted(client, agent)
    assert of_kind(answer.messages, "summary_message")[0].summary.startswith("Known: fact-0")


def test_a_summarizer_that_does_not_answer_is_replaced_by_the_agents_own_model(own_server, own_client):
    server = own_server(ANTHROPIC_API_KEY="sk-none", ANTHROPIC_BASE_URL=f"http://127.0.0.1:{free_port()}")
    client = own_client(server)
    settings = {"prompt": NAMES_FACTS, "model": "anthropic/claude-haiku-4-5"}
    agent = client.agents.create(model=MODEL, context_window_limit=WINDOW, compaction_settings=settings)
    answer, _ = tell_until_compacted(client, agent)
    assert of_kind(answer.messages, "summary_message")[0].summary.startswith("Known: fact-0")


# Things that are too large for the window by themselves.


HUGE = "word " * 60_000


def test_a_huge_message_is_shown_in_part_and_kept_whole(client, small, model, token):
    agent = small()
    answer = send(client, agent, f"fact-first {HUGE} {token} [[overflow-above {WINDOW}]]")
    assert answer.stop_reason.stop_reason == "end_turn"
    shown = model.last_request(token)["messages"][-1]["content"]
    assert shown.startswith("fact-first word") and token in shown and "not shown here" in shown
    assert any(HUGE.strip() in str(m.content) for m in of_kind(history(client, agent), "user_message"))
    assert reply(send(client, agent, f"[[echo]] next [[overflow-above {WINDOW}]]"))
    check_context(client, agent)


def test_huge_messages_at_a_nearly_full_context_are_answered_one_after_the_other(client, small, token):
    agent = small()
    tell(client, agent, 0, 15)
    for n in range(3):
        answer = send(client, agent, f"{token} {n} {HUGE} [[overflow-above {WINDOW}]] [[words 30]]")
        assert answer.stop_reason.stop_reason == "end_turn"
        check_context(client, agent)
    assert reply(send(client, agent, f"[[overflow-above {WINDOW}]] [[echo]] next")).endswith("next")


def test_many_messages_in_one_request_that_do_not_fit_together_are_answered(client, small, model, token):
    agent = small()
    messages = [user(f"part {n} {FILLER * 8}") for n in range(12)] + [user(f"{token} [[overflow-above {WINDOW}]]")]
    answer = client.agents.messages.create(agent.id, messages=messages)
    assert answer.stop_reason.stop_reason == "end_turn"
    assert "part 0 " in str(model.last_request(token)["messages"])
    assert reply(send(client, agent, f"[[overflow-above {WINDOW}]] [[echo]] next")).endswith("next")


def test_a_huge_return_does_not_brick_the_agent(client, small, token):
    """A search that finds huge messages, in one call and in several at once."""
    agent = small()
    for n in range(5):
        send(client, agent, f"harbour {n} {FILLER * 20}")
    for calls in (1, 6):
        search = '[[call conversation_search {"query": "harbour", "limit": 50}]] ' * calls
        answer = send(client, agent, f"{search} {token} [[overflow-above {WINDOW}]]", include_compaction_messages=True)
        assert answer.stop_reason.stop_reason == "end_turn"
        assert len(of_kind(answer.messages, "tool_return_message")) == calls
        check_context(client, agent)
    assert reply(send(client, agent, f"[[overflow-above {WINDOW}]] [[echo]] next")).endswith("next")


def test_huge_arguments_do_not_brick_the_agent(client, small, token):
    agent = small()
    arguments = json.dumps({"label": "nowhere", "new_string": "z " * 15_000})
    answer = send(client, agent, f"[[call memory_insert {arguments}]] [[overflow-above {WINDOW}]]")
    assert answer.stop_reason.stop_reason == "end_turn"
    assert reply(send(client, agent, f"[[overflow-above {WINDOW}]] [[echo]] next")).endswith("next")


def test_huge_core_memory_is_shown_in_part_and_the_agent_can_still_mend_it(client, small, model, token):
    """A block that a client, or the agent itself, has let grow beyond the window."""
    huge = {"label": "human", "value": f"begin {'fact ' * 15_000} end"}
    agent = small(memory_blocks=[huge, {"label": "persona", "value": "I am brief."}])
    answer = send(client, agent, f"{token} [[overflow-above {WINDOW}]]")
    assert answer.stop_reason.stop_reason == "end_turn"
    prompt = model.last_request(token)["messages"][0]["content"]
    assert "begin fact" in prompt and "fact  end" in prompt and "I am brief." in prompt
    assert "not shown" in prompt
    assert client.agents.blocks.retrieve("human", agent_id=agent.id).value.count("fact") == 15_000, "it is whole"
    tell(client, agent, 0, 20)
    call = '[[call memory_rethink {"label": "human", "new_memory": "short"}]]'
    client.agents.tools.attach(client.tools.list(name="memory_rethink").items[0].id, agent_id=agent.id)
    send(client, agent, call)
    assert client.agents.blocks.retrieve("human", agent_id=agent.id).value == "short"
    send(client, agent, f"again {token}")
    prompt = model.last_request(f"again {token}")["messages"][0]["content"]
    assert "not shown" not in prompt and "short" in prompt


def test_a_system_prompt_that_leaves_no_room_ends_the_run_and_says_so(client, small, http):
    agent = small(system="rule " * 9_000)
    answer = raw_send(http, agent, "hello")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "context_window_overflow_in_system_prompt"
    client.agents.update(agent.id, system="Be brief.")
    assert reply(send(client, agent, "[[echo]] next")) == "[[echo]] next"


# What left is found.


def test_what_left_is_found_and_is_marked(client, small, http, token):
    agent = small()
    send(client, agent, f"The spare key lies under the blue {token} flowerpot.")
    tell_until_compacted(client, agent)
    body = {"query": f"{token} flowerpot", "agent_id": agent.id, "search_mode": "fts"}
    found = http.post("/v1/messages/search", json=body).raise_for_status().json()
    (hit,) = [item for item in found if token in json.dumps(item) and "under the blue" in json.dumps(item)][:1]
    assert hit["in_context"] is False
    newest = http.post("/v1/messages/search", json={"query": "fact-16", "agent_id": agent.id}).json()
    assert any(item["in_context"] for item in newest)
    answer = send(client, agent, f'[[call conversation_search {{"query": "{token} flowerpot"}}]]')
    (returned,) = of_kind(answer.messages, "tool_return_message")
    assert returned.status == "success" and "under the blue" in returned.tool_return
