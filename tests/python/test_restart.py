"""The server is killed or stopped, started again, and everything goes on."""

import threading

import httpx
import pytest

from programs import MODEL, Server, eventually
from talk import kinds, of_kind, reply, send, user

TERMINAL = ("completed", "failed", "cancelled")


@pytest.fixture
def restartable(own_server, own_client):
    server = own_server()
    client = own_client(server)
    blocks = [{"label": "human", "value": "Ada sails."}]
    return server, client, client.agents.create(model=MODEL, memory_blocks=blocks)


def test_an_agent_goes_on_after_a_kill(restartable, model, token):
    server, client, agent = restartable
    first = send(client, agent, f"remember {token} before the kill")
    history = [m.model_dump() for m in client.agents.messages.list(agent.id, order="asc")]
    server.kill()
    server.start()
    assert [m.model_dump() for m in client.agents.messages.list(agent.id, order="asc")] == history
    assert f"remember {token}" in client.agents.blocks.retrieve("human", agent_id=agent.id).value
    assert client.agents.retrieve(agent.id).name == agent.name
    answer = send(client, agent, f"after {token}")
    assert answer.stop_reason.stop_reason == "end_turn"
    said = model.last_request(f"after {token}")["messages"]
    assert [m["role"] for m in said] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert said[4]["content"] == reply(first)


def test_a_message_that_was_at_work_is_not_lost(restartable, model, token):
    server, client, agent = restartable
    failure = []

    def talk():
        try:
            send(client, agent, f"[[hang-at 1]] {token}")
        except Exception as error:  # noqa: BLE001, the connection may break in more than one way
            failure.append(error)

    talking = threading.Thread(target=talk)
    talking.start()
    eventually(lambda: model.requests(token), "the model was asked")
    server.kill()
    talking.join()
    assert failure, "the client saw the connection break"
    server.start()
    (run,) = client.runs.list(agent_id=agent.id)
    eventually(lambda: client.runs.retrieve(run.id).status in TERMINAL, "the run is over", 30)
    assert client.runs.retrieve(run.id).status == "completed"
    found = list(client.agents.messages.list(agent.id, order="asc"))
    assert kinds(found) == ["system_message", "user_message", "assistant_message"]
    assert send(client, agent, "next").stop_reason.stop_reason == "end_turn"


def test_waiting_messages_survive_in_their_order(restartable, token):
    server, client, agent = restartable
    runs = [
        client.agents.messages.create_async(agent.id, messages=[user(f"[[sleep 300]] {token} {n}")]).id
        for n in range(4)
    ]
    server.kill()
    server.start()
    eventually(lambda: all(client.runs.retrieve(r).status == "completed" for r in runs), "all runs are over", 30)
    said = [m.content for m in of_kind(client.agents.messages.list(agent.id, order="asc"), "user_message")]
    assert said == [f"[[sleep 300]] {token} {n}" for n in range(4)]


def test_a_resend_after_a_kill_is_not_taken_in_twice(restartable, token):
    server, client, agent = restartable
    message = {**user(f"once {token}"), "otid": "7f1c4b9e-0000-4000-8000-000000000002"}
    first = client.agents.messages.create(agent.id, messages=[message])
    server.kill()
    server.start()
    again = client.agents.messages.create(agent.id, messages=[message])
    assert [m.model_dump() for m in again.messages] == [m.model_dump() for m in first.messages]
    assert len(of_kind(client.agents.messages.list(agent.id), "user_message")) == 1


def test_a_stopped_server_is_out_within_five_seconds_and_loses_nothing(restartable, token):
    server, client, agent = restartable
    run = client.agents.messages.create_async(agent.id, messages=[user(f"[[sleep 8000]] {token}")])
    eventually(lambda: client.runs.retrieve(run.id).status == "running", "the run has begun")
    assert server.terminate() < 5
    assert server.process.returncode == 0
    server.start()
    eventually(lambda: client.runs.retrieve(run.id).status == "completed", "the run is over", 30)
    assert [m.content for m in of_kind(client.agents.messages.list(agent.id), "user_message")] == [
        f"[[sleep 8000]] {token}"
    ]


def test_secrets_are_readable_after_a_restart_and_not_in_plain_on_disk(restartable):
    server, client, agent = restartable
    secret = "correct-horse-battery"
    client.agents.update(agent.id, secrets={"KEY": secret})
    server.terminate()
    for file in server.folder.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file
    server.start()
    (kept,) = client.agents.retrieve(agent.id, include=["agent.secrets"]).secrets
    assert (kept.key, kept.value) == ("KEY", secret)


def test_the_data_folder_and_its_key_are_closed_to_others(restartable):
    server, _, _ = restartable
    data = server.folder / "data"
    assert data.stat().st_mode & 0o077 == 0
    (key,) = data.glob("*.key")
    assert key.stat().st_mode & 0o077 == 0


def test_a_second_server_on_the_same_folder_is_refused(restartable, engine):
    server, client, _ = restartable
    second = Server(engine, None, folder=server.folder)
    with pytest.raises(AssertionError, match="ended while it started"):
        second.start()
    assert str(server.folder / "data") in server.log()
    assert httpx.get(f"{server.url}/v1/health").status_code == 200
    assert list(client.agents.list())
