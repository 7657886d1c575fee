"""Tools that reach beyond themselves: to packages, and to their own server."""

import json

import httpx
import pytest
from letta_client import Letta

from programs import MODEL, Server
from talk import of_kind, send
from tool_calls import ASKS, DOCS, called


@pytest.fixture(scope="module")
def online(engine, model):
    """A server that may fetch packages, with its client."""
    server = Server(engine, model, MNEMIC_OFFLINE="false", MNEMIC_MODELS_FETCH="false").start()
    with Letta(base_url=server.url, api_key="sk-none", max_retries=0, timeout=120) as sdk:
        yield sdk
    server.close()


@pytest.fixture
def packaged(online, token):
    """Makes a tool there and an agent that has it."""

    def packaged(source, *packages):
        name = f"f_{token}"
        source = source.replace("NAME", name).replace("DOCS", DOCS)
        made = online.tools.create(source_code=source, pip_requirements=[{"name": package} for package in packages])
        return made, online.agents.create(model=MODEL, tool_ids=[made.id], tags=[token])

    return packaged


PYDANTIC = '''
from typing import List
from pydantic import BaseModel, Field

class Item(BaseModel):
    sku: str = Field(description="which")
    count: int = Field(1, description="how many")

def NAME(items: List[Item]) -> Item:
    """Adds up.

    Args:
        items: what
    """
    return Item(sku="+".join(item.sku for item in items), count=sum(item.count for item in items))
'''


def test_packages_that_a_tool_needs_are_there(online, packaged):
    made, agent = packaged(PYDANTIC, "pydantic")
    returned = called(online, agent, made.name, items=[{"sku": "a"}, {"sku": "b", "count": 3}])
    assert returned.status == "success", returned.tool_return
    assert json.loads(returned.tool_return) == {"sku": "a+b", "count": 4}


CLIENT = '''
def NAME(a: int, client) -> str:
    DOCS
    agents = [agent.id for agent in client.agents.list(tags=["TOKEN"])]
    passage = client.agents.passages.create(agents[0], text=f"{a} boats")
    try:
        client.agents.messages.create(agents[0], messages=[{"role": "user", "content": "hello"}])
    except Exception as error:
        refused = type(error).__name__
    try:
        client.blocks.retrieve("block-00000000-0000-4000-8000-000000000000")
    except Exception as error:
        missing = type(error).__name__
    return [agents, refused, missing]
'''


def test_a_tool_reaches_its_server_through_the_sdk_and_nothing_else(online, packaged, token):
    made, agent = packaged(CLIENT.replace("TOKEN", token), "letta-client")
    assert "client" not in made.json_schema["parameters"]["properties"]
    returned = called(online, agent, made.name, a=4)
    assert returned.status == "success", (returned.tool_return, returned.stderr)
    assert json.loads(returned.tool_return) == [[agent.id], "ConflictError", "NotFoundError"]
    (passage,) = online.agents.passages.list(agent.id)
    assert passage.text == "4 boats"


def test_a_tool_that_uses_the_client_without_its_package_says_what_to_add(run):
    answer = run("def NAME():\n    return client.agents.list()")
    assert answer["status"] == "error" and "letta-client" in answer["tool_return"], answer


def test_tools_that_call_themselves_over_and_over_come_to_an_end(online, packaged):
    made, agent = packaged(
        "def NAME(a: int, client, agent_id: str):\n    DOCS\n"
        "    return client.agents.tools.run('NAME', agent_id=agent_id, args={'a': a + 1}).func_return",
        "letta-client",
    )
    assert "too many times over" in called(online, agent, made.name, a=1).tool_return


def test_packages_that_can_not_be_had_are_told_with_the_reason(online, packaged, http):
    made, agent = packaged("def NAME(a: int):\n    DOCS\n    return 1", "no-such-package-of-mnemic")
    told = called(online, agent, made.name, a=1).tool_return
    assert "no-such-package-of-mnemic" in told and "can't be installed" in told
    body = {"source_code": "def f():\n    return 1", "args": {}, "pip_requirements": [{"name": "pydantic"}]}
    assert "offline" in http.post("/v1/tools/run", json=body).json()["tool_return"]


def test_a_tool_needs_no_password_for_its_own_server_and_can_not_pretend_to_be_another_user(own_server):
    server = own_server(MNEMIC_SECURE="true", MNEMIC_PASSWORD="open")
    source = "def f():\n    return [client._door.ask('GET', '/v1/agents/')[0], client._door.ask('GET', '/v1/no/such')[0]]"
    with httpx.Client(base_url=server.url, timeout=60, headers={"authorization": "Bearer open"}) as http:
        answer = http.post("/v1/tools/run", json={"source_code": source, "args": {}}).json()
    assert answer["tool_return"] == "[200,404]", answer
    assert httpx.post(f"{server.url}/v1/tools/run", json={"source_code": source, "args": {}}).status_code == 401


def test_garbage_on_the_call_channel_is_the_callers_own_error(run):
    forged = (
        "import os, struct\ndef f():\n    client\n"
        "    for fd in range(3, 20):\n        try:\n            os.write(fd, struct.pack('<I', 9) + b'no answer')\n        except OSError:\n            pass\n"
        "    return 1"
    )
    answer = run(forged)
    assert answer["status"] == "error" and "can't be read" in answer["tool_return"], answer
    assert run("def f():\n    return 2")["tool_return"] == "2"


def test_a_tool_can_not_send_to_the_agent_in_whose_turn_it_is_whatever_the_way(client, asks):
    agent, ask = asks
    body = {"messages": [{"role": "user", "content": "hello"}]}
    conversation = client.conversations.create(agent_id=agent.id)
    for path in (
        f"/v1/agents/{agent.id}/messages",
        f"/v1/agents/{agent.id.replace('-', '%2D')}/messages/async",
        f"/v1/conversations/{conversation.id}/messages",
    ):
        status, text = ask("POST", path, body)
        assert status == 409 and "can't be sent a message" in text, (path, text)


