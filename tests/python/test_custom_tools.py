"""Tools that people write: made, changed, found, attached. Their schemas come from their source."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import letta_client
import pytest

from talk import of_kind, send

ADD = '''
import math

def helper(x):
    return x

def {name}(a: int, b: float = 2.5) -> float:
    """
    Add two numbers.

    Args:
        a (int): first
        b (float): second

    Returns:
        float: the sum
    """
    return helper(a) + b
'''

MODELS = '''
from enum import Enum
from typing import List, Literal, Optional
from pydantic import BaseModel, Field

class Color(str, Enum):
    RED = "red"
    BLUE = "blue"

class Item(BaseModel):
    sku: str = Field(..., description="which product")
    color: Color = Field(Color.RED, description="its color")

async def {name}(items: List[Item], mode: Literal["fast", "safe"], note: Optional[str] = None, agent_state: "AgentState" = None):
    """Order things.

    Parameters
    ----------
    items : list
        What is wanted.
    mode : str
        How.
    note : str, optional
        For the cook.
    """
'''

FORECAST = '''
/**
 * Forecasts the weather.
 * @param city - where
 * @param days - how many
 */
export async function {name}(city: string, days: number = 3): Promise<string> {{
  return `${{city}} ${{days}}`;
}}
'''


@pytest.fixture
def name(token):
    """A name for a function that no other test uses."""
    return f"f_{token}"


@pytest.fixture
def make(client, name):
    def make(source=ADD, **fields):
        return client.tools.create(source_code=source.format(name=fields.pop("called", name)), **fields)

    return make


@pytest.fixture
def seen(client, model, token):
    """What the model is told of an agent's tools, by name."""

    def seen(agent):
        send(client, agent, f"hello {token}")
        return {tool["function"]["name"]: tool["function"] for tool in model.requests(token)[-1]["tools"]}

    return seen


def test_a_python_tool_has_the_schema_of_its_function(client, make, name):
    tool = make(tags=["math"])
    assert tool.name == name and tool.tool_type == "custom" and tool.source_type == "python"
    assert tool.description == "Add two numbers." and tool.tags == ["math"]
    assert tool.json_schema == {
        "name": name,
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "first"},
                "b": {"type": "number", "description": "second", "default": 2.5},
            },
            "required": ["a"],
        },
    }
    assert tool.return_char_limit == 50_000 and tool.enable_parallel_execution is False
    assert tool.args_json_schema == {} and tool.pip_requirements is None
    assert tool.created_by_id.startswith("user-")
    assert client.tools.retrieve(tool.id) == tool


def test_models_enums_and_literals_are_put_into_the_schema(make):
    parameters = make(MODELS).json_schema["parameters"]
    item = {
        "type": "object",
        "properties": {
            "sku": {"type": "string", "description": "which product"},
            "color": {"type": "string", "description": "its color", "enum": ["red", "blue"], "default": "red"},
        },
        "required": ["sku"],
    }
    assert parameters["properties"] == {
        "items": {"type": "array", "description": "What is wanted.", "items": item},
        "mode": {"type": "string", "description": "How.", "enum": ["fast", "safe"]},
        "note": {"type": "string", "description": "For the cook."},
    }
    assert parameters["required"] == ["items", "mode"]


def test_a_typescript_tool_has_the_schema_of_its_function(make, name):
    tool = make(FORECAST, source_type="typescript")
    assert tool.source_type == "typescript" and tool.name == name
    assert tool.json_schema["parameters"] == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "where"},
            "days": {"type": "number", "description": "how many", "default": 3},
        },
        "required": ["city"],
    }


def test_a_schema_that_is_given_stands(make, name):
    schema = {"name": name, "description": "Ours.", "parameters": {"type": "object", "properties": {}}}
    tool = make("export const x = 1", source_type="typescript", json_schema=schema)
    assert tool.json_schema == schema and tool.description == "Ours."
    arguments = {"type": "object", "properties": {"a": {"title": "A", "type": "string"}}, "required": ["a"]}
    tool = make(args_json_schema=arguments)
    assert tool.json_schema["parameters"]["properties"] == {"a": {"type": "string", "description": "first"}}
    assert tool.args_json_schema == arguments


def test_the_same_name_changes_the_tool_in_place(client, make, name):
    first = make(tags=["math"], return_char_limit=500, pip_requirements=[{"name": "numpy", "version": "2.0"}])
    changed = ADD.replace("Add two", "Sum up two").format(name=name)
    for put in (client.tools.create, client.tools.upsert):
        again = put(source_code=changed)
        assert again.id == first.id and again.description == "Sum up two numbers."
        assert again.json_schema["description"] == "Sum up two numbers."
        assert again.tags == ["math"] and again.return_char_limit == 500
        assert again.pip_requirements[0].name == "numpy"
    assert len(client.tools.list(name=name).items) == 1
    script = client.tools.upsert(source_code=FORECAST.format(name=name), source_type="typescript")
    assert script.id == first.id and script.source_type == "typescript"
    assert client.tools.upsert(source_code=changed).source_type == "python"
    other = client.tools.upsert(source_code=ADD.format(name=f"{name}_other"), source_type="python")
    assert other.id != first.id


