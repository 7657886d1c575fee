"""What our small client does when requests fail, wait, or break off: against a server that does as each test says."""

import asyncio
import threading
import uuid

import pytest
from mnemic import AsyncMnemicClient, LettaClient, MnemicClient, MnemicError

from fake_server import ANSWER, END, PING, FakeServer, cuts_off, frames, says, sends, streams
from small_client import Caller


@pytest.fixture
def fake():
    server = FakeServer()
    yield server
    server.close()


@pytest.fixture(params=["sync", "async"])
def caller(request, fake):
    calling = Caller(request.param, base_url=fake.url, api_key="key-1")
    yield calling
    calling.finish()


def test_an_address_and_a_key_are_taken_from_the_options_then_from_the_environment_in_its_order(fake, monkeypatch):
    for name in ("MNEMIC_BASE_URL", "LETTA_BASE_URL", "MNEMIC_TOKEN", "LETTA_API_KEY", "LETTA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    fake.answers = [sends(200, [])]

    def key_sent(**options):
        LettaClient(base_url=fake.url, **options).list_agents()
        return fake.seen[-1].headers.get("authorization")

    assert MnemicClient().base_url == "http://localhost:8283" and key_sent() is None
    for name, key in (("LETTA_TOKEN", "third"), ("LETTA_API_KEY", "second"), ("MNEMIC_TOKEN", "first")):
        monkeypatch.setenv(name, key)
        assert key_sent() == f"Bearer {key}"
    assert key_sent(api_key="own") == "Bearer own"
    monkeypatch.setenv("LETTA_BASE_URL", "http://second:1")
    assert LettaClient().base_url == "http://second:1"
    monkeypatch.setenv("MNEMIC_BASE_URL", "http://first:1/")
    assert LettaClient().base_url == AsyncMnemicClient().base_url == "http://first:1"
    assert LettaClient(base_url="http://own:1").base_url == "http://own:1"
    with pytest.raises(MnemicError, match="http://"):
        LettaClient(base_url="localhost:8283")


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (404, {"detail": "there is no agent agent-1"}, "not_found", "there is no agent agent-1"),
        (409, {"detail": {"code": "PENDING_APPROVAL", "message": "it waits"}}, "pending_approval", "it waits"),
        (422, {"detail": [{"loc": ["body", "user_id"], "msg": "is empty"}]}, "invalid_request", "body.user_id: is empty"),
        (401, {"error": {"type": "llm_authentication", "message": "a wrong key"}}, "llm_authentication", "a wrong key"),
        (500, b"", "server_error", "the server answered 500 Internal Server Error"),
        (200, b"<html>", "bad_answer", None),
    ],
)
def test_an_error_says_its_status_code_message_and_request(fake, caller, status, body, code, message):
    fake.answers = [sends(status, body)]
    with pytest.raises(MnemicError) as raised:
        caller.get_agent("agent-1")
    error = raised.value
    assert (error.status, error.code) == (status, code) and message in (None, str(error))
    assert len(fake.seen) == 1, "what is refused is not asked again"
    if status >= 400:
        assert error.request_id == "request-7"


def test_a_server_that_is_too_busy_is_asked_again_when_it_says_so_with_the_same_message(fake, caller):
    busy = {"detail": "busy"}
    fake.answers = [sends(429, busy, retry_after="0.01"), sends(503, busy, retry_after="0"), sends(200, ANSWER)]
    assert caller.send_message("agent-1", "Hello").messages[0].content == "Hello."
    otids = {seen.body["otid"] for seen in fake.seen}
    assert len(fake.seen) == 3 and len(otids) == 1 and uuid.UUID(otids.pop()).version == 4
    assert [seen.headers.get("x-stainless-retry-count") for seen in fake.seen] == [None, "1", "2"]


def test_who_is_asked_to_wait_for_long_is_told_how_long_and_does_not_wait(fake, caller):
    fake.answers = [sends(429, {"detail": "the month's messages are used up"}, retry_after="86400")]
    with pytest.raises(MnemicError) as raised:
        caller.send_message("agent-1", "Hello")
    assert (raised.value.status, raised.value.retry_after, len(fake.seen)) == (429, 86400, 1)


def test_what_the_network_lost_is_sent_again_where_that_is_safe_and_nowhere_else(fake, caller):
    fake.answers = [cuts_off, sends(200, ANSWER)]
    caller.send_message("agent-1", "Hello")
    fake.answers = [cuts_off, sends(200, {"id": "agent-1"})]
    caller.create_agent(name="Ada", if_not_exists=True)
    assert len(fake.seen) == 4
    fake.answers = [cuts_off]
    for unsafe in (
        lambda: caller.create_agent(name="Ada"),
        lambda: caller.add_memory("agent-1", "x", type="core_memory"),
    ):
        with pytest.raises(MnemicError) as raised:
            unsafe()
        assert (raised.value.code, raised.value.status) == ("network_error", None)
    assert len(fake.seen) == 6


