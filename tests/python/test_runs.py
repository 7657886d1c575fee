"""Runs and steps: recorded, listed, read."""

from urllib.parse import quote

import letta_client
import pytest

from talk import kinds, send, user

UNKNOWN = "run-00000000-0000-4000-8000-0000000000ff"


@pytest.fixture
def run(client, agent):
    """A run of two steps with a tool."""
    answer = send(client, agent, "remember the run")
    return client.runs.retrieve(answer.messages[0].run_id)


def ids(items):
    return [item.id for item in items]


def test_a_run_is_recorded(client, agent, run):
    assert run.status == "completed" and run.stop_reason == "end_turn" and run.agent_id == agent.id
    assert run.background is False
    assert run.created_at <= run.completed_at and run.total_duration_ns > 0


def test_a_runs_messages_are_its_own_in_order(client, agent, run):
    send(client, agent, "another")
    found = list(client.runs.messages.list(run.id))
    assert kinds(found) == ["user_message", "tool_call_message", "tool_return_message", "assistant_message"]
    assert [m.id for m in client.runs.messages.list(run.id, limit=1)] == [m.id for m in found]
    assert [m.id for m in client.runs.messages.list(run.id, order="desc")] == [m.id for m in found][::-1]


def test_a_runs_steps_say_what_they_used(client, agent, run):
    steps = list(client.runs.steps.list(run.id, order="asc"))
    assert len(steps) == 2
    for step in steps:
        assert step.status == "success" and step.run_id == run.id and step.agent_id == agent.id
        assert step.model == "scripted" and step.prompt_tokens > 0 and step.completion_tokens > 0
        assert step.context_window_limit == 128_000
    assert steps[-1].stop_reason == "end_turn"


def test_a_runs_usage_is_the_sum_of_its_steps(client, run):
    usage = client.runs.usage.retrieve(run.id)
    steps = list(client.runs.steps.list(run.id))
    assert usage.prompt_tokens == sum(s.prompt_tokens for s in steps)
    assert usage.completion_tokens == sum(s.completion_tokens for s in steps)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_runs_metrics_count_its_steps(http, run):
    metrics = http.get(f"/v1/runs/{run.id}/metrics").json()
    assert metrics["id"] == run.id and metrics["num_steps"] == 2 and metrics["run_ns"] > 0


def test_a_step_is_read_with_its_messages(client, run):
    first = list(client.runs.steps.list(run.id, order="asc"))[0]
    assert client.steps.retrieve(first.id).id == first.id
    found = kinds(client.steps.messages.list(first.id))
    assert "tool_call_message" in found and "tool_return_message" in found and "assistant_message" not in found


def test_a_step_takes_a_name_that_a_client_gives_it(client, http, run):
    first = list(client.runs.steps.list(run.id, order="asc"))[0]
    assert first.tid is None
    for name in ("txn-1", "a/b c"):
        answer = http.patch(f"/v1/steps/{first.id}/transaction/{quote(name, safe='')}")
        assert answer.status_code == 200 and answer.json()["tid"] == name, answer.text
        assert client.steps.retrieve(first.id).tid == name
    assert http.patch(f"/v1/steps/{first.id}/transaction/{'x' * 1001}").status_code == 400
    unknown = "step-00000000-0000-4000-8000-000000000001"
    assert http.patch(f"/v1/steps/{unknown}/transaction/x").status_code == 404


def test_the_trace_of_a_step_is_found_under_its_old_name(http, client, run):
    first = list(client.runs.steps.list(run.id, order="asc"))[0]
    old, new = (http.get(path) for path in (f"/v1/telemetry/{first.id}", f"/v1/steps/{first.id}/trace"))
    assert (old.status_code, old.json()) == (new.status_code, new.json()) == (200, None)
    assert http.get("/v1/telemetry/step-00000000-0000-4000-8000-000000000001").status_code == 404


def test_runs_are_listed_newest_first_and_completely(client, agent):
    made = [send(client, agent, f"turn {n}").messages[0].run_id for n in range(5)]
    for limit in (1, 2, 100):
        assert ids(client.runs.list(agent_id=agent.id, limit=limit)) == made[::-1]
        assert ids(client.runs.list(agent_id=agent.id, limit=limit, order="asc")) == made


def test_runs_are_filtered(client, agent, make_agent):
    done = send(client, agent, "hello").messages[0].run_id
    with pytest.raises(letta_client.APIStatusError):
        send(client, agent, "[[error 401]] fails")
    slow = client.agents.messages.create_async(agent.id, messages=[user("[[sleep 20000]] slow")]).id
    try:
        assert ids(client.runs.list(agent_id=agent.id, active=True)) == [slow]
        assert ids(client.runs.list(agent_id=agent.id, statuses=["completed"])) == [done]
        (failed,) = client.runs.list(agent_id=agent.id, statuses=["failed"])
        assert failed.stop_reason == "llm_api_error"
        assert ids(client.runs.list(agent_id=agent.id, background=True)) == [slow]
        assert ids(client.runs.list(agent_id=agent.id, stop_reason="end_turn")) == [done]
        other = make_agent()
        assert ids(client.runs.list(agent_ids=[other.id])) == []
    finally:
        client.agents.messages.cancel(agent.id)


