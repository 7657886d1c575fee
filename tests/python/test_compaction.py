"""Conversations that outgrow their model's window: older messages give way to a summary, nothing is lost, and
the agent goes on."""

import json
import threading

import letta_client
import pytest

from conftest import client_of
from programs import MODEL, eventually
from talk import kinds, of_kind, raw_stream, reply, send, stop_reason, stream, user

WINDOW = 8_000
# What the summarizer is told: it names every word that begins with fact-.
NAMES_FACTS = "[[by-system]] [[keep fact-]]"
FILLER = "lorem ipsum dolor " * 60
DIGEST = "No summary could be written."


@pytest.fixture
def small(make_agent):
    """Makes agents that reckon with a window of 8,000 tokens."""

    def make(prompt=NAMES_FACTS, **fields):
        settings = {"prompt": prompt, **fields.pop("compaction_settings", {})}
        return make_agent(context_window_limit=fields.pop("window", WINDOW), compaction_settings=settings, **fields)

    return make


def facts(text):
    return {word.strip(".,") for word in text.split() if word.startswith("fact-")}


def tell(client, agent, first, last, **options):
    """Tells so many facts, one to a message; the last answer."""
    for n in range(first, last):
        answer = send(client, agent, f"fact-{n} {FILLER}", include_compaction_messages=True, **options)
    return answer


def tell_until_compacted(client, agent, first=0, **options):
    """Tells facts until the context is compacted; the answer to the last, and how many there were."""
    for n in range(first, first + 40):
        answer = tell(client, agent, n, n + 1, **options)
        if of_kind(answer.messages, "summary_message"):
            return answer, n + 1
    raise AssertionError("the context is never compacted")


def in_context(client, agent):
    return client.agents.retrieve(getattr(agent, "id", agent)).message_ids


def history(client, agent):
    return list(client.agents.messages.list(agent.id, limit=100, order="asc"))


def check_context(client, agent):
    """The context begins with the prompt, and holds calls and returns in pairs."""
    ids = in_context(client, agent)
    assert len(ids) == len(set(ids))
    messages = [m for m in history(client, agent) if m.id in ids]
    (prompt,) = of_kind(messages, "system_message")
    assert prompt.id == ids[0]
    calls = [call.tool_call_id for m in of_kind(messages, "tool_call_message") for call in m.tool_calls]
    returns = [m.tool_call_id for m in of_kind(messages, "tool_return_message")]
    assert sorted(calls) == sorted(returns)
    return ids


def check_pairs(request):
    """What a chat model accepts: each call is followed by its return, and no return stands alone."""
    messages, open_calls = request["messages"], []
    assert messages[0]["role"] in ("system", "developer")
    for message in messages[1:]:
        if message["role"] == "tool":
            assert message["tool_call_id"] in open_calls, "a return without its call"
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls, "a call without its return"
        open_calls = [call["id"] for call in message.get("tool_calls") or []]
    assert not open_calls, "a call without its return"


def summarizer_requests(model, token):
    return [request for request in model.requests(token) if "[[by-system]]" in request["messages"][0]["content"]]


def raw_send(http, agent, text, **fields):
    return http.post(f"/v1/agents/{agent.id}/messages", json={"input": text, **fields})


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
    ["openai", "responses", "anthropic", "anthropic-size", "llama-server", "ollama", "vllm", "lm-studio", "openrouter"],
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
def test_a_summarizer_that_fails_is_replaced_by_a_digest(client, small, trouble):
    agent = small(prompt=f"[[by-system]] {trouble}")
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


def test_a_summarizer_whose_window_is_smaller_than_told_is_given_less(client, small):
    agent = small(prompt="[[by-system]] [[overflow-above 2000]] [[keep fact-]]")
    answer, _ = tell_until_compacted(client, agent)
    (summary,) = of_kind(answer.messages, "summary_message")
    assert summary.summary.startswith("Known: fact-")


def test_a_summarizer_that_is_not_there_is_replaced_by_the_agents_own_model(client, small):
    agent = small(compaction_settings={"model": "openai-proxy/no-such-model"})
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
    sender = threading.Thread(target=lambda: answers.append(raw_send(http, agent, f"{token} [[sleep 1500]]")))
    sender.start()
    eventually(lambda: model.requests(token), "the turn runs")
    answer = http.post(f"/v1/agents/{agent.id}/summarize", json={})
    assert answer.status_code == 409, answer.text
    sender.join(20)
    assert answers[0].json()["stop_reason"]["stop_reason"] == "end_turn"
    assert client.agents.messages.compact(agent.id).num_messages_before == 11


@pytest.mark.parametrize(("route", "count"), [("agents/{}", 3), ("conversations/default", 1)])
def test_messages_that_come_while_a_client_compacts_wait_and_are_answered(
    client, make_agent, http, token, model, route, count
):
    agent = make_agent(compaction_settings={"prompt": f"[[by-system]] [[sleep 1500]] [[keep fact-]] {token}"})
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
