"""Tools that people write, run: by agents and by clients, in the sandbox."""

import json
import threading
import time

import httpx
import pytest
from letta_client import Letta

from programs import MODEL, Server, eventually
from talk import of_kind, send, system_prompt

DOCS = '"""Does it.\n\n    Args:\n        a (int): first\n    """'


@pytest.fixture
def tool(client, token):
    """Makes tools of sources in which NAME stands for a name that no other test uses."""

    def tool(source, suffix="", **fields):
        name = f"f_{token}{suffix}"
        return client.tools.create(source_code=source.replace("NAME", name).replace("DOCS", DOCS), **fields)

    return tool


@pytest.fixture
def run(http):
    """Runs a source once."""

    def run(source, args=None, **fields):
        body = {"source_code": source.replace("NAME", "f").replace("DOCS", DOCS), "args": args or {}, **fields}
        answer = http.post("/v1/tools/run", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return run


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


def called(client, agent, name, **arguments):
    """What a tool's call brought, as the client sees it."""
    answer = send(client, agent, f"[[call {name} {json.dumps(arguments)}]]")
    return of_kind(answer.messages, "tool_return_message")[-1]


def block(client, agent, label="human"):
    return client.agents.blocks.retrieve(label, agent_id=agent.id).value


def test_an_agent_calls_a_tool_and_its_model_reads_what_it_returned(client, model, token, make_agent, tool):
    made = tool("def NAME(a: int):\n    DOCS\n    print('adding')\n    return {'sum': a + 2.5}")
    agent = make_agent(tool_ids=[made.id])
    returned = called(client, agent, made.name, a=1)
    assert returned.status == "success" and json.loads(returned.tool_return) == {"sum": 3.5}
    assert returned.stdout == ["adding"]
    assert '"sum":3.5' in json.dumps(model.requests(made.name)[-1]["messages"]).replace("\\", "")


def test_arguments_come_as_their_hints_name_them_and_left_out_options_are_none(run):
    source = """
from enum import Enum
from typing import List, Literal, Optional, Tuple
class Color(Enum):
    RED = "red"
async def NAME(n: int, x: float, names: List[str], color: Color, at: Tuple[int, int], note: Optional[str], *, mode: Literal["a", "b"] = "a"):
    return [type(v).__name__ for v in (n, x, names, color, at, note, mode)]
"""
    answer = run(source, {"n": "3", "x": 1, "names": ["a"], "color": "red", "at": [1, 2]})
    assert json.loads(answer["tool_return"]) == ["int", "float", "list", "Color", "tuple", "NoneType", "str"]


def test_an_error_is_told_with_the_line_of_the_tools_own_source_and_the_run_goes_on(client, make_agent, tool):
    made = tool("def helper(a):\n    raise ValueError(f'no {a}')\n\ndef NAME(a: int):\n    DOCS\n    return helper(a)")
    agent = make_agent(tool_ids=[made.id])
    answer = send(client, agent, f'[[call {made.name} {{"a": 7}}]]')
    returned = of_kind(answer.messages, "tool_return_message")[-1]
    assert returned.status == "error"
    assert returned.tool_return == f"Error executing function {made.name}: ValueError: no 7"
    assert any("line 2, in helper" in line for line in returned.stderr), returned.stderr
    assert answer.messages[-1].message_type == "assistant_message"


def test_a_tool_sees_its_agent_and_what_it_changes_in_memory_is_kept_with_its_author(client, http, model, token, make_agent, tool):
    made = tool(
        "def NAME(a: int, agent_state: 'AgentState', agent_id: str):\n    DOCS\n"
        "    human = agent_state.memory.get_block('human')\n"
        "    agent_state.memory.update_block_value(label='human', value=human.value + f' {a} boats.')\n"
        "    return [agent_state.name, agent_state.id == agent_id, [t.name for t in agent_state.tools]]"
    )
    assert list(made.json_schema["parameters"]["properties"]) == ["a"]
    agent = make_agent(tool_ids=[made.id], include_base_tools=False)
    returned = called(client, agent, made.name, a=3)
    assert json.loads(returned.tool_return) == [agent.name, True, [made.name]]
    assert block(client, agent) == "Ada sails. 3 boats."
    kept = client.agents.blocks.retrieve("human", agent_id=agent.id)
    newest = str(http.get(f"/v1/blocks/{kept.id}/history").json()[0])
    assert "3 boats" in newest and agent.id in newest and returned.tool_call_id in newest, newest
    send(client, agent, f"and now? {token}")
    assert "3 boats" in system_prompt(model.requests(token)[-1])


@pytest.mark.parametrize("change, reason", [({"read_only": True}, "read-only"), ({"limit": 12}, "at most 12")])
def test_a_change_of_memory_that_is_refused_is_told(client, make_agent, tool, change, reason):
    made = tool(
        "def NAME(a: int, agent_state):\n    DOCS\n"
        "    agent_state.memory.get_block('human').value = 'much longer than before'\n    print('ran')\n    return 'fine'",
        args_json_schema={"type": "object", "description": "d", "properties": {"a": {"type": "integer", "description": "x"}}},
    )
    agent = make_agent(tool_ids=[made.id], memory_blocks=[{"label": "human", "value": "Ada sails.", **change}])
    returned = called(client, agent, made.name, a=1)
    assert returned.status == "error" and "the tool ran" in returned.tool_return, returned.tool_return
    assert reason in returned.tool_return
    assert returned.stdout == ["ran"] and block(client, agent) == "Ada sails."


def test_secrets_of_the_agent_are_variables_and_those_of_the_server_are_not(client, make_agent, tool, own_server, own_client):
    source = "import os\ndef NAME(a: int):\n    DOCS\n    return dict(os.environ)"
    made = tool(source)
    agent = make_agent(tool_ids=[made.id], secrets={"KEY": "s3cret"})
    seen = json.loads(called(client, agent, made.name, a=1).tool_return)
    ids = {"LETTA_AGENT_ID": agent.id, "LETTA_TOOL_ID": made.id, "LETTA_PROJECT_ID": ""}
    assert seen == {"KEY": "s3cret"} | ids
    other = make_agent(tool_ids=[made.id])
    assert "KEY" not in json.loads(called(client, other, made.name, a=1).tool_return)


def test_what_is_granted_is_opened_as_far_as_the_administrator_lets_it(own_server, tmp_path):
    shared, closed = tmp_path / "shared", tmp_path / "closed"
    for folder in (shared, closed):
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        (folder / "in.txt").write_text("words")
    tmp_path.chmod(0o755)
    server = own_server(MNEMIC_TOOL_FOLDERS=str(shared), MNEMIC_TOOL_VARIABLES="CITY", CITY="Bath", OTHER="x")
    with httpx.Client(base_url=server.url, timeout=60) as http:

        def refused(grants):
            body = {"source_code": read, "grants": grants}
            answer = http.post("/v1/tools/", json=body)
            assert answer.status_code == 400, answer.text
            return answer.json()["detail"]

        def run(source, grants):
            body = {"source_code": source, "grants": grants}
            tool = http.post("/v1/tools/", json=body)
            assert tool.status_code == 200, tool.text
            assert tool.json()["grants"]["variables"] == grants.get("variables", [])
            agent = http.post("/v1/agents/", json={"model": MODEL, "tool_ids": [tool.json()["id"]]}).json()
            name = tool.json()["name"]
            return http.post(f"/v1/agents/{agent['id']}/tools/{name}/run", json={"args": {}}).json()

        read = f"def f():\n    '''d'''\n    return open('{shared}/in.txt').read()"
        write = f"def f():\n    '''d'''\n    open('{shared}/out.txt', 'w').write('x')\n    return 'written'"
        folder = {"path": str(shared)}
        assert run(read, {"folders": [folder]})["func_return"] == "words"
        denied = run(read, {})
        assert denied["status"] == "error" and f"no grant for the folder {shared}" in denied["func_return"]
        assert run(write, {"folders": [folder]})["status"] == "error" and not (shared / "out.txt").exists()
        assert run(write, {"folders": [folder | {"access": "write"}]})["func_return"] == "written"
        assert (shared / "out.txt").read_text() == "x"
        for beyond in (closed, f"{shared}/../closed", tmp_path / "missing", "shared"):
            assert "tool_folders" in refused({"folders": [{"path": str(beyond)}]})
        later = shared / "later"
        assert "can't be opened" in run(read, {"folders": [{"path": str(later)}]})["func_return"]
        later.mkdir()
        assert run(read, {"folders": [{"path": str(later)}]})["status"] == "error", "it is opened, and not the one above"
        city = "import os\ndef f():\n    '''d'''\n    return os.environ.get('CITY')"
        assert run(city, {"variables": ["CITY"]})["func_return"] == "Bath"
        assert run(city, {})["func_return"] is None
        beyond = refused({"variables": ["OTHER"]})
        assert "OTHER" in beyond and "tool_variables" in beyond
        kept = http.post("/v1/tools/", json={"source_code": city, "grants": {"variables": ["CITY"]}}).json()
        agent = http.post("/v1/agents/", json={"model": MODEL, "tool_ids": [kept["id"]]}).json()
    # What was granted once is not there for ever.
    server.terminate()
    server.environment["MNEMIC_TOOL_VARIABLES"] = ""
    server.start()
    with httpx.Client(base_url=server.url, timeout=60) as http:
        answer = http.post(f"/v1/agents/{agent['id']}/tools/{kept['name']}/run", json={"args": {}}).json()
        assert answer["status"] == "error" and "tool_variables" in answer["func_return"], answer


def test_a_client_runs_a_tool_of_an_agent(client, make_agent, tool):
    made = tool(
        "def NAME(a: int, agent_state=None):\n    DOCS\n    print('x')\n"
        "    agent_state.memory.update_block_value('human', 'Bo.')\n    return {'a': [a, None, 1.5]}"
    )
    agent = make_agent(tool_ids=[made.id])
    done = client.agents.tools.run(made.name, agent_id=agent.id, args={"a": 1})
    assert done.status == "success" and done.func_return == {"a": [1, None, 1.5]} and done.stdout == ["x"]
    assert block(client, agent) == "Bo."
    wrong = client.agents.tools.run(made.name, agent_id=agent.id, args={"b": 1})
    assert wrong.status == "error" and "unexpected keyword argument 'b'" in wrong.func_return


def test_what_cannot_be_run_is_an_error_of_the_request(http, agent):
    answer = http.post(f"/v1/agents/{agent.id}/tools/nothing/run", json={"args": {}})
    assert answer.status_code == 404 and "nothing" in answer.json()["detail"], answer.text
    assert http.post("/v1/tools/run", json={"source_code": "x = 1"}).status_code == 422


@pytest.mark.parametrize(
    "source, told",
    [
        ("def f(:\n", "line 1: this is no Python"),
        ("x = 1\n", "no top-level function"),
        ("import nothing_of_that_name\ndef f():\n    pass\n", "No module named 'nothing_of_that_name'"),
        ("def f():\n    import sys\n    sys.exit(3)\n", "SystemExit"),
        ("def f():\n    import os\n    os._exit(3)\n", "exit code 3"),
        ("def f():\n    return 'x' * 9_000_000\n", "its result is longer than"),
    ],
)
def test_what_is_wrong_with_a_source_is_told(run, source, told):
    answer = run(source)
    assert answer["status"] == "error" and told in answer["tool_return"], answer


def test_a_long_return_is_cut_where_the_tool_says(client, make_agent, tool):
    made = tool("def NAME(a: int):\n    DOCS\n    return 'x' * a", return_char_limit=100)
    returned = called(client, make_agent(tool_ids=[made.id]), made.name, a=500)
    assert returned.tool_return.startswith("x" * 100 + "\n") and "500" in returned.tool_return


def test_a_source_without_types_runs_wherever_node_is(run):
    source = "/** Adds. */\nexport async function f(a, b) { console.log('adding'); return { sum: a + b }; }"
    answer = run(source, {"b": 2, "a": "1"}, source_type="typescript")
    assert json.loads(answer["tool_return"]) == {"sum": "12"} and answer["stdout"] == ["adding"]


def test_javascript_sees_its_agent_and_its_memory(client, make_agent, token):
    name = f"f_{token}"
    source = (
        f"export function {name}(a, agent_state) {{\n"
        "  agent_state.memory.updateBlockValue('human', `${a} boats`);\n  return agent_state.name;\n}"
    )
    parameters = {"type": "object", "properties": {"a": {"type": "integer", "description": "how many"}}}
    schema = {"name": name, "description": "Counts.", "parameters": parameters}
    made = client.tools.create(source_code=source, source_type="typescript", json_schema=schema)
    agent = make_agent(tool_ids=[made.id])
    assert called(client, agent, name, a=2).tool_return == agent.name
    assert block(client, agent) == "2 boats"


def test_a_call_that_takes_too_long_ends_and_the_next_works(own_server):
    server = own_server(MNEMIC_TOOL_TIMEOUT_SECONDS="1")
    with httpx.Client(base_url=server.url, timeout=60) as http:
        body = {"source_code": "def f(n: int):\n    while n: pass\n    return 'done'", "args": {"n": 1}}
        late = http.post("/v1/tools/run", json=body).json()
        assert late["status"] == "error" and "within 1s" in late["tool_return"], late
        assert http.post("/v1/tools/run", json=body | {"args": {"n": 0}}).json()["tool_return"] == "done"


def test_a_cancel_ends_a_tool_with_everything_it_started(client, http, make_agent, tool):
    made = tool("import time\ndef NAME(a: int):\n    DOCS\n    time.sleep(a)")
    agent = make_agent(tool_ids=[made.id])
    answers = []
    sending = threading.Thread(target=lambda: answers.append(send(client, agent, f'[[call {made.name} {{"a": 100}}]]')))
    began = time.monotonic()
    sending.start()
    path = f"/v1/agents/{agent.id}/messages/cancel"
    # A run can be cancelled from its beginning on; this one should be in its tool.
    time.sleep(1)
    eventually(lambda: any("cancelled" == state for state in http.post(path, json={}).json().values()) or not sending.is_alive(), "it is cancelled", 20)
    sending.join(30)
    assert answers and time.monotonic() - began < 30
    assert answers[0].stop_reason.stop_reason == "cancelled"


@pytest.mark.parametrize("name, language, needed", [("MNEMIC_PYTHON", "python", "Python"), ("MNEMIC_NODE", "typescript", "Node")])
def test_without_an_interpreter_tools_can_be_made_and_running_one_says_what_is_missing(own_server, name, language, needed):
    server = own_server(**{name: "/nowhere/to/be/found"})
    source = {
        "python": "def f(a: int):\n    '''D.\n\n    Args:\n        a: first\n    '''\n    return a",
        "typescript": "/** D.\n * @param a - first */\nexport function f(a: number) { return a; }",
    }[language]
    with httpx.Client(base_url=server.url, timeout=60) as http:
        assert http.post("/v1/tools/", json={"source_code": source, "source_type": language}).status_code == 200
        body = {"source_code": source, "source_type": language, "args": {"a": 1}}
        answer = http.post("/v1/tools/run", json=body).json()
        assert answer["status"] == "error" and needed in answer["tool_return"], answer
        assert "/nowhere/to/be/found" in answer["tool_return"]


def test_the_start_says_which_layers_keep_tools_in(own_server):
    server = own_server()
    eventually(lambda: "tools are" in server.log(200), "the layers are told", 20)
    log = server.log(200)
    assert all(layer in log for layer in ("namespaces", "Landlock", "seccomp", "rlimits", "cgroups"))


def test_nothing_of_one_agents_call_is_there_for_another(client, make_agent, tool):
    made = tool(
        "import os, builtins\ndef NAME(a: int):\n    DOCS\n"
        "    seen = [os.listdir('.'), getattr(builtins, 'left', None)]\n"
        "    open('left', 'w').write('x'); builtins.left = a\n    return seen"
    )
    agents = [make_agent(tool_ids=[made.id]) for _ in range(2)]
    for agent in agents * 2:
        assert json.loads(called(client, agent, made.name, a=1).tool_return) == [[], None]


@pytest.mark.parametrize("beside", [True, False])
def test_calls_of_one_turn_run_beside_each_other_where_the_tool_says_so(client, make_agent, tool, beside):
    made = tool("import time\ndef NAME(a: int):\n    DOCS\n    t = time.time()\n    time.sleep(1)\n    return [t, time.time()]")
    client.tools.update(made.id, enable_parallel_execution=beside)
    agent = make_agent(tool_ids=[made.id])
    answer = send(client, agent, " ".join(f'[[call {made.name} {{"a": {n}}}]]' for n in range(3)))
    times = [json.loads(message.tool_return) for message in of_kind(answer.messages, "tool_return_message")]
    assert len(times) == 3
    overlap = times[1][0] < times[0][1] and times[2][0] < times[1][1]
    assert overlap == beside


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


def code(client, agent, source, name="run_code", **arguments):
    returned = called(client, agent, name, code=source, **arguments)
    return json.loads(returned.tool_return)


def test_a_model_runs_code(client, make_agent):
    agent = make_agent(tools=["run_code"])
    done = code(client, agent, "import math\nprint('pi')\nmath.floor(math.pi)")
    assert done == {"results": [3], "logs": {"stdout": ["pi"], "stderr": []}, "error": None}
    done = code(client, agent, "console.log(1 + 1)", language="js")
    assert done["logs"]["stdout"] == ["2"] and done["error"] is None
    wrong = code(client, agent, "x = 1\nx / 0")["error"]
    assert (wrong["name"], wrong["line"]) == ("ZeroDivisionError", 2) and "line 2" in wrong["traceback"]
    closed = code(client, agent, "import socket\nsocket.create_connection(('127.0.0.1', 1))")["error"]
    assert "no grant for the network" in closed["value"]
    assert "python" in called(client, agent, "run_code", code="x", language="r").tool_return


def test_a_model_runs_code_that_calls_the_agents_tools(client, make_agent, tool):
    made = tool("def NAME(a: int, agent_state=None):\n    DOCS\n    print('asked', a)\n    return {'a': a * 2}")
    broken = tool("def NAME(a: int):\n    DOCS\n    raise ValueError('no')", suffix="_b")
    agent = make_agent(tool_ids=[made.id, broken.id], tools=["run_code_with_tools"])
    source = f"sum({made.name}(n)['a'] for n in range(3)) + {made.name}(a=10)['a']"
    done = code(client, agent, source, "run_code_with_tools")
    assert done["results"] == [26] and done["logs"]["stdout"] == ["asked 0", "asked 1", "asked 2", "asked 10"], done
    done = code(client, agent, f"{broken.name}(1)", "run_code_with_tools")
    assert "ValueError: no" in done["error"]["value"]
    done = code(client, agent, "client._door.ask('GET', '/v1/agents/')[0]", "run_code_with_tools")
    assert done["results"] == [403]


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


def test_a_host_that_was_granted_is_reached_and_no_other(own_server, model):
    """The scripted model's address stands for a service of the web."""
    source = (
        "import urllib.request\ndef f(path: str):\n    \"\"\"d\n\n    Args:\n        path: p\n    \"\"\"\n"
        "    return urllib.request.urlopen(path, timeout=20).read().decode()"
    )
    server = own_server(MNEMIC_ALLOW_PRIVATE_URLS="true", MNEMIC_TOOL_HOSTS=f"{model.address},*.example.com:8443")
    strict = own_server()
    for one, hosts, told in (
        (server, [model.address], "scripted"),
        (server, [], "no grant for the network"),
        (server, ["api.example.com:8443"], f"no grant for the host {model.address}"),
        (strict, [model.address], "no public address"),
    ):
        with httpx.Client(base_url=one.url, timeout=60) as http:
            for beyond in (["example.org"], ["http://a b"]) if one is server else ():
                refused = http.post("/v1/tools/", json={"source_code": source, "grants": {"hosts": beyond}})
                assert refused.status_code == 400 and beyond[0] in refused.text, refused.text
            made = http.post("/v1/tools/", json={"source_code": source, "grants": {"hosts": hosts}}).json()
            agent = http.post("/v1/agents/", json={"model": MODEL, "tool_ids": [made["id"]]}).json()
            body = {"args": {"path": f"http://{model.address}/v1/models"}}
            answer = http.post(f"/v1/agents/{agent['id']}/tools/f/run", json=body).json()
            text = json.dumps(answer)
            assert told in text and (answer["status"] == "success") == (told == "scripted"), (hosts, answer)


def test_code_that_calls_tools_needs_no_turn_of_its_own_for_them(own_server, own_client):
    server = own_server(MNEMIC_TOOLS_AT_ONCE="1", MNEMIC_TOOL_TIMEOUT_SECONDS="20")
    sdk = own_client(server)
    made = sdk.tools.create(source_code="def twice(a: int):\n    DOCS\n    return a * 2".replace("DOCS", DOCS))
    agent = sdk.agents.create(model=MODEL, tool_ids=[made.id], tools=["run_code_with_tools"])
    assert code(sdk, agent, "twice(2) + twice(3)", "run_code_with_tools")["results"] == [10]


def test_who_calls_is_what_the_server_says_and_not_an_argument(client, http, make_agent, tool):
    made = tool("def NAME(a: int, agent_id: str, agent_state: dict):\n    DOCS\n    return [agent_id, agent_state['id']]")
    agent = make_agent(tool_ids=[made.id])
    forged = {"a": 1, "agent_id": "agent-other", "agent_state": {"id": "agent-other"}}
    assert json.loads(called(client, agent, made.name, **forged).tool_return) == [agent.id, agent.id]
    answer = http.post(f"/v1/agents/{agent.id}/tools/{made.name}/run", json={"args": forged}).json()
    assert answer["func_return"] == [agent.id, agent.id]


ASKS = """
def NAME(method: str, path: str, body: dict):
    '''Asks.

    Args:
        method: m
        path: p
        body: b
    '''
    import json
    status, _, text = client._door.ask(method, path, "application/json", json.dumps(body).encode())
    return [status, text.decode()]
"""


@pytest.fixture
def asks(http, make_agent, tool):
    """An agent, and a function that has a tool of it ask the server something: its status and body."""
    made = tool(ASKS)
    agent = make_agent(tool_ids=[made.id])

    def ask(method, path, body):
        args = {"method": method, "path": path, "body": body}
        answer = http.post(f"/v1/agents/{agent.id}/tools/{made.name}/run", json={"args": args}).json()
        assert answer["status"] == "success", answer
        return answer["func_return"]

    return agent, ask


def test_a_tool_can_not_grant_itself_or_others_anything(client, http, asks, token):
    _, ask = asks
    source = f"def g_{token}():\n    '''d'''\n    return 1"
    granted = {"hosts": ["example.com"]}
    status, text = ask("PUT", "/v1/tools/", {"source_code": source, "grants": granted})
    assert status == 400 and "can't grant" in text
    assert client.tools.list(name=f"g_{token}").items == []
    status, _ = ask("POST", "/v1/tools/", {"source_code": source})
    assert status == 200, "a tool without grants is made"
    own = http.post("/v1/tools/", json={"source_code": source, "grants": granted}).json()
    for method, path, body in (
        ("POST", "/v1/tools/", {"source_code": source + " + 1"}),
        ("PATCH", f"/v1/tools/{own['id']}", {"source_code": source + " + 1"}),
        ("PATCH", f"/v1/tools/{own['id']}", {"grants": {"hosts": ["example.org"]}}),
    ):
        assert ask(method, path, body)[0] == 400, (method, body)
    kept = http.get(f"/v1/tools/{own['id']}").json()
    assert kept["source_code"] == source and kept["grants"]["hosts"] == ["example.com"]


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


def test_the_servers_own_folders_are_never_granted(own_server, tmp_path):
    server = own_server(MNEMIC_TOOL_FOLDERS="/")
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for path in (server.folder, server.folder / "data", server.folder / "data" / "tool-scratch"):
            body = {"source_code": "def f():\n    '''d'''\n    return 1", "grants": {"folders": [{"path": str(path)}]}}
            answer = http.post("/v1/tools/", json=body)
            assert answer.status_code == 400 and "own data" in answer.text, answer.text


def test_calls_that_change_memory_come_one_after_the_other(client, make_agent, tool):
    made = tool(
        "def NAME(a: int, agent_state):\n    DOCS\n    human = agent_state.memory.get_block('human')\n"
        "    human.value += f' {a}'\n    return 'kept'".replace("agent_state)", "agent_state=None)"),
        enable_parallel_execution=True,
    )
    agent = make_agent(tool_ids=[made.id])
    answer = send(client, agent, " ".join(f'[[call {made.name} {{"a": {n}}}]]' for n in range(3)))
    assert [one.status for one in of_kind(answer.messages, "tool_return_message")] == ["success"] * 3
    assert block(client, agent) == "Ada sails. 0 1 2"


def test_odd_texts_and_names_do_not_lose_a_result(client, make_agent, tool, run):
    assert run("def NAME():\n    return ['\\ud800', {'\\udfff': 1}]")["tool_return"] == '["?",{"?":1}]'
    assert run("def NAME():\n    raise ValueError('\\ud800')")["tool_return"].endswith("ValueError: ?")
    mute = "class Mute(Exception):\n    def __str__(self): raise RuntimeError('no')\ndef NAME():\n    raise Mute()"
    assert "Mute" in run(mute)["tool_return"]
    made = tool("import os\ndef NAME(a: int):\n    DOCS\n    return sorted(os.environ.items())")
    agent = make_agent(tool_ids=[made.id], secrets={"A=B": "x", "GOOD": "y", "LETTA_TOOL_ID": "forged"})
    seen = dict(json.loads(called(client, agent, made.name, a=1).tool_return))
    assert seen["GOOD"] == "y" and seen["LETTA_TOOL_ID"] == made.id


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


def test_a_client_runs_the_servers_own_tools_of_an_agent(client, http, model, token, make_agent):
    own = ["core_memory_append", "memory", "archival_memory_insert", "archival_memory_search", "conversation_search", "run_code"]
    agent = make_agent(tools=own)

    def run(name, **args):
        answer = http.post(f"/v1/agents/{agent.id}/tools/{name}/run", json={"args": args})
        assert answer.status_code == 200, answer.text
        return answer.json()["status"], answer.json()["func_return"]

    assert run("core_memory_append", label="human", content="Rows.")[0] == "success"
    assert block(client, agent) == "Ada sails.\nRows."
    human = client.agents.blocks.retrieve("human", agent_id=agent.id)
    newest = http.get(f"/v1/blocks/{human.id}/history").json()[0]
    assert newest["author"]["user_id"] and not newest["author"]["agent_id"], "the client did it"
    status, text = run("core_memory_append", label="nobody", content="x")
    assert status == "error" and "nobody" in text
    status, text = run("core_memory_append", label="human")
    assert status == "error" and "content" in text
    path = {"path": "/memories/human", "old_string": "Rows.", "new_string": "Swims."}
    assert run("memory", command="str_replace", **path)[0] == "success"
    assert run("archival_memory_insert", content="The boat is called Gull.")[0] == "success"
    assert "Gull" in run("archival_memory_search", query="boat")[1]
    send(client, agent, f"The anchor is heavy. {token}")
    assert "Swims." in system_prompt(model.requests(token)[-1])
    assert "anchor" in run("conversation_search", query="anchor")[1]
    assert run("run_code", code="6 * 7", language="python")[1]["results"] == [42]
    missing = http.post(f"/v1/agents/{agent.id}/tools/web_search/run", json={"args": {}})
    assert missing.status_code == 404 and "attach" in missing.text


def test_what_a_tool_prints_is_kept_as_far_as_its_return_may_be_long(client, make_agent, tool):
    made = tool("def NAME(a: int):\n    DOCS\n    for n in range(100): print('x' * 9)\n    return 'y' * 150", return_char_limit=100)
    agent = make_agent(tool_ids=[made.id])
    returned = called(client, agent, made.name, a=1)
    assert returned.tool_return.startswith("y" * 100 + "\n[cut")
    assert returned.stdout == ["x" * 9] * 11 + ["[cut: 11 of 100 lines are kept]"]


def test_a_program_can_not_call_what_a_person_has_to_approve(client, http, make_agent, tool):
    free = tool("def NAME(a: int):\n    DOCS\n    return a", suffix="_free")
    asked = tool("def NAME(a: int):\n    DOCS\n    return a", suffix="_asked", default_requires_approval=True)
    agent = make_agent(tool_ids=[free.id, asked.id], tools=["run_code_with_tools"])
    assert code(client, agent, f"{free.name}(2)", "run_code_with_tools")["results"] == [2]
    told = code(client, agent, f"{asked.name}(2)", "run_code_with_tools")
    assert told["results"] == [] and told["error"]["name"] == "NameError", told
    other = tool(ASKS, suffix="_asks")
    client.agents.tools.attach(other.id, agent_id=agent.id)
    path = f"/v1/agents/{agent.id}/tools/{asked.name}/run"
    around = {"method": "POST", "path": path, "body": {"args": {"a": 1}}}
    answer = http.post(f"/v1/agents/{agent.id}/tools/{other.name}/run", json={"args": around}).json()
    assert json.loads(answer["func_return"][1])["status"] == "error" and "approve" in answer["func_return"][1]
    by_person = http.post(path, json={"args": {"a": 1}}).json()
    assert by_person["func_return"] == 1


# A picture of one pixel.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_an_image_that_a_tool_returns_is_seen_by_its_model_and_shown_to_clients(client, model, token, make_agent, tool):
    made = tool(f"import base64\ndef NAME(a: int):\n    DOCS\n    return {{'n': a, 'chart': base64.b64decode('{PIXEL}')}}")
    agent = make_agent(tool_ids=[made.id])
    answer = send(client, agent, f'[[call {made.name} {{"a": 1}}]]')
    returned = of_kind(answer.messages, "tool_return_message")[0]
    assert json.loads(returned.tool_return) == {"n": 1, "chart": "[image 1]"}
    stored = [message for message in client.agents.messages.list(agent.id) if message.message_type == "tool_return_message"]
    for shown in (returned, stored[0]):
        text, image = shown.tool_returns[0].tool_return
        assert text.text == returned.tool_return
        assert image.source.media_type == "image/png" and image.source.data == PIXEL
    seen = model.requests(token)[-1]["messages"]
    at = next(at for at, message in enumerate(seen) if message["role"] == "tool")
    assert seen[at]["content"] == returned.tool_return
    parts = seen[at + 1]["content"]
    assert seen[at + 1]["role"] == "user" and parts[1]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"
    # Later turns send the same.
    send(client, agent, "And now?")
    assert model.requests(token)[-1]["messages"][: at + 2] == seen[: at + 2]


def test_a_program_of_a_model_returns_images(client, make_agent):
    agent = make_agent(tools=["run_code"])
    answer = send(client, agent, f"""[[call run_code {json.dumps({"language": "js", "code": f"const pixel = '{PIXEL}'; Buffer.from(pixel, 'base64')"})}]]""")
    returned = of_kind(answer.messages, "tool_return_message")[0]
    assert json.loads(returned.tool_return)["results"] == ["[image 1]"], returned
    assert returned.tool_returns[0].tool_return[1].source.data == PIXEL


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
    status, _ = asked("POST", f"/v1/conversations/{bens}/messages", {"messages": [{"role": "user", "content": "hi"}]})
    assert status in (404, 409), "nor can it be spoken to there"
