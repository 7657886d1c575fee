"""Programs that models write, run in the sandbox."""

import json

from programs import MODEL
from talk import of_kind, send
from tool_calls import ASKS, DOCS, PIXEL, called, code


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


def test_code_that_calls_tools_needs_no_turn_of_its_own_for_them(own_server, own_client):
    server = own_server(MNEMIC_TOOLS_AT_ONCE="1", MNEMIC_TOOL_TIMEOUT_SECONDS="20")
    sdk = own_client(server)
    made = sdk.tools.create(source_code="def twice(a: int):\n    DOCS\n    return a * 2".replace("DOCS", DOCS))
    agent = sdk.agents.create(model=MODEL, tool_ids=[made.id], tools=["run_code_with_tools"])
    assert code(sdk, agent, "twice(2) + twice(3)", "run_code_with_tools")["results"] == [10]


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


def test_a_program_of_a_model_returns_images(client, make_agent):
    agent = make_agent(tools=["run_code"])
    answer = send(client, agent, f"""[[call run_code {json.dumps({"language": "js", "code": f"const pixel = '{PIXEL}'; Buffer.from(pixel, 'base64')"})}]]""")
    returned = of_kind(answer.messages, "tool_return_message")[0]
    assert json.loads(returned.tool_return)["results"] == ["[image 1]"], returned
    assert returned.tool_returns[0].tool_return[1].source.data == PIXEL
