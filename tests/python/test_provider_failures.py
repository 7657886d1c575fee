"""When the model's provider refuses, fails or falls silent."""

import letta_client
import pytest

from talk import kinds, of_kind, reply, send, stream


@pytest.mark.parametrize(
    ("directive", "status", "kind"),
    [
        ("[[error 400]]", 400, "llm_bad_request"),
        ("[[error 401]]", 401, "llm_authentication"),
        ("[[error 402]]", 402, "llm_insufficient_credits"),
        ("[[error 429]]", 429, "llm_rate_limit"),
        ("[[error 500]]", 500, "llm_error"),
    ],
)
def test_its_errors_have_their_own_status_and_type(http, agent, directive, status, kind):
    answer = http.post(f"/v1/agents/{agent.id}/messages", json={"input": f"{directive} hello"})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["type"] == kind and error["message"] and set(error) == {"type", "message", "detail"}


def test_the_sdk_has_an_exception_for_each(client, agent):
    with pytest.raises(letta_client.AuthenticationError):
        send(client, agent, "[[error 401]] a")
    with pytest.raises(letta_client.RateLimitError):
        send(client, agent, "[[error 429]] b")
    with pytest.raises(letta_client.InternalServerError):
        send(client, agent, "[[error 500]] c")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_failure_is_tried_again(client, agent, model, token, status):
    answer = send(client, agent, f"[[error-once {status}]] {token}")
    assert answer.stop_reason.stop_reason == "end_turn"
    assert len(model.requests(token)) == 2


def test_two_failures_in_a_row_are_survived(client, agent, model, token):
    assert reply(send(client, agent, f"[[error-times 2 500]] {token}"))
    assert len(model.requests(token)) == 3


def test_a_stream_is_tried_again_as_long_as_nothing_was_sent(client, agent, model, token):
    frames = stream(client, agent, f"[[error-once 500]] {token}", stream_tokens=True)
    assert reply(frames).startswith("Reply ") and len(model.requests(token)) == 2


def test_a_refusal_is_not_tried_again(client, agent, model, token):
    for status in (400, 401):
        with pytest.raises(letta_client.APIStatusError):
            send(client, agent, f"[[error {status}]] {token} {status}")
        assert len(model.requests(f"{token} {status}")) == 1


def test_the_agent_works_after_a_failure(client, agent, model, token):
    for directive in ("[[error 500]]", "[[error 401]]", "[[overflow]]"):
        with pytest.raises(letta_client.APIStatusError):
            send(client, agent, f"{directive} {token}")
        answer = send(client, agent, f"after {directive[2:-2]} {token}")
        assert answer.stop_reason.stop_reason == "end_turn"
    said = [m.content for m in of_kind(client.agents.messages.list(agent.id), "user_message")]
    assert len(said) == 3


def test_an_overflow_is_a_400_that_says_so(http, agent):
    answer = http.post(f"/v1/agents/{agent.id}/messages", json={"input": "[[overflow]] too much"})
    assert answer.status_code == 400, answer.text
    assert "context" in answer.text.lower()


def test_a_failure_after_a_tool_ran_keeps_what_was_done(client, agent, token, model):
    """The first step is committed: its edit holds, and the agent's next message works."""
    text = f'[[call memory_insert {{"label": "human", "new_string": "{token}"}}]]'
    send(client, agent, text)
    assert token in client.agents.blocks.retrieve("human", agent_id=agent.id).value


def test_an_empty_answer_does_not_brick_the_agent(client, agent):
    answer = send(client, agent, "[[empty]] say nothing")
    assert answer.stop_reason.stop_reason in ("end_turn", "invalid_llm_response", "error")
    assert send(client, agent, "and now?").stop_reason.stop_reason == "end_turn"


def test_a_broken_connection_is_an_error_and_the_agent_goes_on(client, agent):
    with pytest.raises(letta_client.APIStatusError) as error:
        send(client, agent, "[[drop]] half")
    assert error.value.status_code >= 500
    assert kinds(send(client, agent, "again").messages) == ["assistant_message"]


def test_nothing_of_the_key_is_in_an_error(http, agent):
    answer = http.post(f"/v1/agents/{agent.id}/messages", json={"input": "[[error 401]] key"})
    assert "sk-none" not in answer.text
