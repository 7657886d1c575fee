"""Runs whose agent, conversation, request or context comes to an odd end: nothing hangs, nothing is lost."""

import re
import subprocess
import threading
import time

import httpx
import letta_client
import pytest

from programs import MODEL, eventually, named
from talk import of_kind, send, stop_reason, stream, user


def in_background(work, *arguments):
    answers = []

    def run():
        try:
            answers.append(work(*arguments))
        except (letta_client.APIError, httpx.HTTPError) as error:
            answers.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, answers


def test_an_agent_deleted_with_requests_in_line_lets_nobody_hang(own_server, own_client):
    server = own_server()
    client = own_client(server)
    agent = client.agents.create(model=MODEL)
    senders = [in_background(send, client, agent, f"[[hang]] {n}") for n in range(4)]
    eventually(lambda: len(list(client.runs.list(agent_id=agent.id, active=True))) == 4, "all are accepted")
    client.agents.delete(agent.id)
    for thread, _ in senders:
        thread.join(10)
        assert not thread.is_alive(), "a client hangs"
    size = len(server.log(10**9))
    time.sleep(0.5)
    assert len(server.log(10**9)) - size < 5_000, "it goes on writing into its log"


def test_a_run_whose_agent_is_deleted_ends_as_cancelled(client, make_agent):
    agent = make_agent()
    thread, answers = in_background(stream, client, agent, "[[hang]] on")
    eventually(lambda: list(client.runs.list(agent_id=agent.id, active=True)), "it runs")
    client.agents.delete(agent.id)
    thread.join(10)
    assert stop_reason(answers[0]) == "cancelled"


def test_a_run_whose_conversation_is_deleted_is_over_also_after_a_crash(own_server, own_client):
    server = own_server()
    client = own_client(server)
    agent = client.agents.create(model=MODEL)
    conversation = client.conversations.create(agent_id=agent.id)
    path = f"{server.url}/v1/conversations/{conversation.id}/messages"
    body = {"messages": [user("[[hang]] on")], "background": True}
    thread, _ = in_background(lambda: httpx.post(path, json=body, timeout=10))
    run = eventually(lambda: list(client.runs.list(agent_id=agent.id, active=True)), "it runs")[0]
    client.conversations.delete(conversation.id)
    server.kill()
    server.start()
    eventually(lambda: client.runs.retrieve(run.id).status == "cancelled", "the run is over")
    assert send(client, agent, "and on").stop_reason.stop_reason == "end_turn"
    thread.join(10)


def test_a_run_whose_request_cannot_be_read_ends_and_the_server_starts(own_server, own_client, engine):
    server = own_server()
    client = own_client(server)
    agent = client.agents.create(model=MODEL)
    run = client.agents.messages.create_async(agent.id, messages=[user("[[hang]] on")])
    eventually(lambda: client.runs.retrieve(run.id).status == "running", "it runs")
    server.kill()
    spoil = f"UPDATE {{}}runs SET input = '{{{{}}}}' WHERE id = '{run.id}'"
    if engine == "postgres":
        url = server.environment["MNEMIC_DATABASE_URL"]
        subprocess.run([named("PSQL"), url, "-qc", spoil.format("mnemic.")], check=True)
    else:
        import sqlite3

        with sqlite3.connect(server.folder / "data" / "mnemic.db") as database:
            database.execute(spoil.format(""))
    server.start()
    eventually(lambda: client.runs.retrieve(run.id).status == "failed", "the run is over")
    assert send(client, agent, "and on").stop_reason.stop_reason == "end_turn"


@pytest.mark.parametrize("text", ["[[overflow]] too long", "[[error 400]] " + "word " * 30_000])
def test_a_request_that_fails_for_its_length_leaves_the_context(client, make_agent, text):
    agent = make_agent(context_window_limit=16_000)
    for n in range(6):
        send(client, agent, f"turn {n}")
    before = client.agents.retrieve(agent.id).message_ids
    with pytest.raises(letta_client.APIStatusError):
        send(client, agent, text)
    assert client.agents.retrieve(agent.id).message_ids == before
    assert send(client, agent, "and on").stop_reason.stop_reason == "end_turn"


def test_a_full_context_lets_its_oldest_messages_go_and_goes_on(client, make_agent, model, token):
    agent = make_agent(context_window_limit=12_000)
    for n in range(8):
        send(client, agent, f"{token} {n} " + "word " * 1_000)
    kept = client.agents.retrieve(agent.id).message_ids
    assert 1 < len(kept) < 17
    told = of_kind(client.agents.messages.list(agent.id, limit=100), "user_message")
    assert len([m for m in told if m.content.startswith(token)]) == 8
    send(client, agent, f"last {token}")
    said = [m for m in model.last_request(f"last {token}")["messages"] if m["role"] == "user"]
    assert said[-1]["content"] == f"last {token}" and len(said) < 9


def test_a_model_for_one_request_shortens_the_context_for_that_request_only(client, make_agent, model, token):
    agent = make_agent()
    for n in range(4):
        send(client, agent, f"{token} {n} " + "word " * 1_500)
    before = client.agents.retrieve(agent.id).message_ids
    send(client, agent, f"small {token}", extra_body={"override_model": "openai-proxy/scripted-small"})
    small = model.last_request(f"small {token}")["messages"]
    assert len(small) < len(before) + 1
    after = client.agents.retrieve(agent.id).message_ids
    assert after[: len(before)] == before and len(after) == len(before) + 2
    send(client, agent, f"large {token}")
    assert len(model.last_request(f"large {token}")["messages"]) == len(after) + 1


