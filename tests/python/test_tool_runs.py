"""Tools that people write, run: by agents and by clients, in the sandbox."""

import json
import threading
import time

import httpx
import pytest

from programs import eventually
from talk import of_kind, send, system_prompt
from tool_calls import PIXEL, block, called


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


def test_no_digit_of_a_long_integer_is_lost(http, client, make_agent, tool):
    made = tool("def NAME(a: int):\n    DOCS\n    return [str(a), a + 1]")
    agent, n = make_agent(tool_ids=[made.id]), 123456789012345678901234567890
    expected = [str(n), str(n + 1)]
    assert json.loads(called(client, agent, made.name, a=n).tool_return) == expected
    ran = http.post(f"/v1/agents/{agent.id}/tools/{made.name}/run", json={"args": {"a": n}}).json()
    assert ran["func_return"] == expected
    once = {"source_code": "def f(n: int):\n    return [str(n), n + 1]", "args": {"n": n}}
    assert json.loads(http.post("/v1/tools/run", json=once).json()["tool_return"]) == expected


def test_a_package_that_is_missing_is_named(run):
    answer = run("def NAME():\n    import pydantic_of_nobody", {})
    assert "No module named 'pydantic_of_nobody': no package of this tool's pip_requirements has it" in answer["tool_return"]


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


def test_who_calls_is_what_the_server_says_and_not_an_argument(client, http, make_agent, tool):
    made = tool("def NAME(a: int, agent_id: str, agent_state: dict):\n    DOCS\n    return [agent_id, agent_state['id']]")
    agent = make_agent(tool_ids=[made.id])
    forged = {"a": 1, "agent_id": "agent-other", "agent_state": {"id": "agent-other"}}
    assert json.loads(called(client, agent, made.name, **forged).tool_return) == [agent.id, agent.id]
    answer = http.post(f"/v1/agents/{agent.id}/tools/{made.name}/run", json={"args": forged}).json()
    assert answer["func_return"] == [agent.id, agent.id]


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
