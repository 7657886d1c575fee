"""Our small client against the server: all that it offers, for several people."""

import datetime
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from mnemic import MnemicError

from programs import MODEL, eventually
from small_client import Caller


@pytest.fixture(params=["sync", "async"])
def caller(request, server):
    calling = Caller(request.param, base_url=server.url, api_key="sk-none")
    yield calling
    calling.finish()


@pytest.fixture
def juno(caller, token):
    return caller.create_agent(name=f"juno_{token}", persona="I am Juno.", human="Nobody yet.", model=MODEL)


def test_an_agent_is_made_by_the_bare_name_of_a_model_and_deleted(caller, model, token):
    agent = caller.create_agent(name=token, persona="I am Vela.", human="A sailor.", model="scripted", tags=[token])
    assert (agent.name, agent.model, agent.tags) == (token, MODEL, [token])
    caller.send_message(agent.id, f"[[echo]] {token}")
    asked = str(model.last_request(token))
    assert "I am Vela." in asked and "A sailor." in asked
    assert caller.get_agent(agent.id).name == token
    assert token in [one.name for one in caller.list_agents()]
    caller.delete_agent(agent.id)
    with pytest.raises(MnemicError) as raised:
        caller.get_agent(agent.id)
    assert raised.value.status == 404 and raised.value.request_id


def test_twenty_calls_at_once_that_make_an_agent_if_there_is_none_make_one(server, token):
    with ThreadPoolExecutor(20) as pool:
        clients = [Caller("sync", base_url=server.url) for _ in range(20)]
        made = pool.map(lambda one: one.create_agent(name=token, model=MODEL, if_not_exists=True).id, clients)
        assert len(set(made)) == 1
    assert [agent.name for agent in clients[0].list_agents()].count(token) == 1


def test_a_message_is_answered_with_what_the_turn_said_wrote_and_cost(caller, juno):
    answer = caller.send_message(juno.id, "Please remember that I sail.", user_id="ada")
    assert answer.messages[0].content.startswith("Done") and answer.messages[0].role == "assistant"
    (change,) = answer.memory.blocks
    assert (change.label, change.before) == ("human", "Nobody yet.") and "I sail" in change.after
    assert answer.usage.prompt_tokens > 0 and answer.usage.step_count == 2
    assert (answer.stop_reason, answer.user_id) == ("end_turn", "ada") and answer.run_id.startswith("run-")


def test_a_stream_says_the_same_and_then_what_the_turn_wrote_and_cost(caller, juno):
    stream = caller.open(juno.id, "Please remember that I row.", user_id="ada")
    text = "".join(caller.pieces(stream))
    assert text.startswith("Done") and caller.at_the_end(stream, "text") == text
    assert "I row" in caller.at_the_end(stream, "memory").blocks[0].after
    assert caller.at_the_end(stream, "usage").total_tokens > 0
    assert caller.history(juno.id, user_id="ada")[-1].content == text


def test_a_message_that_is_sent_again_under_its_otid_is_taken_in_once(caller, juno):
    otid = str(uuid.uuid4())
    first, second = (caller.send_message(juno.id, "hello", user_id="ada", otid=otid) for _ in range(2))
    assert (first.run_id, first.messages) == (second.run_id, second.messages)
    assert len(caller.history(juno.id, user_id="ada")) == 2


def test_memory_is_added_and_found_for_one_person_or_for_all(caller, juno):
    caller.add_memory(juno.id, "Fay keeps bees.", type="archival_memory", user_id="fay")
    caller.add_memory(juno.id, "Bees sleep in winter.", type="archival_memory")
    found = caller.search_memory(juno.id, "bees", user_id="fay")
    assert {one.user_id for one in found} == {"fay", None} and all(one.score > 0 for one in found)
    assert [one.content for one in caller.search_memory(juno.id, "bees")] == ["Bees sleep in winter."]
    assert len(caller.search_memory(juno.id, "bees", user_id="fay", limit=1)) == 1
    assert caller.add_memory(juno.id, "Left-handed.", type="core_memory", user_id="fay").label == "human"
    assert caller.add_memory(juno.id, "The pier is closed.", type="core_memory").label == "facts"


def test_a_persons_history_is_their_own_oldest_first(caller, juno):
    for n in range(3):
        caller.send_message(juno.id, f"[[echo]] word {n}", user_id="gus")
    caller.send_message(juno.id, "[[echo]] of somebody else", user_id="hal")
    said = caller.history(juno.id, user_id="gus")
    assert [one.content for one in said] == [f"[[echo]] word {n}" for n in range(3) for _ in range(2)]
    assert [one.role for one in said] == ["user", "assistant"] * 3
    newest = caller.history(juno.id, user_id="gus", limit=3)
    assert newest == said[-3:]
    assert caller.history(juno.id, user_id="gus", limit=2, before=newest[0].id) == said[1:3]