def test_who_makes_the_same_tool_at_once_gets_the_same_tool(make, client, name):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make(), range(8)))
    assert {tool.id for tool in made} == {client.tools.list(name=name).items[0].id}


def test_what_changes_of_a_tool_is_what_was_given(client, make, name):
    tool = make(tags=["math"], default_requires_approval=True)
    changed = client.tools.update(
        tool.id, description="Ours: adds.", return_char_limit=500, enable_parallel_execution=True,
        npm_requirements=[{"name": "@types/node"}],
    )
    assert (changed.description, changed.return_char_limit) == ("Ours: adds.", 500)
    assert changed.enable_parallel_execution is True and changed.npm_requirements[0].name == "@types/node"
    assert changed.json_schema == tool.json_schema and changed.tags == ["math"]
    assert changed.default_requires_approval is True and changed.source_code == tool.source_code
    renamed = client.tools.update(tool.id, source_code=ADD.format(name=f"{name}_b").replace("first", "one"))
    assert renamed.id == tool.id and renamed.name == f"{name}_b"
    assert renamed.json_schema["parameters"]["properties"]["a"]["description"] == "one"
    assert renamed.description == "Add two numbers.", "a new source brings its own description"
    assert renamed.return_char_limit == 500
    bare = client.tools.update(tool.id, npm_requirements=None, default_requires_approval=None)
    assert bare.npm_requirements is None and bare.default_requires_approval is None


def test_a_name_belongs_to_one_tool(client, make, name, http):
    first, second = make(), make(called=f"{name}_b")
    with pytest.raises(letta_client.ConflictError, match=name):
        client.tools.update(second.id, source_code=ADD.format(name=name))
    with pytest.raises(letta_client.ConflictError, match="send_message"):
        client.tools.create(source_code=ADD.format(name="send_message"))
    assert client.tools.retrieve(second.id).name == f"{name}_b"
    assert client.tools.retrieve(first.id).name == name


def test_built_in_tools_are_not_rewritten(client):
    (tool,) = client.tools.list(name="send_message")
    for change in ({"source_code": ADD.format(name="x")}, {"description": "x"}):
        with pytest.raises(letta_client.BadRequestError, match="comes with the server"):
            client.tools.update(tool.id, **change)
    with pytest.raises(letta_client.BadRequestError, match="comes with the server"):
        client.tools.delete(tool.id)


def test_agents_see_a_changed_tool_in_their_next_step(client, make, make_agent, seen, name):
    tool = make()
    agent = make_agent(tools=[name])
    assert seen(agent)[name]["description"] == "Add two numbers."
    client.tools.update(tool.id, source_code=ADD.format(name=name).replace("first", "the first number"))
    assert seen(agent)[name]["parameters"]["properties"]["a"]["description"] == "the first number"
    client.tools.update(tool.id, description="Adds, says the client.")
    assert seen(agent)[name]["description"] == "Adds, says the client."
    client.tools.delete(tool.id)
    assert name not in seen(agent)


def test_a_deleted_tool_is_gone_everywhere(client, make, make_agent, name):
    tool = make()
    agent = make_agent(tool_ids=[tool.id])
    assert name in [one.name for one in client.agents.tools.list(agent.id)]
    client.tools.delete(tool.id)
    assert name not in [one.name for one in client.agents.tools.list(agent.id)]
    for gone in (client.tools.retrieve, client.tools.delete):
        with pytest.raises(letta_client.NotFoundError):
            gone(tool.id)
    assert make().id != tool.id


def test_a_tool_that_asks_for_approval_brings_its_rule(client, make, agent, name):
    tool = make(default_requires_approval=True)
    assert client.agents.tools.attach(tool.id, agent_id=agent.id) is None
    rules = client.agents.retrieve(agent.id).tool_rules
    assert [rule.tool_name for rule in rules if rule.type == "requires_approval"] == [name]
    client.agents.tools.detach(tool.id, agent_id=agent.id)
    assert name not in [one.name for one in client.agents.tools.list(agent.id)]


def test_tools_are_listed_and_counted_by_what_they_are(client, http, make, token):
    made = [make(called=f"g_{token}_{n}", tags=[token]).name for n in range(3)]
    assert [tool.name for tool in client.tools.list(search=f"G_{token.upper()}", limit=1)] == made[::-1]
    listed = client.tools.list(names=made, tool_types=["custom"], order="asc")
    assert [tool.name for tool in listed] == made
    assert list(client.tools.list(names=made, exclude_tool_types=["custom"])) == []
    assert http.get("/v1/tools/count", params={"search": token}).json() == 3
    assert http.get("/v1/tools/count", params={"search": token, "exclude_letta_tools": True}).json() == 3
    base = {tool["name"] for tool in http.post("/v1/tools/add-base-tools").json()}
    assert "send_message" in base and not base & set(made)