def test_turns_of_other_agents_wait_for_no_turn_of_the_tool_that_waits_for_them(own_server, own_client):
    server = own_server(MNEMIC_TOOLS_AT_ONCE="1", MNEMIC_TOOL_TIMEOUT_SECONDS="20")
    sdk = own_client(server)
    asking = sdk.tools.create(source_code=ASKS.replace("NAME", "asking"))
    plain = sdk.tools.create(source_code="def plain(a: int):\n    DOCS\n    return a + 1".replace("DOCS", DOCS))
    below = sdk.agents.create(model=MODEL, tool_ids=[plain.id, asking.id])
    above = sdk.agents.create(model=MODEL, tool_ids=[asking.id])

    def sends(agent, text):
        path = f"/v1/agents/{agent.id}/messages"
        return {"method": "POST", "path": path, "body": {"messages": [{"role": "user", "content": text}]}}

    def through(text):
        return sdk.agents.tools.run("asking", agent_id=above.id, args=sends(below, text)).func_return

    status, text = through('[[call plain {"a": 1}]]')
    assert status == 200 and '"tool_return":"2"' in text
    status, text = through(f"[[call asking {json.dumps(sends(above, 'hello'))}]]")
    assert status == 200 and "can't be sent a message from there" in text


def test_what_a_tool_changes_through_its_client_is_the_calls_doing(client, http, make_agent, tool):
    made = tool(ASKS)
    agent = make_agent(tool_ids=[made.id])
    human = client.agents.blocks.retrieve("human", agent_id=agent.id)
    change = {"method": "PATCH", "path": f"/v1/blocks/{human.id}", "body": {"value": "Bo."}}
    answer = send(client, agent, f"[[call {made.name} {json.dumps(change)}]]")
    assert of_kind(answer.messages, "tool_return_message")[0].status == "success"
    newest = http.get(f"/v1/blocks/{human.id}/history").json()[0]
    call = of_kind(answer.messages, "tool_call_message")[0].tool_call
    assert newest["value"] == "Bo." and newest["author"]["agent_id"] == agent.id, newest
    author = newest["author"]
    assert author["user_id"] and author["tool_call_id"] == call.tool_call_id and author["run_id"] == answer.messages[0].run_id, newest


def test_in_one_persons_turn_what_another_said_is_not_there(http, make_agent, tool, token):
    # Backwards, since what Ada's own agent asks for is in her history.
    found = "return [status, sum(word[::-1] in text.decode() for word in body['find'])]"
    made = tool(ASKS.replace("return [status, text.decode()]", found))
    agent = make_agent(tool_ids=[made.id])

    def chat(user, text):
        body = {"model": agent.id, "user": f"{user}-{token}", "messages": [{"role": "user", "content": text}]}
        answer = http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"][0]["message"]["content"]

    chat("ben", f"the heron {token} is mine")
    chat("ada", "hello")
    threads = http.get("/v1/conversations/", params={"agent_id": agent.id}).json()
    [bens] = [one["id"] for one in threads if token in http.get(f"/v1/conversations/{one['id']}/messages").text]
    said = http.get(f"/v1/conversations/{bens}/messages").json()
    [run] = {one["run_id"] for one in said if one["message_type"] == "user_message"}
    own = [one["id"] for one in said if one["message_type"] == "user_message"]

    def asked(method, path, body=None):
        """The status, and how many words of Ben's were in the answer."""
        args = {"method": method, "path": path, "body": (body or {}) | {"find": [f"the heron {token}"[::-1], run[::-1]]}}
        return json.loads(chat("ada", f"[[call {made.name} {json.dumps(args)}]]").removeprefix("Done: "))

    of_agent = f"?agent_id={agent.id}&limit=100"
    for path in (f"agents/{agent.id}/messages{of_agent}", f"conversations/{of_agent}", f"runs/{of_agent}", f"steps/{of_agent}"):
        assert asked("GET", f"/v1/{path}") == [200, 0], path
    assert asked("POST", "/v1/messages/search", {"query": "heron"}) == [200, 0]
    for path in (f"conversations/{bens}", f"conversations/{bens}/messages", f"messages/{own[0]}", f"runs/{run}", f"runs/{run}/messages"):
        assert asked("GET", f"/v1/{path}")[0] == 404, path
    # Nor does another agent that knows Ben tell Ada's of him.
    other = make_agent()
    body = {"model": other.id, "user": f"ben-{token}", "messages": [{"role": "user", "content": f"the heron {token} is mine"}]}
    http.post("/v1/chat/completions", json=body).raise_for_status()
    bens_words = {"user": f"ben-{token}", "messages": [{"role": "user", "content": "what is mine?"}]}
    assert asked("POST", "/v1/chat/completions", bens_words | {"model": other.id}) == [404, 0]
    assert asked("POST", "/v1/responses", {"model": other.id, "user": f"ben-{token}", "input": "what is mine?"}) == [404, 0]
    status, _ = asked("POST", "/v1/chat/completions", {"model": other.id, "messages": bens_words["messages"]})
    assert status == 200, "it speaks there as Ada"
    spoken = http.get("/v1/conversations/", params={"agent_id": other.id}).json()
    assert len([one for one in spoken if "what is mine?" in http.get(f"/v1/conversations/{one['id']}/messages").text]) == 1
    status, _ = asked("POST", f"/v1/conversations/{bens}/messages", {"messages": [{"role": "user", "content": "hi"}]})
    assert status in (404, 409), "nor can it be spoken to there"