def test_a_call_ends_after_its_time(fake, caller):
    over = threading.Event()
    fake.answers = [lambda _: over.wait(20)]
    with pytest.raises(MnemicError) as raised:
        caller.send_message("agent-1", "Hello", timeout=0.05)
    over.set()
    assert raised.value.code == "timeout" and len(fake.seen) == 1


def test_no_id_reaches_another_route_than_its_own(fake, caller):
    fake.answers = [sends(200, {})]
    for name in ("", ".", ".."):
        with pytest.raises(MnemicError):
            caller.forget_user("agent-1", name)
        with pytest.raises(MnemicError):
            caller.delete_agent(name)
    assert not fake.seen
    caller.forget_user("agent-1", "ada/../bob?x#é")
    assert fake.seen[0].url == "/v1/agents/agent-1/users/ada%2F..%2Fbob%3Fx%23%C3%A9"


def test_all_pages_of_agents_are_walked(fake, caller):
    def page(start, length):
        return sends(200, [{"id": f"agent-{n}", "name": f"n{n}"} for n in range(start, start + length)])

    fake.answers = [page(0, 100), page(100, 100), page(200, 7)]
    assert [agent.name for agent in caller.list_agents()] == [f"n{n}" for n in range(207)]
    assert "after=agent-99&" in f"{fake.seen[1].url}&"


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_stream_is_read_across_all_boundaries_of_chunks_characters_and_lines(fake, caller, size):
    usage = {"message_type": "usage_statistics", "total_tokens": 5}
    # What separates lines for Python is a character like others for the protocol.
    data = frames(PING, says("Häl"), says("lo\u2028\x85 🙂"), usage, *END).replace(b"\n", b"\r\n")
    fake.answers = [streams(b": hello\r\n" + data, size)]
    stream = caller.open("agent-1", "Hello")
    assert caller.pieces(stream) == ["Häl", "lo\u2028\x85 🙂"]
    assert caller.at_the_end(stream, "usage").total_tokens == 5
    assert caller.at_the_end(stream, "stop_reason") == "end_turn"


def test_another_message_of_an_answer_begins_a_new_paragraph(fake, caller):
    fake.answers = [streams(frames(PING, says("Let me see."), says("It is red.", "message-2"), *END))]
    assert caller.at_the_end(caller.open("agent-1", "Hello"), "text") == "Let me see.\n\nIt is red."


def test_a_stream_that_breaks_off_or_fails_says_so_whenever_it_is_asked(fake, caller):
    error = {"message_type": "error_message", "error_type": "llm_timeout", "message": "no answer", "run_id": "run-1"}
    for last, code in (((error,), "llm_timeout"), ((), "stream_interrupted")):
        fake.answers = [streams(frames(PING, says("Hel"), *last))]
        stream = caller.open("agent-1", "Hello")
        assert caller.next(stream) == "Hel"
        for read in (lambda: caller.next(stream), lambda: caller.at_the_end(stream, "usage")):
            with pytest.raises(MnemicError) as raised:
                read()
            assert raised.value.code == code


def test_a_stream_that_is_refused_says_so_at_once(fake, caller):
    fake.answers = [sends(422, {"detail": "this agent needs a user_id"})]
    with pytest.raises(MnemicError, match="needs a user_id"):
        caller.open("agent-1", "Hello")


@pytest.mark.parametrize("words", [(), (says("Hel"),)])
def test_leaving_a_stream_early_cancels_its_run_on_the_server(fake, caller, words):
    over = threading.Event()
    fake.answers = [streams(frames(PING, *words), until=over), sends(200, {"run-1": "cancelled"})]
    stream = caller.open("agent-1", "Hello")
    if words:
        assert caller.next(stream) == "Hel"
    caller.leave(stream)
    over.set()
    assert (fake.seen[1].url, fake.seen[1].body) == ("/v1/agents/agent-1/messages/cancel", {"run_ids": ["run-1"]})
    with pytest.raises(MnemicError) as raised:
        caller.at_the_end(stream, "text")
    assert raised.value.code == "cancelled"


def test_leaving_a_stream_at_its_end_cancels_nothing(fake, caller):
    fake.answers = [streams(frames(PING, says("Hello."), *END))]
    stream = caller.open("agent-1", "Hello")
    assert caller.pieces(stream) == ["Hello."]
    caller.leave(stream)
    assert len(fake.seen) == 1


def test_a_task_that_is_cancelled_cancels_its_run_on_the_server(fake):
    over = threading.Event()
    fake.answers = [streams(frames(PING, says("Hel")), until=over), sends(200, {})]

    async def read(heard):
        async with AsyncMnemicClient(base_url=fake.url) as client:
            async with client.stream_message("agent-1", "Hello") as stream:
                async for _ in stream:
                    heard.set()

    async def leave():
        heard = asyncio.Event()
        task = asyncio.create_task(read(heard))
        await heard.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    over.set()
    assert fake.seen[1].body == {"run_ids": ["run-1"]}
