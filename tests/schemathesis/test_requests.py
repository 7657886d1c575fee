"""Requests made from the API's own description, sensible and not: none of them may break the server."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from programs import MODEL, ScriptedModel, Server

SECONDS = 90
SEED = 20261123

# Operations of which every request may be refused: some need a run that is at work just then, and luck has a part.
REFUSED = 10

SOURCE = "def made(a: int):\n    \"\"\"Makes.\n\n    Args:\n        a: it\n    \"\"\"\n"

# Bodies that succeed: made-up ones hardly ever do where fields exclude each other or name things. Some requests
# have them as they are, many are variations of them, and others come from the description alone.
BODIES = {
    "CodeBody": {"code": SOURCE, "source_type": "python"},
    "CreateToolBody": {"source_code": SOURCE, "tags": ["boat"], "return_char_limit": 500},
    "UpdateToolBody": {"description": "changed", "return_char_limit": 600},
    "CreateAgentBody": {"memory_blocks": [{"label": "human", "value": "Ada sails."}], "tags": ["sailing"]},
    "UpdateAgentBody": {"description": "changed", "tags": ["rowing"]},
    "UpdateBlockBody": {"value": "Ada rows.", "limit": 500},
    "SendBody": {
        "messages": [{"role": "user", "content": "remember the wind"}], "max_steps": 3, "input": None,
        "override_model": None, "client_tools": None, "callback_url": None,
    },
    "CaptureBody": {"messages": [{"role": "user", "content": "I sail.", "otid": "old-1"}]},
    "RestoreBody": {"version": 1},
    "LocalConfigBody": {"use_venv": True, "venv_name": "env", "pip_requirements": []},
    "SandboxConfigBody": {"config": {"use_venv": True}},
    "UpdateSandboxConfigBody": {"config": {"use_venv": False}},
    "SandboxVariableBody": {"key": "CITY", "value": "Bath", "description": "where"},
    "UpdateSandboxVariableBody": {"value": "Wells"},
}

# What is deleted: of each noun some that nothing else needs.
NOUNS = {
    "agent": "agents", "block": "blocks", "conversation": "conversations", "run": "runs", "tool": "tools",
    "identity": "identities", "provider": "providers",
}

CHECKS = ["not_a_server_error", "content_type_conformance", "response_schema_conformance"]

@pytest.fixture
def server():
    model = ScriptedModel()
    # The scripted model stands for a provider that somebody adds.
    running = Server("sqlite", model, MNEMIC_DEFAULT_MODEL=MODEL, MNEMIC_ALLOW_PRIVATE_URLS="true").start()
    running.provider = {"provider_type": "openai", "api_key": "sk-none", "base_url": f"http://{model.address}/v1"}
    yield running
    running.close()
    model.stop()


def talk(http, agent, provider):
    """One turn with a tool call; what it left behind, by the names of the description's parameters."""
    http.post(f"/v1/agents/{agent}/messages", json={"input": "remember the wind"}).raise_for_status()
    tool = {"source_code": SOURCE.replace("made", f"made_{agent[-12:]}")}
    made = {"agent_id": agent, "tool_id": http.post("/v1/tools/", json=tool).raise_for_status().json()["id"]}
    for name, path in [
        ("run_id", f"/v1/runs/?agent_id={agent}"),
        ("step_id", f"/v1/steps/?agent_id={agent}"),
        ("message_id", f"/v1/agents/{agent}/messages"),
        ("block_id", f"/v1/agents/{agent}/core-memory/blocks"),
    ]:
        made[name] = http.get(path).raise_for_status().json()[0]["id"]
    made["sandbox_config_id"] = http.post("/v1/sandbox-config/local/default").raise_for_status().json()["id"]
    path = f"/v1/sandbox-config/{made['sandbox_config_id']}/environment-variable"
    variable = {"key": f"OF_{agent}", "value": "Bath"}
    made["env_var_id"] = http.post(path, json=variable).raise_for_status().json()["id"]
    added = {"name": f"of-{agent[-12:]}"} | provider
    made["provider_id"] = http.post("/v1/providers/", json=added).raise_for_status().json()["id"]
    identity = {"identifier_key": f"key-{agent}", "name": "Ada", "identity_type": "user"}
    made["identity_id"] = http.post("/v1/identities/", json=identity).raise_for_status().json()["id"]
    conversation = http.post(f"/v1/conversations/?agent_id={agent}", json={}).raise_for_status().json()
    return made | {"conversation_id": conversation["id"]}


def seed(http, agents, provider):
    """Agents with a past: without them nearly every request would end at an id that is not there."""
    body = {"model": MODEL, "memory_blocks": [{"label": "human", "value": "Ada sails."}]}
    agents = [http.post("/v1/agents/", json=body).raise_for_status().json()["id"] for _ in range(agents)]
    made = [talk(http, agent, provider) for agent in agents]
    return {name: [one[name] for one in made] for name in made[0]}


