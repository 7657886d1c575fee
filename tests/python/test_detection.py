"""Model servers on this machine are found by what they answer, while the server runs."""

import json
import subprocess

import letta_client
import pytest

from programs import ScriptedModel, Server, eventually, free_port, named
from talk import reply, send

# How soon a model server that is started, or ends, is noticed at the latest.
NOTICED = 10


@pytest.fixture
def program():
    """Starts scripted models that pass for programs."""
    running = []

    def start(identity, *options, port=0):
        running.append(ScriptedModel("--as", identity, *options, port=port))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def detecting(own_server):
    """Makes servers that look at these addresses."""

    def make(*addresses, **environment):
        environment = {"MNEMIC_DETECT": "true", "MNEMIC_DETECT_ADDRESSES": ",".join(addresses), **environment}
        return own_server(with_model=False, **environment)

    return make


def handles(client):
    return [m.handle for m in client.models.list()]


def address_of(port):
    return f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("identity", "name"),
    [("ollama", "ollama"), ("lmstudio", "lmstudio"), ("llama-server", "llama-server"), ("vllm", "vllm")],
)
def test_each_is_found_by_what_it_answers_and_serves_an_agent_that_names_no_model(
    detecting, own_client, program, identity, name, token
):
    found = program(identity)
    server = detecting(found.address)
    client = own_client(server)
    # Nothing is waited for: the first look is over before a request for a default model is answered.
    agent = client.agents.create(tags=[token])
    assert agent.llm_config.handle == f"{name}/scripted"
    assert reply(send(client, agent, token)).startswith("Reply ")
    request = found.last_request(token)
    assert ("num_ctx" in request.get("options", {})) is (identity == "ollama")
    eventually(lambda: f"Found {name} at" in server.log(), "the start says what was found", NOTICED)
    assert f"Agents get the model {name}/scripted" in server.log()


def test_one_that_is_started_later_is_found_and_one_that_goes_away_is_dropped(detecting, own_client, program):
    port = free_port()
    client = own_client(detecting(address_of(port)))
    assert handles(client) == []
    later = program("llama-server", port=port)
    eventually(lambda: "llama-server/scripted" in handles(client), "it is found", NOTICED)
    agent = client.agents.create(model="llama-server/scripted")
    later.stop()
    eventually(lambda: handles(client) == [], "it is dropped", NOTICED)
    with pytest.raises(letta_client.APIStatusError) as error:
        send(client, agent, "hello")
    assert error.value.status_code < 500
    program("llama-server", port=port)
    eventually(lambda: handles(client), "it is found again", NOTICED)
    assert reply(send(client, agent, "hello"))


def test_what_is_no_model_server_is_none_whatever_its_port(detecting, own_client, model):
    # The plain scripted model has a list of models too, but none of the programs' own routes.
    client = own_client(detecting(model.address))
    with pytest.raises(letta_client.BadRequestError):
        client.agents.create()
    assert handles(client) == []


def test_configured_providers_win_at_their_address(detecting, own_client, program, token):
    running = program("ollama")
    server = detecting(running.address, OPENAI_BASE_URL=f"http://{running.address.replace('127.0.0.1', 'localhost')}/v1")
    client = own_client(server)
    with pytest.raises(letta_client.BadRequestError):
        client.agents.create(tags=[token])
    names = {m.provider_name for m in client.models.list()}
    assert names <= {"openai"} and not any(h.startswith("ollama/") for h in handles(client))


@pytest.mark.parametrize(
    ("variable", "handle", "identity"),
    [
        ("OLLAMA_BASE_URL", "ollama/scripted", "ollama"),
        ("OLLAMA_HOST", "ollama/scripted", "ollama"),
        ("LMSTUDIO_BASE_URL", "lmstudio/scripted", "lmstudio"),
        ("LLAMA_SERVER_URL", "llama-server/scripted", "llama-server"),
        ("LLAMACPP_BASE_URL", "llama-server/scripted", "llama-server"),
        ("VLLM_API_BASE", "vllm/scripted", "vllm"),
    ],
)
def test_the_environment_names_one_and_it_stays_when_it_is_away(own_server, own_client, program, variable, handle, identity):
    port = free_port()
    value = address_of(port) if variable == "OLLAMA_HOST" else f"http://{address_of(port)}/v1"
    client = own_client(own_server(with_model=False, **{variable: value}))
    program(identity, port=port)
    agent = eventually(lambda: client.agents.create(model=handle), "it answers")
    assert agent.llm_config.handle == handle
    assert client.agents.create().llm_config.handle == handle, "it is the default where nothing is configured"


def test_one_of_the_environment_that_is_away_is_unreachable_rather_than_unknown(own_server, own_client):
    client = own_client(own_server(with_model=False, OLLAMA_BASE_URL=f"http://{address_of(free_port())}"))
    agent = client.agents.create(model="ollama/anything")
    with pytest.raises(letta_client.APIStatusError, match="no connection to provider `ollama`"):
        send(client, agent, "hello")


def run(folder, command, address, lines=""):
    """What a command of the program prints that finds what runs at an address."""
    environment = Server("sqlite", None, folder=folder).environment
    environment |= {"MNEMIC_DETECT": "true", "MNEMIC_DETECT_ADDRESSES": address}
    done = subprocess.run(
        [named("MNEMIC_BIN"), *command, "--data-dir", str(folder / "data")], input=lines, env=environment,
        cwd=folder, capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_settings_say_what_runs(tmp_path, program):
    running = program("vllm")
    (row,) = [row for row in json.loads(run(tmp_path, ["config", "--json"], running.address)) if "provider" in row["name"]]
    assert (row["name"], row["source"]) == ("provider vllm", "found running")
    rows = json.loads(run(tmp_path, ["config", "--json", "--detect", "false"], running.address))
    assert not [row for row in rows if "provider" in row["name"]]


def test_a_chat_without_any_settings_talks_to_what_runs(tmp_path, program, token):
    running = program("ollama")
    said = run(tmp_path, ["chat", "--yes", "--port", str(free_port())], running.address, f"hello {token}\n")
    assert "Reply " in said and running.last_request(token)["options"]["num_ctx"] == 16_384


def test_it_can_be_switched_off(detecting, own_client, program):
    running = program("ollama")
    client = own_client(detecting(running.address, MNEMIC_DETECT="false"))
    with pytest.raises(letta_client.BadRequestError):
        client.agents.create()
    assert handles(client) == []


@pytest.mark.parametrize(
    ("identity", "advice"),
    [
        ("lmstudio", "--context-length"),
        ("llama-server", "--ctx-size"),
        ("vllm", "--max-model-len"),
    ],
)
def test_small_windows_are_probed_and_warned_of(detecting, own_client, program, identity, advice):
    running = program(identity, "--window", "4096")
    server = detecting(running.address)
    client = own_client(server)
    (model,) = eventually(lambda: list(client.models.list()), "it is found", NOTICED)
    assert model.max_context_window == 4_096 and advice in model.model_dump()["warning"]
    assert advice in server.log(200)
    assert client.agents.create().llm_config.context_window == 4_096
