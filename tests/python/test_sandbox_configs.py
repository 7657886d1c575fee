"""What all tools of an organization have in common: variables and packages. The SDKs have no calls for it."""

import json
import uuid

import httpx
import pytest
from letta_client import Letta

from programs import MODEL, Server
from talk import of_kind, send

CONFIGS = "/v1/sandbox-config"
SEES = "import os\ndef NAME():\n    '''d'''\n    return dict(os.environ)"


@pytest.fixture(scope="module")
def apart(engine, model):
    """A server for these tests alone: what they set reaches all tools of an organization."""
    running = Server(engine, model).start()
    yield running
    running.close()


@pytest.fixture
def web(apart):
    """Clean of what other tests left."""
    with httpx.Client(base_url=apart.url, timeout=60) as http:
        for config in http.get(f"{CONFIGS}/").json():
            assert http.delete(f"{CONFIGS}/{config['id']}").status_code == 204
        yield http


@pytest.fixture
def sdk(apart):
    with Letta(base_url=apart.url, api_key="sk-none", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def common(web):
    """Adds variables that all tools see."""
    config = default(web)

    def common(**variables):
        made = [add(web, config["id"], key=key, value=value) for key, value in variables.items()]
        return [one["id"] for one in made]

    return common


def default(http):
    answer = http.post(f"{CONFIGS}/local/default")
    assert answer.status_code == 200, answer.text
    return answer.json()


def add(http, config, **body):
    answer = http.post(f"{CONFIGS}/{config}/environment-variable", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(http, config, **query):
    answer = http.get(f"{CONFIGS}/{config}/environment-variable", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def change(http, variable, **body):
    return http.patch(f"{CONFIGS}/environment-variable/{variable}", json=body)


def ran(http, source=SEES, **body):
    answer = http.post("/v1/tools/run", json={"source_code": source.replace("NAME", "f"), "args": {}, **body})
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success", answer.text
    return json.loads(answer.json()["tool_return"])


@pytest.fixture
def seeing(sdk):
    """A tool that returns its variables, and an agent that has it."""
    name = f"f_{uuid.uuid4().hex[:12]}"
    tool = sdk.tools.create(source_code=SEES.replace("NAME", name))

    def seeing(**fields):
        agent = sdk.agents.create(model=MODEL, tool_ids=[tool.id], **fields)
        return tool, agent

    return seeing


def called(sdk, agent, name, **arguments):
    answer = send(sdk, agent, f"[[call {name} {json.dumps(arguments)}]]")
    return json.loads(of_kind(answer.messages, "tool_return_message")[-1].tool_return)


def test_an_organization_has_one_config_made_when_it_is_asked_for(web):
    assert web.get(f"{CONFIGS}/").json() == []
    made = default(web)
    assert made["id"].startswith("sandbox-") and made["type"] == "local"
    assert made["config"] == {"sandbox_dir": None, "use_venv": False, "venv_name": "venv", "pip_requirements": []}
    assert set(made) == {
        "id", "type", "organization_id", "config", "created_by_id", "last_updated_by_id", "created_at", "updated_at",
    }
    assert default(web) == made
    assert web.get(f"{CONFIGS}/").json() == [made]
    assert web.get(f"{CONFIGS}/", params={"sandbox_type": "local"}).json() == [made]
    assert web.get(f"{CONFIGS}/", params={"sandbox_type": "e2b"}).json() == []
    assert web.get(f"{CONFIGS}/", params={"after": made["id"]}).json() == []
    assert web.get(f"{CONFIGS}/", params={"sandbox_type": "docker"}).status_code == 422


def test_making_the_config_again_changes_it_and_keeps_its_variables(web):
    six = [{"name": "six", "version": "1.16.0"}]
    made = web.post(f"{CONFIGS}/", json={"config": {"use_venv": True, "pip_requirements": six}}).json()
    assert made["config"] == {"sandbox_dir": None, "use_venv": True, "venv_name": "venv", "pip_requirements": six}
    variable = add(web, made["id"], key="CITY", value="Bath")
    again = web.post(f"{CONFIGS}/local", json={"venv_name": "env", "of_a_newer_client": 1}).json()
    assert again["id"] == made["id"] and again["created_at"] == made["created_at"]
    assert again["config"] == {"sandbox_dir": None, "use_venv": False, "venv_name": "env", "pip_requirements": []}
    assert listed(web, made["id"]) == [variable]


def test_a_config_is_changed_in_what_is_given(web):
    six = [{"name": "six", "version": None}]
    made = web.post(f"{CONFIGS}/local", json={"venv_name": "env", "pip_requirements": six}).json()
    path = f"{CONFIGS}/{made['id']}"
    changed = web.patch(path, json={"config": {"use_venv": True}})
    assert changed.status_code == 200, changed.text
    assert changed.json()["config"] == made["config"] | {"use_venv": True}
    assert changed.json()["updated_at"] > made["updated_at"]
    assert web.patch(path, json={}).json()["config"] == changed.json()["config"]
    assert web.patch(path, json={"config": {"pip_requirements": []}}).json()["config"]["pip_requirements"] == []


def test_what_this_server_cannot_do_is_refused_with_the_reason_and_nothing_is_stored(web):
    for path, body, told in (
        ("/e2b/default", None, "E2B"),
        ("/", {"config": {"template": "base", "timeout": 300, "pip_requirements": ["six"]}}, "E2B"),
        ("/", {"config": {"language": "python", "npm_requirements": []}}, "Modal"),
        ("/local", {"sandbox_dir": "/srv/tools"}, "scratch folder"),
    ):
        answer = web.post(f"{CONFIGS}{path}", json=body)
        assert answer.status_code == 400 and told in answer.json()["detail"], (path, answer.text)
    for body in ({"config": {"pip_requirements": [{"name": "git+https://example.com/x"}]}}, {}, {"config": {}, "x": 1}):
        assert web.post(f"{CONFIGS}/", json=body).status_code == 422, body
    assert web.get(f"{CONFIGS}/").json() == []


def test_variables_are_added_changed_listed_and_deleted(web):
    config = default(web)["id"]
    made = add(web, config, key="CITY", value="Bath", description="where")
    assert made["id"].startswith("sandbox-env-") and made["sandbox_config_id"] == config
    assert (made["key"], made["value"], made["description"], made["value_enc"]) == ("CITY", "Bath", "where", None)
    others = [add(web, config, key=f"V{n}", value="x")["id"] for n in range(4)]
    ids = [made["id"], *others]
    assert [one["id"] for one in listed(web, config)] == ids
    assert [one["id"] for one in listed(web, config, limit=2, after=ids[1])] == ids[2:4]
    changed = change(web, made["id"], value="Wells")
    assert changed.status_code == 200, changed.text
    assert changed.json() == made | {"value": "Wells", "updated_at": changed.json()["updated_at"]}
    assert change(web, made["id"], key="TOWN", description=None).json()["description"] is None
    town = listed(web, config)[0]
    assert (town["key"], town["value"]) == ("TOWN", "Wells")
    assert web.delete(f"{CONFIGS}/environment-variable/{made['id']}").status_code == 204
    assert [one["id"] for one in listed(web, config)] == others
    assert web.delete(f"{CONFIGS}/environment-variable/{made['id']}").status_code == 404


def test_what_is_wrong_with_a_variable_is_told(web):
    config = default(web)["id"]
    city, other = (add(web, config, key=key, value="x")["id"] for key in ("CITY", "OTHER"))
    path = f"{CONFIGS}/{config}/environment-variable"
    for body, status, told in (
        ({"key": "CITY", "value": "y"}, 409, city),
        ({"key": "", "value": "y"}, 400, "no name"),
        ({"key": "A=B", "value": "y"}, 400, "A=B"),
        ({"key": "A", "value": "\0"}, 400, "U+0000"),
        ({"key": "LETTA_AGENT_ID", "value": "y"}, 400, "LETTA_AGENT_ID"),
        ({"key": "A", "value": "x" * 200_000}, 400, "200000 bytes"),
        ({"key": "A"}, 422, "value"),
        ({"key": "A", "value": "y", "more": 1}, 422, "more"),
    ):
        answer = web.post(path, json=body)
        assert answer.status_code == status and told in answer.text, (str(body)[:80], answer.text)
    assert change(web, other, key="CITY").status_code == 409
    assert change(web, other, key="LETTA_TOOL_ID").status_code == 400
    nobody = "00000000-0000-4000-8000-000000000001"
    assert web.get(f"{CONFIGS}/sandbox-{nobody}/environment-variable").status_code == 404
    assert web.post(f"{CONFIGS}/sandbox-{nobody}/environment-variable", json={"key": "A", "value": "x"}).status_code == 404
    assert change(web, f"sandbox-env-{nobody}", value="x").status_code == 404
    assert web.patch(f"{CONFIGS}/sandbox-x", json={}).status_code == 422
    assert [one["key"] for one in listed(web, config)] == ["CITY", "OTHER"]


def test_all_tools_see_the_variables_wherever_they_are_called(web, sdk, common, seeing):
    common(CITY="Bath")
    tool, agent = seeing(tools=["run_code_with_tools"])
    assert called(sdk, agent, tool.name)["CITY"] == "Bath"
    assert sdk.agents.tools.run(tool.name, agent_id=agent.id, args={}).func_return["CITY"] == "Bath"
    assert ran(web)["CITY"] == "Bath"
    code = f"import os\n[{tool.name}()['CITY'], 'CITY' in os.environ]"
    assert called(sdk, agent, "run_code_with_tools", code=code)["results"] == [["Bath", False]]
    script = "export function f() { return process.env.CITY }"
    answer = web.post("/v1/tools/run", json={"source_code": script, "source_type": "typescript", "args": {}}).json()
    assert answer["tool_return"] == "Bath", answer


def test_secrets_of_the_agent_and_variables_of_a_run_win_over_those_of_all_tools(web, sdk, common, seeing):
    common(ALL="common", SECRET="common", RUN="common")
    tool, agent = seeing(secrets={"SECRET": "agent's", "LETTA_TOOL_ID": "forged"})
    seen = called(sdk, agent, tool.name)
    assert seen == {
        "ALL": "common", "SECRET": "agent's", "RUN": "common",
        "LETTA_AGENT_ID": agent.id, "LETTA_TOOL_ID": tool.id, "LETTA_PROJECT_ID": "",
    }
    seen = ran(web, env_vars={"RUN": "run's", "LETTA_TOOL_ID": "forged"})
    assert seen["LETTA_TOOL_ID"].startswith("tool-"), seen
    assert seen == {"ALL": "common", "SECRET": "common", "RUN": "run's", "LETTA_TOOL_ID": seen["LETTA_TOOL_ID"]}
    wrong = web.post("/v1/tools/run", json={"source_code": "def f(): pass", "args": {}, "env_vars": {"A=B": "x"}})
    assert wrong.status_code == 400 and "A=B" in wrong.text


def test_a_change_of_a_variable_is_seen_by_the_next_call(web, sdk, common, seeing):
    tool, agent = seeing()
    assert "CITY" not in called(sdk, agent, tool.name)
    (variable,) = common(CITY="Bath")
    assert called(sdk, agent, tool.name)["CITY"] == "Bath"
    change(web, variable, value="Wells")
    assert called(sdk, agent, tool.name)["CITY"] == "Wells"
    change(web, variable, key="TOWN")
    seen = called(sdk, agent, tool.name)
    assert seen["TOWN"] == "Wells" and "CITY" not in seen
    web.delete(f"{CONFIGS}/{default(web)['id']}")
    assert "TOWN" not in called(sdk, agent, tool.name)


def test_values_are_not_written_into_the_data_folder_as_they_are(apart, web, engine, common):
    if engine != "sqlite":
        pytest.skip("the database is elsewhere")
    value = uuid.uuid4().hex
    common(CITY=value)
    files = [file for file in apart.folder.rglob("*") if file.is_file()]
    assert any(b"sandbox_variables" in file.read_bytes() for file in files), "the table is in one of them"
    assert not any(value.encode() in file.read_bytes() for file in files)


ASKS = """
def f(method: str, path: str, body: dict):
    import json
    status, _, text = client._door.ask(method, path, "application/json", json.dumps(body).encode())
    return [status, text.decode()]
"""


def test_a_running_tool_can_not_change_what_others_get(web, common):
    (variable,) = common(CITY="Bath")
    config = default(web)["id"]
    for method, path, body in (
        ("POST", f"{CONFIGS}/", {"config": {"pip_requirements": [{"name": "six"}]}}),
        ("POST", f"{CONFIGS}/local", {}),
        ("POST", f"{CONFIGS}/local/default", {}),
        ("POST", f"{CONFIGS}/local/recreate-venv", {}),
        ("PATCH", f"{CONFIGS}/{config}", {"config": {}}),
        ("DELETE", f"{CONFIGS}/{config}", {}),
        ("POST", f"{CONFIGS}/{config}/environment-variable", {"key": "A", "value": "x"}),
        ("PATCH", f"{CONFIGS}/environment-variable/{variable}", {"value": "x"}),
        ("DELETE", f"{CONFIGS}/environment-variable/{variable}", {}),
    ):
        status, text = ran(web, ASKS, args={"method": method, "path": path, "body": body})
        assert status == 403 and "running tool" in text, (method, path, status, text)
    assert [(one["key"], one["value"]) for one in listed(web, config)] == [("CITY", "Bath")]


def test_offline_packages_of_all_tools_are_told_to_be_missing_and_are_not_renewed(web):
    made = web.post(f"{CONFIGS}/local", json={"pip_requirements": [{"name": "six"}]}).json()
    answer = web.post("/v1/tools/run", json={"source_code": "def f():\n    return 1", "args": {}}).json()
    assert answer["status"] == "error" and "six" in answer["tool_return"] and "offline" in answer["tool_return"]
    script = {"source_code": "export function f() { return 1 }", "source_type": "typescript", "args": {}}
    assert web.post("/v1/tools/run", json=script).json()["tool_return"] == "1", "tools in JavaScript need none of Python"
    refused = web.post(f"{CONFIGS}/local/recreate-venv")
    assert refused.status_code == 400 and "offline" in refused.json()["detail"]
    assert web.get(f"{CONFIGS}/").json() == [made]


def test_packages_of_all_tools_join_those_of_a_tool_and_are_installed_anew_on_request(own_server):
    server = own_server(MNEMIC_OFFLINE="false", MNEMIC_MODELS_FETCH="false")
    sets = server.folder / "data" / "tool-packages"
    source = "import six, toml\ndef f():\n    return [six.__version__, toml.__version__]"
    toml = {"pip_requirements": [{"name": "toml", "version": "0.10.2"}]}
    with httpx.Client(base_url=server.url, timeout=300) as http:
        common = [{"name": "six", "version": "1.16.0"}, {"name": "Toml", "version": "0.10.1"}]
        http.post(f"{CONFIGS}/local", json={"pip_requirements": common}).raise_for_status()
        assert ran(http, source, **toml) == ["1.16.0", "0.10.2"]
        assert ran(http, source) == ["1.16.0", "0.10.1"]
        before = set(sets.iterdir())
        assert ran(http, source) == ["1.16.0", "0.10.1"]
        assert set(sets.iterdir()) == before and len(before) == 2
        renewed = http.post(f"{CONFIGS}/local/recreate-venv")
        assert renewed.status_code == 200 and renewed.json()["config"]["pip_requirements"] == common, renewed.text
        assert ran(http, source) == ["1.16.0", "0.10.1"]
        assert len(set(sets.iterdir()) - before) == 1
