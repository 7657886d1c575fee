"""Agents whose context is full, and what must hold of it."""

from talk import of_kind, send

WINDOW = 8_000
# What the summarizer is told: it names every word that begins with fact-.
NAMES_FACTS = "[[by-system]] [[keep fact-]]"
FILLER = "lorem ipsum dolor " * 60
DIGEST = "No summary could be written."


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