def test_a_failed_run_keeps_its_input_and_the_context_does_not(client, agent, model, token):
    with pytest.raises(letta_client.APIStatusError):
        send(client, agent, f"[[error 401]] lost {token}")
    (run,) = client.runs.list(agent_id=agent.id)
    assert run.status == "failed"
    assert len(client.agents.retrieve(agent.id).message_ids) == 1
    assert any(f"lost {token}" in str(m.content) for m in client.runs.messages.list(run.id))
    send(client, agent, f"next {token}")
    assert f"lost {token}" not in str(model.last_request(f"next {token}"))


def test_steps_are_listed_and_iterated(client, agent):
    for n in range(3):
        send(client, agent, f"remember {n}")
    newest = ids(client.steps.list(agent_id=agent.id))
    assert len(newest) == len(set(newest)) == 6
    assert ids(client.steps.list(agent_id=agent.id, limit=2)) == newest
    assert ids(client.steps.list(agent_id=agent.id, limit=2, order="asc")) == newest[::-1]


def test_feedback_stays_on_a_step(client, run):
    step = list(client.runs.steps.list(run.id))[0]
    client.steps.feedback.create(step.id, feedback="positive")
    assert client.steps.retrieve(step.id).feedback == "positive"
    assert ids(client.steps.list(agent_id=run.agent_id, feedback="positive")) == [step.id]


def test_feedback_is_changed_and_taken_back(client, run):
    one, two = list(client.runs.steps.list(run.id))
    listed = lambda **query: ids(client.steps.list(agent_id=run.agent_id, **query))
    client.steps.feedback.create(one.id, feedback="positive")
    client.steps.feedback.create(one.id, feedback="negative")
    client.steps.feedback.create(two.id, feedback="positive")
    assert client.steps.retrieve(one.id).feedback == "negative"
    assert (listed(feedback="negative"), listed(feedback="positive")) == ([one.id], [two.id])
    client.steps.feedback.create(one.id, feedback=None)
    assert client.steps.retrieve(one.id).feedback is None
    assert listed(feedback="negative") == [] and listed(has_feedback=True) == [two.id]
    assert client.steps.retrieve(two.id).feedback == "positive"
    with pytest.raises(letta_client.UnprocessableEntityError):
        client.steps.feedback.create(one.id, feedback="splendid")


def test_a_steps_metrics_say_how_long_it_took(client, run):
    steps = list(client.runs.steps.list(run.id, order="asc"))
    for step in steps:
        metrics = client.steps.metrics.retrieve(step.id)
        assert (metrics.id, metrics.run_id, metrics.agent_id) == (step.id, run.id, run.agent_id)
        assert 0 < metrics.llm_request_ns <= metrics.step_ns <= run.total_duration_ns
    starts = [client.steps.metrics.retrieve(step.id).step_start_ns for step in steps]
    assert starts == sorted(starts) and starts[0] > 0
    with pytest.raises(letta_client.NotFoundError):
        client.steps.metrics.retrieve("step-00000000-0000-4000-8000-0000000000ff")


def test_the_trace_of_a_step_is_asked_for_by_the_sdk(client, run):
    step = list(client.runs.steps.list(run.id))[0]
    assert client.steps.trace.retrieve(step.id) is None, "traces are not kept; the answer is one that the SDK reads"
    with pytest.raises(letta_client.NotFoundError):
        client.steps.trace.retrieve("step-00000000-0000-4000-8000-0000000000ff")


def test_unknown_ones_are_404(client):
    with pytest.raises(letta_client.NotFoundError):
        client.runs.retrieve(UNKNOWN)
    with pytest.raises(letta_client.NotFoundError):
        client.steps.retrieve("step-00000000-0000-4000-8000-0000000000ff")


def test_a_run_can_be_deleted(client, http, run):
    assert http.delete(f"/v1/runs/{run.id}").status_code == 200
    with pytest.raises(letta_client.NotFoundError):
        client.runs.retrieve(run.id)


def test_the_internal_list_of_runs_is_the_list_of_runs(http, client, agent):
    for text in ("one", "two"):
        send(client, agent, text)
    query = {"agent_id": agent.id}
    runs = http.get("/v1/runs/", params=query).json()
    assert len(runs) == 2
    assert http.get("/v1/_internal_runs/", params=query).json() == runs
    assert http.get("/v1/_internal_runs/", params={**query, "limit": 1, "order": "asc"}).json() == runs[1:]
    assert http.get("/v1/_internal_runs/", params={"run_id": runs[0]["id"]}).json() == runs[:1]