def test_the_wrong_encryption_key_is_refused_at_the_start(own_server, own_client):
    server = own_server(MNEMIC_ENCRYPTION_KEY="the right one, and long enough")
    own_client(server).agents.create(model=MODEL, secrets={"TOKEN": "hush"})
    server.kill()
    server.environment["MNEMIC_ENCRYPTION_KEY"] = "another one, and long enough"
    with pytest.raises(AssertionError, match="encryption key"):
        server.start()
    server.environment["MNEMIC_ENCRYPTION_KEY"] = "the right one, and long enough"
    server.start()


@pytest.mark.parametrize(
    "path",
    ["agents/?tags=%00", "agents/?tags=a%00&match_all_tags=true", "agents/?identifier_keys=%00", "tools/?name=%00",
     "tools/?names=%00", "blocks/?label=%00"],
)
def test_a_nul_in_a_list_finds_nothing(http, path):
    answer = http.get(f"/v1/{path}")
    assert answer.status_code == 200 and answer.json() == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_a_page_of_any_origin_could_send_is_refused(http, kind):
    answer = http.post("/v1/blocks/", content=b'{"label": "x", "value": "y"}', headers={"content-type": kind})
    assert answer.status_code == 415 and "application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    "name, value", [("MNEMIC_MAX_CONTEXT_WINDOW", "-5"), ("MNEMIC_QUEUE_DEPTH", "0"), ("MNEMIC_SECURE", "perhaps")]
)
def test_settings_out_of_their_bounds_are_refused_at_the_start(own_server, name, value):
    with pytest.raises(AssertionError, match=name):
        own_server(**{name: value})


def test_a_lost_key_costs_the_secrets_and_nothing_else(own_server, own_client):
    server = own_server(MNEMIC_ENCRYPTION_KEY="the one that will be lost")
    sdk = own_client(server)
    agent = sdk.agents.create(model=MODEL, secrets={"API_KEY": "s3cret"}, memory_blocks=[{"label": "a", "value": "b"}])
    config = httpx.post(f"{server.url}/v1/sandbox-config/local/default").json()
    variables = f"{server.url}/v1/sandbox-config/{config['id']}/environment-variable"
    httpx.post(variables, json={"key": "CITY", "value": "Bath"}).raise_for_status()
    server.kill()
    server.environment["MNEMIC_ENCRYPTION_KEY"] = "the one from now on"
    with pytest.raises(AssertionError, match="forget-secrets"):
        server.start()
    command = [named("MNEMIC_BIN"), "forget-secrets", "--data-dir", str(server.folder / "data")]
    said = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=True)
    assert "deleted: 2" in said.stdout + said.stderr
    server.start()
    found = sdk.agents.retrieve(agent.id, include=["agent.secrets", "agent.blocks"])
    assert not found.secrets
    assert [block.value for block in found.blocks] == ["b"]
    assert httpx.get(variables).json() == []


def test_operators_see_how_much_there_is_of_what_grows(http, make_agent):
    agent = make_agent()
    http.post(f"/v1/agents/{agent.id}/archival-memory", json={"text": "The mast is made of spruce."})
    assert http.get(f"/v1/agents/{agent.id}/archival-memory/search", params={"query": "mast"}).json()["count"] == 1
    shown = http.get("/metrics")
    assert shown.headers["content-type"].startswith("text/plain")
    values = dict(line.rsplit(" ", 1) for line in shown.text.splitlines() if not line.startswith("#"))
    assert float(values["mnemic_search_indexes"]) >= 1
    assert float(values["mnemic_search_index_bytes"]) > 0
    assert {"mnemic_live_runs", "mnemic_embedding_backlog"} <= set(values)


PARALLEL = """
def NAME(n: int) -> int:
    \"\"\"Doubles.

    Args:
        n: what is doubled
    \"\"\"
    return 2 * n
"""


@pytest.mark.parametrize("tools", ["the server's own", "what somebody wrote"])
def test_a_turn_with_three_tools_in_parallel_takes_at_most_four_commits(own_server, own_client, token, tools):
    server = own_server(MNEMIC_DEFAULT_EMBEDDING="none")
    client = own_client(server)
    commits = lambda: int(re.search(r"^mnemic_commits_total (\d+)", httpx.get(f"{server.url}/metrics").text, re.M)[1])
    if tools == "what somebody wrote":
        made = client.tools.create(source_code=PARALLEL.replace("NAME", "double"), enable_parallel_execution=True)
        agent, call = client.agents.create(model=MODEL, tool_ids=[made.id]), '[[call double {"n": 2}]]'
    else:
        agent, call = client.agents.create(model=MODEL), '[[call conversation_search {"query": "boats"}]]'
    send(client, agent, "hello")
    counted = []
    for n in range(3):
        before = commits()
        answer = send(client, agent, f"{n} {call * 3}")
        counted.append(commits() - before)
        assert len(of_kind(answer.messages, "tool_return_message")) == 3 and answer.usage.step_count == 2
    # Leases are renewed beside, now and then.
    assert min(counted) <= 4, counted