def test_a_person_who_is_forgotten_is_a_stranger_again(caller, juno, model, token):
    caller.send_message(juno.id, f"Please remember that I whittle {token}.", user_id="ian")
    receipt = caller.forget_user(juno.id, "ian")
    # The prompt, what was said, a call, its return and the answer.
    assert (receipt.user_id, receipt.removed["messages"], receipt.copies) == ("ian", 5, [])
    assert receipt.erased or "PostgreSQL" in receipt.left
    assert caller.history(juno.id, user_id="ian") == []
    caller.send_message(juno.id, f"[[echo]] hello from ian-{token}", user_id="ian")
    assert f"whittle {token}" not in str(model.last_request(f"hello from ian-{token}"))


def test_a_user_token_is_one_persons_for_one_agent_and_for_its_time(request, caller, juno, server):
    now = datetime.datetime.now(datetime.timezone.utc)
    made = caller.create_user_token(agent_id=juno.id, user_id="jo/é ✓", ttl=600)
    assert (made.agent_id, made.user_id) == (juno.id, "jo/é ✓")
    left = datetime.datetime.fromisoformat(made.expires_at.replace("Z", "+00:00")) - now
    assert 599 <= left.total_seconds() < 660
    usual = caller.create_user_token(agent_id=juno.id, user_id="jo/é ✓")
    assert usual.token != made.token and usual.expires_at > made.expires_at
    jo, unknown = (
        Caller("async" if caller.loop else "sync", base_url=server.url, api_key=key) for key in (made.token, "mnu_made_up")
    )
    request.addfinalizer(jo.finish)
    request.addfinalizer(unknown.finish)
    assert jo.send_message(juno.id, "[[echo]] from Jo").user_id == "jo/é ✓"
    stream = jo.open(juno.id, "[[echo]] from Jo again")
    assert "".join(jo.pieces(stream)) == "[[echo]] from Jo again"
    assert jo.add_memory(juno.id, "Jo keeps bees.", type="archival_memory").type == "archival_memory"
    assert [one.user_id for one in jo.search_memory(juno.id, "bees")] == ["jo/é ✓"]
    assert jo.history(juno.id)[-1].content == "[[echo]] from Jo again"
    assert jo.history(juno.id) == caller.history(juno.id, user_id="jo/é ✓")
    nobody = "agent-00000000-0000-4000-8000-000000000000"
    for refused, status in (
        (lambda: jo.history(juno.id, user_id="kim"), 403),
        (lambda: jo.send_message(juno.id, "hello", user_id="kim"), 403),
        (lambda: jo.open(juno.id, "hello", user_id="kim"), 403),
        (jo.list_agents, 403),
        (lambda: jo.forget_user(juno.id, "jo/é ✓"), 403),
        (lambda: unknown.history(juno.id), 401),
        (lambda: caller.create_user_token(agent_id=juno.id, user_id="jo", ttl=59), 422),
        (lambda: caller.create_user_token(agent_id=juno.id, user_id="jo", ttl=86_401), 422),
        (lambda: caller.create_user_token(agent_id=juno.id, user_id=""), 422),
        (lambda: caller.create_user_token(agent_id=nobody, user_id="jo"), 404),
    ):
        with pytest.raises(MnemicError) as raised:
            refused()
        assert raised.value.status == status
        assert status != 401 or "its time is over" in raised.value.message


def test_an_agent_that_is_for_people_takes_nothing_without_one(caller, token):
    strict = caller.create_agent(name=token, model=MODEL, require_user=True)
    assert strict.require_user
    for refused in (
        lambda: caller.send_message(strict.id, "hello"),
        lambda: caller.open(strict.id, "hello"),
        lambda: caller.search_memory(strict.id, "hello"),
        lambda: caller.add_memory(strict.id, "hello", type="core_memory"),
        lambda: caller.send_message(strict.id, "hello", user_id=""),
    ):
        with pytest.raises(MnemicError) as raised:
            refused()
        assert raised.value.status == 422


def test_leaving_a_stream_ends_the_agents_work_on_the_server(caller, juno, http):
    def status():
        return [run["status"] for run in http.get("/v1/runs/", params={"agent_id": juno.id}).json()]

    stream = caller.open(juno.id, "[[delay 100]] [[words 400]]", user_id="ada")
    assert caller.next(stream) and status() == ["running"]
    caller.leave(stream)
    eventually(lambda: status() == ["cancelled"], "the run is cancelled")