def settings(kept, doomed):
    """schemathesis.toml: most ids are of things that are there; what is deleted is what nothing else needs."""
    dictionaries = {f"kept_{name}": ids for name, ids in kept.items()}
    dictionaries |= {f"doomed_{name}": ids for name, ids in doomed.items()}
    dictionaries |= {"nobody": ["sandbox-00000000-0000-4000-8000-000000000001"]}
    # Agents are models of the OpenAI-style routes.
    dictionaries |= {"model": [MODEL, *kept["agent_id"]], "block_label": ["human"], "tool_name": ["memory_insert"]}
    bound = {f"path.{name}": (f"kept_{name}", 0.9) for name in kept}
    bound |= {f"query.{name}": (f"kept_{name}", 0.5) for name in kept}
    bound |= {f"query.{name}": ("kept_message_id", 0.3) for name in ("before", "after")}
    bound |= {f"path.{name}": (name, 0.9) for name in ("block_label", "tool_name")}
    bound |= {"body.model": ("model", 0.9), "body.agent_id": ("kept_agent_id", 0.5)}
    lines = ["[checks]\nenabled = false", *[f"{check}.enabled = true" for check in CHECKS]]
    lines += [f"[dictionaries.{name}]\nvalues = {json.dumps(values)}" for name, values in dictionaries.items()]
    lines.append("[parameters]")
    lines += [
        f'"{name}" = {{ dictionary = "{values}", probability = {often} }}' for name, (values, often) in bound.items()
    ]
    for noun, nouns in NOUNS.items():
        lines.append(f'[[operations]]\ninclude-name = "DELETE /v1/{nouns}/{{{noun}_id}}"')
        lines.append(f'parameters = {{ "path.{noun}_id" = {{ dictionary = "doomed_{noun}_id", probability = 0.9 }} }}')
    lines.append('[[operations]]\ninclude-name = "DELETE /v1/sandbox-config/environment-variable/{env_var_id}"')
    lines.append('parameters = { "path.env_var_id" = { dictionary = "doomed_env_var_id", probability = 0.9 } }')
    # There is one, and it is needed.
    lines.append('[[operations]]\ninclude-name = "DELETE /v1/sandbox-config/{sandbox_config_id}"')
    lines.append('parameters = { "path.sandbox_config_id" = { dictionary = "nobody", probability = 1.0 } }')
    return "\n".join(lines)


def frame(schema):
    """An event of a stream whose data is what `schema` describes."""
    carried = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
    return {"type": "object", "properties": {"data": {"anyOf": [{"const": "[DONE]"}, carried]}}, "required": ["data"]}


def described(http, provider, agent):
    """The API's description, with our bodies as its examples, and with streams as schemathesis reads them."""
    description = http.get("/openapi.json").raise_for_status().json()
    provided = {
        "CreateProviderBody": {"name": "added"} | provider,
        "CheckProviderBody": provider,
        "UpdateProviderBody": {"api_key": "sk-other"},
        "ChatRequest": {"model": agent, "messages": [{"role": "user", "content": "the wind"}]},
        "ResponsesRequest": {"model": agent, "input": "the wind"},
    }
    for name, body in (BODIES | provided).items():
        description["components"]["schemas"][name]["example"] = body
    for operations in description["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                stream = answer.get("content", {}).get("text/event-stream")
                if stream:
                    stream["itemSchema"] = frame(stream.pop("schema"))
    return description


def accepted(report):
    """How many requests of each operation succeeded."""
    return {
        operation: sum(phase["accepted"] for phase in phases.values())
        for operation, phases in report["valid_rates"].items()
    }


def test_no_request_makes_the_server_fail(server, tmp_path):
    with httpx.Client(base_url=server.url, timeout=20) as http:
        kept, doomed = seed(http, 5, server.provider), seed(http, 10, server.provider)
        (tmp_path / "schemathesis.toml").write_text(settings(kept, doomed))
        (tmp_path / "openapi.json").write_text(json.dumps(described(http, server.provider, kept["agent_id"][0])))
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            # One worker: the same requests in the same order each time.
            Path(sys.executable).with_name("schemathesis"), "run", "openapi.json", f"--url={server.url}",
            "--phases=examples,coverage,fuzzing", f"--max-time={SECONDS}", f"--seed={SEED}", "--mode=all",
            "--max-examples=15", "--continue-on-failure", "--no-shrink", "--suppress-health-check=all",
            "--request-timeout=20", "--warnings=off", f"--report-json-path={report}", "--workers=1",
        ],
        capture_output=True, text=True, cwd=tmp_path,
    )
    said = done.stdout[-6000:] + done.stderr[-2000:]
    assert done.returncode == 0, said
    found = json.loads(report.read_text())
    assert found["failures"] == [] and found["errors"] == [], said
    operations = found["operations"]
    assert operations["tested"] == operations["total"] > 60, operations
    assert found["test_cases"]["generated"] > 1_000, found["test_cases"]
    refused = [operation for operation, times in accepted(found).items() if times == 0]
    assert len(refused) <= REFUSED, "\n".join(refused)
    assert httpx.get(f"{server.url}/v1/health/").status_code == 200
    log = server.log(lines=100_000)
    panics = [line for line in log.splitlines() if "panicked at" in line]
    assert panics == []
