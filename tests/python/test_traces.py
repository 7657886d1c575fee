"""What a step's model was asked and answered: kept for a while where the administrator wants it, and not otherwise."""

import pytest

from programs import MODEL, eventually
from talk import send, user


@pytest.fixture
def tracing(own_server, own_client):
    """A server that keeps traces, and a client of it."""
    server = own_server(MNEMIC_TRACE_HOURS="1")
    return server, own_client(server)


def steps(client, agent):
    return list(client.steps.list(agent_id=agent.id, order="asc"))


def trace(client, step):
    return client.steps.trace.retrieve(getattr(step, "id", step))


def test_nothing_is_kept_unless_it_is_wanted(client, http, agent):
    send(client, agent, "hello")
    [step] = steps(client, agent)
    assert trace(client, step) is None and http.get(f"/v1/telemetry/{step.id}").json() is None


@pytest.mark.parametrize("options", [{}, {"streaming": True, "stream_tokens": True}])
def test_each_step_keeps_what_was_asked_and_answered(tracing, model, token, options):
    server, client = tracing
    agent = client.agents.create(model=MODEL, memory_blocks=[{"label": "human", "value": "Ada sails."}])
    call = '[[call memory_insert {"label": "human", "new_string": "Much."}]]'
    answer = client.agents.messages.create(agent.id, messages=[user(f"{token} {call}")], **options)
    list(answer) if options else None
    first, second = steps(client, agent)
    asked, told = trace(client, first), trace(client, second)
    seen = model.requests(token)
    assert [asked.request_json, told.request_json] == seen, "the very requests that the provider got"
    assert asked.id.startswith("provider_trace-") and asked.step_id == first.id
    assert (asked.agent_id, asked.run_id, asked.created_at is not None) == (agent.id, first.run_id, True)
    [made] = asked.response_json["tool_calls"]
    assert made["name"] == "memory_insert" and asked.response_json["usage"]["prompt_tokens"] == first.prompt_tokens
    assert told.response_json["content"][0]["text"] and told.response_json["finish_reason"] == "stop"
    assert "Ada sails" in str(asked.request_json)


def test_a_step_that_failed_keeps_what_was_asked_and_why(tracing, token):
    server, client = tracing
    agent = client.agents.create(model=MODEL)
    with pytest.raises(Exception):
        send(client, agent, f"[[error 400]] {token}")
    [step] = steps(client, agent)
    kept = trace(client, step)
    assert token in str(kept.request_json) and kept.response_json["error"]["type"].startswith("llm_")


def test_a_step_with_tools_outside_of_the_database_keeps_it_too(tracing, token):
    server, client = tracing
    agent, other = client.agents.create(model=MODEL, extra_body={"include_multi_agent_tools": True}), client.agents.create(model=MODEL)
    send(client, agent, f'[[call send_message_to_agent_and_wait_for_reply {{"message": "{token}", "other_agent_id": "{other.id}"}}]]')
    assert all(trace(client, step) for step in steps(client, agent) + steps(client, other))


def test_what_is_too_large_is_cut(tracing, token):
    server, client = tracing
    agent = client.agents.create(model=MODEL, context_window_limit=400_000)
    send(client, agent, f"{token} {'lorem ipsum ' * 40_000}")
    [step] = steps(client, agent)
    kept = trace(client, step).request_json
    assert len(str(kept)) < 300_000 and "[cut: " in str(kept) and token in str(kept)


def test_traces_go_when_they_are_wanted_no_longer(tracing, token):
    server, client = tracing
    agent = client.agents.create(model=MODEL)
    send(client, agent, "hello")
    [step] = steps(client, agent)
    assert trace(client, step)
    server.terminate()
    server.environment["MNEMIC_TRACE_HOURS"] = "0"
    server.start()
    eventually(lambda: trace(client, step) is None, "it is deleted")
    assert steps(client, agent)


def test_what_was_kept_of_a_person_is_forgotten_with_the_person(tracing, token):
    server, client = tracing
    agent, other = client.agents.create(model=MODEL), client.agents.create(model=MODEL)
    for name, place in (("ann", agent), ("bob", agent), ("bob", other)):
        client.post(
            f"/v1/agents/{place.id}/messages", body={"messages": [user(f"{name} {token}")], "user_id": f"{name}-{token}"}, cast_to=object
        )
    one, two = steps(client, agent)
    (three,) = steps(client, other)
    assert trace(client, one) and trace(client, two) and trace(client, three)
    client.delete(f"/v1/end-users/ann-{token}", cast_to=object)
    assert [step.id for step in steps(client, agent)] == [two.id]
    # What Bob's model was shown of the same agent may hold what Ann wrote for everybody.
    assert server.query("SELECT step_id FROM traces") == [(three.id,)]
    assert trace(client, three) and trace(client, two) is None
    with pytest.raises(Exception, match="not found"):
        trace(client, one)