def test_tools_are_found_by_what_they_do(client, make, token):
    weather = make(FORECAST, called=f"w_{token}", source_type="typescript", tags=[token])
    make(called=f"a_{token}", tags=[token])
    found = client.tools.search(query="the weather in a city", tags=[token])
    assert [one.tool.id for one in found] == [weather.id]
    assert 0 < found[0].combined_score <= 1 and found[0].fts_rank == 1
    assert len(client.tools.search(tags=[token], limit=1)) == 1
    assert client.tools.search(query="weather", tags=[token], tool_types=["letta_core"]) == []


def test_a_schema_can_be_had_without_saving(client, http, name):
    schema = http.post("/v1/tools/generate-schema", json={"code": ADD.format(name=name)}).json()
    assert schema["name"] == name and schema["parameters"]["required"] == ["a"]
    body = {"code": FORECAST.format(name=name), "source_type": "typescript"}
    assert http.post("/v1/tools/generate-schema", json=body).json()["parameters"]["required"] == ["city"]
    assert list(client.tools.list(name=name)) == []


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("def broken(:\n  pass", 1, "this is no Python"),
        ("def nodoc(a):\n    return a\n", 1, "no docstring"),
        ('def f(a):\n    """Does."""\n', 1, "no type hint"),
        ('\ndef f(a: int):\n    """Does."""\n', 2, "'a'"),
        ('\n\ndef f(a: Foo):\n    """Does."""\n', 3, "Foo"),
        ("class A:\n    pass\n", 2, "no top-level function"),
    ],
)
def test_a_source_without_a_schema_is_refused_with_line_and_reason(client, http, source, line, reason):
    for path, body in (("/v1/tools/", {"source_code": source}), ("/v1/tools/generate-schema", {"code": source})):
        answer = http.post(path, json=body)
        assert answer.status_code == 400
        detail = answer.json()["detail"]
        assert f"line {line}:" in detail and reason in detail


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"return_char_limit": 0}, 422),
        ({"return_char_limit": 1_000_001}, 422),
        ({"source_type": "cobol"}, 422),
        ({"nonsense": 1}, 422),
        ({"source_code": None}, 422),
        ({"pip_requirements": [{"name": "--index-url"}]}, 422),
        ({"pip_requirements": [{"name": "x", "version": "1 --pre\n"}]}, 422),
        ({"npm_requirements": [{"name": "file:../x"}]}, 422),
        ({"tags": [""]}, 400),
        ({"json_schema": {"name": "has space"}}, 400),
        ({"json_schema": {"name": "n" * 49}}, 400),
        ({"json_schema": {"description": "no name"}}, 400),
        ({"args_json_schema": {"type": "object", "x": 1}}, 400),
        ({"source_code": "x" * 200_001}, 400),
    ],
)
def test_what_no_tool_can_have_is_refused(http, name, fields, status):
    answer = http.post("/v1/tools", json={"source_code": ADD.format(name=name), **fields})
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_requirements_are_kept_as_they_were_given(make):
    wanted = [{"name": "requests", "version": "2.31.0"}, {"name": "uvicorn[standard]", "version": None}]
    tool = make(pip_requirements=wanted)
    assert [one.model_dump() for one in tool.pip_requirements] == wanted


def test_the_older_sdk_makes_tools_of_functions(server, http, client, token):
    """upsert_from_function of letta-client 1.7.12, which newer ones do not have any more."""
    program = Path(__file__).parent.parent / "blackbox" / "functions.py"
    environment = {**os.environ, "PYTHONPATH": os.environ["OLD_SDK"]}
    ran = subprocess.run(
        [sys.executable, program, server.url, token], env=environment, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    plain, again, order, shout = json.loads(ran.stdout)
    assert plain["id"] == again["id"] and again["return_char_limit"] == 77 and again["tags"] == [token]
    assert plain["json_schema"]["parameters"]["properties"]["days"] == {
        "type": "integer", "description": "how many days", "default": 3,
    }
    items = order["json_schema"]["parameters"]["properties"]["items"]
    assert order["description"] == "Orders things."
    assert items["items"]["properties"]["sku"] == {"type": "string", "description": "which product"}
    assert shout["name"] == "shout" and shout["description"] == "Shouts." and shout["tags"] == ["loud"]
    assert shout["json_schema"]["parameters"]["required"] == ["items"]
    for made, args, value in ((plain, {"city": "Bath"}, "Bath 3"), (order, {"items": [{"sku": "a"}], "note": "x"}, "x")):
        run = http.post("/v1/tools/run", json={"source_code": made["source_code"], "args": args}).json()
        assert (run["status"], run["tool_return"]) == ("success", value), run
