"""Requests made from the API's own description, sensible and not: none of them may break the server."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from programs import MODEL, ScriptedModel, Server, eventually

SECONDS = 90
SEED = 20261123

# Operations that refuse every request, or need a run that is at work just then.
REFUSING = {
    "PATCH /v1/agents/{agent_id}/messages/{message_id}", "PATCH /v1/groups/{group_id}/messages/{message_id}",
    "POST /v1/sandbox-config/e2b/default", "POST /v1/sandbox-config/local/recreate-venv",
    "POST /v1/agents/{agent_id}/messages/cancel", "POST /v1/conversations/{conversation_id}/cancel",
    "POST /v1/conversations/{conversation_id}/stream", "POST /v1/voice-beta/{agent_id}/chat/completions",
}

ORGANIZATION = "org-00000000-0000-4000-8000-000000000000"

SOURCE = "def made(a: int):\n    \"\"\"Makes.\n\n    Args:\n        a: it\n    \"\"\"\n"

# What the query has to say of operations that can't do without.
QUERIES = {"query": "wind", "org_id": ORGANIZATION}

# Words in the paths of operations that take away what others need.
TAKING = {"detach", "reset-messages", "forget", "cancel"}

# Bodies that succeed: made-up ones hardly ever do where fields exclude each other or name things. Some requests
# have them as they are, many are variations of them, and others come from the description alone.
BODIES = {
    "CodeBody": {"code": SOURCE, "source_type": "python"},
    "CreateArchiveBody": {"name": "charts"},
    "CreateBlockBody": {"label": "crew", "value": "Bo cooks."},
    "CreateIdentityBody": {"identifier_key": "bo", "name": "Bo", "identity_type": "user"},
    "GenerateBody": {"prompt": "Where does the wind come from?"},
    "PassagesBody": {"passages": [{"text": "The wind turned to the north."}]},
    "PropertyBody": {"key": "boat", "value": "sloop", "type": "string"},
    "RunSourceBody": {"source_code": SOURCE, "args": {"a": 1}},
    "CreateToolBody": {"source_code": SOURCE, "tags": ["boat"], "return_char_limit": 500},
    "UpdateToolBody": {"description": "changed", "return_char_limit": 600},
    "CreateAgentBody": {"memory_blocks": [{"label": "human", "value": "Ada sails."}], "tags": ["sailing"]},
    "UpdateAgentBody": {"description": "changed", "tags": ["rowing"]},
    "UpdateBlockBody": {"value": "Ada rows.", "limit": 500},
    "SendBody": {
        "messages": [{"role": "user", "content": "remember the wind"}], "max_steps": 3, "input": None,
        "override_model": None, "client_tools": None, "callback_url": None,
    },
    "UpdateGroupBody": {"description": "changed", "manager_config": {"manager_type": "round_robin", "max_turns": 1}},
    "CaptureBody": {"messages": [{"role": "user", "content": "I sail.", "otid": "old-1"}]},
    "RestoreBody": {"version": 1},
    "LocalConfigBody": {"use_venv": True, "venv_name": "env", "pip_requirements": []},
    "SandboxConfigBody": {"config": {"use_venv": True}},
    "UpdateSandboxConfigBody": {"config": {"use_venv": False}},
    "SandboxVariableBody": {"key": "CITY", "value": "Bath", "description": "where"},
    "UpdateSandboxVariableBody": {"value": "Wells"},
    "ApprovalBody": {"requires_approval": False},
    "AssignBody": {"user_id": "ada", "plan": None},
}

# What is deleted: of each noun some that nothing else needs.
NOUNS = {
    "agent": "agents", "block": "blocks", "conversation": "conversations", "run": "runs", "tool": "tools",
    "identity": "identities", "provider": "providers", "group": "groups", "job": "jobs", "key": "api-keys",
}

# End users of the agents: one who stays, and one who is forgotten.
PERSON, STRANGER = "ada", "bob"

CHECKS = ["not_a_server_error", "content_type_conformance", "response_schema_conformance"]


@pytest.fixture
def server():
    model = ScriptedModel()
    # The scripted model stands for a provider that somebody adds.
    running = Server("sqlite", model, MNEMIC_DEFAULT_MODEL=MODEL, MNEMIC_ALLOW_PRIVATE_URLS="true").start()
    # Keys can only be made where the first one is an administrator's, which then every request needs.
    first = httpx.post(f"{running.url}/v1/api-keys", json={"name": "tests", "scope": "admin"}).raise_for_status()
    running.headers = {"authorization": f"Bearer {first.json()['key']}"}
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
    passage = http.post(f"/v1/agents/{agent}/archival-memory", json={"text": "The boat is in Bergen."})
    made["memory_id"] = made["passage_id"] = passage.raise_for_status().json()[0]["id"]
    made["archive_id"] = http.get(f"/v1/archives/?agent_id={agent}").raise_for_status().json()[0]["id"]
    identity = {"identifier_key": f"key-{agent}", "name": "Ada", "identity_type": "user"}
    made["identity_id"] = http.post("/v1/identities/", json=identity).raise_for_status().json()["id"]
    group = {"agent_ids": [agent], "description": "crew"}
    made["group_id"] = http.post("/v1/groups/", json=group).raise_for_status().json()["id"]
    person = {"name": "Ada", "organization_id": ORGANIZATION}
    made["user_id"] = http.post("/v1/admin/users/", json=person).raise_for_status().json()["id"]
    key = {"name": agent, "scope": "read"}
    made["key_id"] = http.post("/v1/api-keys", json=key).raise_for_status().json()["id"]
    for user in (PERSON, STRANGER):
        said = {"input": "the wind", "user_id": user}
        http.post(f"/v1/agents/{agent}/messages", json=said).raise_for_status()
    batch = {"requests": [{"agent_id": agent, "messages": [{"role": "user", "content": "the wind"}]}]}
    made["batch_id"] = made["job_id"] = http.post("/v1/messages/batches", json=batch).raise_for_status().json()["id"]
    conversation = http.post(f"/v1/conversations/?agent_id={agent}", json={}).raise_for_status().json()["id"]
    for _ in range(3):
        said = {"input": "remember the wind", "streaming": False}
        http.post(f"/v1/conversations/{conversation}/messages", json=said).raise_for_status()
    return made | {"conversation_id": conversation}


def seed(http, agents, provider):
    """Agents with a past: without them nearly every request would end at an id that is not there."""
    body = {"model": MODEL, "memory_blocks": [{"label": "human", "value": "Ada sails."}]}
    agents = [http.post("/v1/agents/", json=body).raise_for_status().json()["id"] for _ in range(agents)]
    made = [talk(http, agent, provider) for agent in agents]
    found = {name: [one[name] for one in made] for name in made[0]}
    for job in found["job_id"]:
        eventually(lambda job=job: http.get(f"/v1/jobs/{job}").json()["status"] == "completed", f"{job} is over")
    return found


def at_work(http):
    """A batch that does not end by itself, of an agent that nobody else needs."""
    busy = http.post("/v1/agents/", json={"model": MODEL}).raise_for_status().json()["id"]
    asked = {"requests": [{"agent_id": busy, "messages": [{"role": "user", "content": "[[sleep 600000]]"}]}]}
    return http.post("/v1/messages/batches", json=asked).raise_for_status().json()["id"]


def settings(kept, doomed):
    """schemathesis.toml: most ids are of things that are there; what is deleted is what nothing else needs."""
    dictionaries = {f"kept_{name}": ids for name, ids in kept.items()}
    dictionaries |= {f"doomed_{name}": ids for name, ids in doomed.items()}
    dictionaries |= {"person": [PERSON], "stranger": [STRANGER]}
    dictionaries |= {"nobody": ["sandbox-00000000-0000-4000-8000-000000000001"]}
    # Agents are models of the OpenAI-style routes.
    dictionaries |= {"model": [MODEL, *kept["agent_id"]], "block_label": ["human"], "tool_name": ["memory_insert"]}
    bound = {f"path.{name}": (f"kept_{name}", 0.9) for name in kept}
    bound |= {f"query.{name}": (f"kept_{name}", 0.5) for name in kept}
    bound |= {f"query.{name}": ("kept_message_id", 0.3) for name in ("before", "after")}
    bound |= {f"path.{name}": (name, 0.9) for name in ("block_label", "model", "tool_name")}
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
    # Whoever has talked with an agent stays, whoever is forgotten is somebody else.
    lines.append('[[operations]]\ninclude-name = "GET /v1/agents/{agent_id}/users/{user_id}"')
    lines.append('parameters = { "path.user_id" = { dictionary = "person", probability = 0.9 } }')
    for path in ("/v1/agents/{agent_id}/users/{user_id}", "/v1/end-users/{user_id}"):
        lines.append(f'[[operations]]\ninclude-name = "DELETE {path}"')
        lines.append('parameters = { "path.user_id" = { dictionary = "stranger", probability = 0.9 } }')
    lines.append('[[operations]]\ninclude-name = "POST /v1/agents/{agent_id}/users/{user_id}/forget"')
    lines.append('parameters = { "path.user_id" = { dictionary = "person", probability = 0.9 } }')
    # There is one, and it is needed.
    lines.append('[[operations]]\ninclude-name = "DELETE /v1/sandbox-config/{sandbox_config_id}"')
    lines.append('parameters = { "path.sandbox_config_id" = { dictionary = "nobody", probability = 1.0 } }')
    return "\n".join(lines)


def frame(schema):
    """An event of a stream whose data is what `schema` describes."""
    carried = {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
    return {"type": "object", "properties": {"data": {"anyOf": [{"const": "[DONE]"}, carried]}}, "required": ["data"]}


def exemplify(http, paths, kept, doomed):
    """Gives the parameters in paths an example each, so that every operation has one request that is meant to succeed."""
    names = {"block_label": "human", "model": kept["agent_id"][0], "tool_name": "memory_insert", "transaction_id": "transaction-1"}
    for path, operations in paths.items():
        for method, operation in operations.items():
            inside = [one for one in operation.get("parameters", []) if one["in"] == "path"]
            for parameter in inside:
                name = parameter["name"]
                if name in names:
                    parameter["example"] = names[name]
                elif name == "user_id":
                    parameter["example"] = STRANGER if method == "delete" else PERSON
                elif path.endswith("/cancel") and name in ("job_id", "batch_id"):
                    parameter["example"] = at_work(http)
                elif method == "delete":
                    # What is deleted itself takes what belongs to it along.
                    parameter["example"] = doomed[name][-len(inside)]
                else:
                    parameter["example"] = kept[name][0]


def described(http, provider, kept, doomed):
    """The API's description, with our bodies as its examples, and with streams as schemathesis reads them."""
    agent, person = kept["agent_id"][0], kept["user_id"][0]
    description = http.get("/openapi.json").raise_for_status().json()
    provided = {
        "CreateProviderBody": {"name": "added"} | provider,
        "CheckProviderBody": provider,
        "UpdateProviderBody": {"api_key": "sk-other"},
        "UserBody": {"name": "Cy", "organization_id": ORGANIZATION},
        "UserChange": {"id": person, "name": "Bea"},
        "PassageBody": {"text": "The wind turned to the north."},
        "CreateBatch": {"requests": [{"agent_id": agent, "messages": [{"role": "user", "content": "the wind"}]}]},
        "ApiKeyBody": {"name": "reader", "scope": "read"},
        "UserTokenBody": {"agent_id": agent, "user_id": PERSON, "ttl": 600},
        "MemoryBody": {"content": "Prefers tea.", "type": "core_memory", "user_id": PERSON},
        "ImportBody": {"file": http.get(f"/v1/agents/{agent}/export").raise_for_status().text},
        "CreateGroupBody": {"agent_ids": [agent], "description": "crew"},
        "ChatRequest": {"model": agent, "messages": [{"role": "user", "content": "the wind"}]},
        "ResponsesRequest": {"model": agent, "input": "the wind"},
    }
    for name, body in (BODIES | provided).items():
        description["components"]["schemas"][name]["example"] = body
    exemplify(http, description["paths"], kept, doomed)
    # A thread and a person hardly ever go together by chance.
    export = description["paths"]["/v1/agents/{agent_id}/export"]["get"]
    export["parameters"] = [one for one in export["parameters"] if one["name"] != "conversation_id"]
    for operations in description["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                stream = answer.get("content", {}).get("text/event-stream")
                if stream:
                    stream["itemSchema"] = frame(stream.pop("schema"))
    return description


def plainly(http, description, kept):
    """The operations that succeed when they are asked with nothing but their examples, each once.

    What takes something away is left to the run itself, for it would take it from the operations that come after it.
    Of a run alone one can't say what succeeds: its requests change what the next ones find.
    """
    done = set()
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if method == "delete" or TAKING & set(path.split("/")):
                continue
            parameters = operation.get("parameters", [])
            place = path.format(**{one["name"]: one["example"] for one in parameters if one["in"] == "path"})
            query = {one["name"]: QUERIES.get(one["name"]) for one in parameters if one["in"] == "query" and one.get("required")}
            query = {name: kept[name][0] if name in kept else word for name, word in query.items()}
            body = None if method == "get" else example_body(description, operation, path)
            if http.request(method, place, params=query, json=body).is_success:
                done.add(f"{method.upper()} {path}")
    return done


def example_body(description, operation, path):
    """The example of an operation's body; a word for searches, and nothing chosen where there is none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = content.get("schema", {})
    name = re.search('"#/components/schemas/([^"]+)"', json.dumps(schema))
    plain = {"query": "wind"} if path.endswith("/search") else {}
    example = description["components"]["schemas"][name[1]].get("example", plain) if name else plain
    return [example] if schema.get("type") == "array" else example


def succeeded(events):
    """The operations of which a request succeeded, by the record of all that was asked and answered."""
    done = set()
    for line in events.open():
        for event in json.loads(line).values():
            recorder = event.get("recorder", {}) if isinstance(event, dict) else {}
            method = recorder.get("label", " ").split()[0:1]
            for one in recorder.get("interactions", {}).values():
                if [one["request"]["method"]] == method and (one["response"] or {}).get("status_code", 500) < 300:
                    done.add(recorder["label"])
    return done


def test_no_request_makes_the_server_fail(server, tmp_path):
    with httpx.Client(base_url=server.url, timeout=20, headers=server.headers) as http:
        kept, doomed = seed(http, 5, server.provider), seed(http, 10, server.provider)
        (tmp_path / "schemathesis.toml").write_text(settings(kept, doomed))
        description = described(http, server.provider, kept, doomed)
        (tmp_path / "openapi.json").write_text(json.dumps(description))
        plain = plainly(http, description, kept)
    report, events = tmp_path / "report.json", tmp_path / "events.ndjson"
    done = subprocess.run(
        [
            # One worker: the same requests in the same order each time.
            Path(sys.executable).with_name("schemathesis"), "run", "openapi.json", f"--url={server.url}",
            "--phases=examples,coverage,fuzzing", f"--max-time={SECONDS}", f"--seed={SEED}", "--mode=all",
            "--max-examples=15", "--continue-on-failure", "--no-shrink", "--suppress-health-check=all",
            "--request-timeout=20", f"--header=Authorization:{server.headers['authorization']}", "--warnings=off", f"--report-json-path={report}", f"--report-ndjson-path={events}",
            "--workers=1",
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
    assert set(found["valid_rates"]) - succeeded(events) - plain <= REFUSING
    assert httpx.get(f"{server.url}/v1/health/").status_code == 200
    log = server.log(lines=100_000)
    panics = [line for line in log.splitlines() if "panicked at" in line]
    assert panics == []
