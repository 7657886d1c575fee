"""Language models in the server's own process, with the smallest there is: a conversation without any key.

A model of 135 million parameters is no thinker. What is owed in every case is asserted in every case; whether its answers
hold the fact is counted over all cases.
"""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from letta_client import APIStatusError

from programs import DETECT_NOTHING, FOREIGN, Server, eventually, free_port, named
from talk import of_kind

MODEL = "local/smollm2-135m"
SEARCH = "archival_memory_search"
SYSTEM = "You are a helpful assistant who answers in one short sentence."
NO_HUB = "http://127.0.0.1:9"
FACTS = [
    # What is in memory, the question, and the word that the answer is to hold.
    ("The spare key is under the blue flowerpot.", "Where is the spare key?", "flowerpot"),
    ("My sister Clara lives in Lisbon.", "In which city does Clara live?", "lisbon"),
    ("The dentist appointment is on Thursday at nine.", "On which day is the dentist appointment?", "thursday"),
    ("Our cat is called Biscuit.", "What is our cat called?", "biscuit"),
    ("The wifi password is marmalade.", "What is the wifi password?", "marmalade"),
    ("I am allergic to peanuts.", "What am I allergic to?", "peanut"),
    ("The project is due in November.", "When is the project due?", "november"),
    ("My favourite colour is turquoise.", "What is my favourite colour?", "turquoise"),
    ("The boat is moored in Bergen.", "Where is the boat moored?", "bergen"),
    ("My grandfather was a carpenter.", "What was my grandfather's job?", "carpenter"),
]
OTHERS = ["The oven needs twenty minutes to heat up.", "It rained all of last week.", "The train was late again."]
WANTED = 6


def models_folder():
    return {"MNEMIC_MODELS_DIR": named("MNEMIC_MODELS_DIR")}


@pytest.fixture(scope="module")
def server():
    """One that fetches nothing: what it needs is there."""
    server = Server("sqlite", None, **models_folder(), MNEMIC_OFFLINE="true", MNEMIC_LOCAL_IDLE_SECONDS="2")
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def client(server):
    from letta_client import Letta

    with Letta(base_url=server.url, api_key="sk-none", max_retries=0, timeout=300) as client:
        yield client


def make_agent(client, *tools, **fields):
    settings = {"provider_type": "openai", "temperature": 0, "max_output_tokens": 96}
    rules = [{"type": "run_first", "tool_name": tool} for tool in tools]
    return client.agents.create(
        model=MODEL, system=SYSTEM, include_base_tools=False, tools=list(tools), tool_rules=rules, model_settings=settings,
        **fields,
    )


def ask(client, agent, text):
    return client.agents.messages.create(agent.id, messages=[{"role": "user", "content": text}], max_steps=3)


def memory_of(server):
    """Megabytes of a server's process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1_000


def processor_seconds(server):
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


LOADED, UNLOADED = "a model is loaded", "the model was idle and is unloaded"


def test_nothing_is_loaded_before_it_is_asked_for_and_it_is_unloaded_when_nobody_asks(server, client):
    assert MODEL in [model.handle for model in client.models.list()]
    agent = make_agent(client)
    assert LOADED not in server.log()
    before = memory_of(server)
    answer = ask(client, agent, "Hello! Who are you?")
    assert of_kind(answer.messages, "assistant_message")[0].content.strip()
    assert answer.usage.prompt_tokens > 10 and answer.usage.completion_tokens > 1
    assert LOADED in server.log()
    with_model = memory_of(server)
    assert with_model > before + 90
    eventually(lambda: UNLOADED in server.log(), "it is unloaded", 20)
    eventually(lambda: memory_of(server) < before + (with_model - before) / 2, "its memory is free again")


def test_what_it_read_of_conversations_goes_back_to_the_system_when_it_is_unloaded(server, client):
    eventually(lambda: server.log().count(UNLOADED) == server.log().count(LOADED), "nothing is loaded", 20)
    before = memory_of(server)
    times = server.log().count(UNLOADED)
    for name in ("Ada", "Zed"):
        text = " ".join(f"{name} saw ship number {number} sail to the island of birds." for number in range(180))
        ask(client, make_agent(client), text)
    with_model = memory_of(server)
    assert with_model > before + 200
    eventually(lambda: server.log().count(UNLOADED) > times, "it is unloaded", 20)
    left = eventually(lambda: memory_of(server) < before + 60 and memory_of(server), "its memory is free again")
    print(before, with_model, left)


def test_it_streams_word_by_word_and_reads_a_conversation_only_once(client):
    agent = make_agent(client)
    frames = list(client.agents.messages.stream(
        agent.id, messages=[{"role": "user", "content": "Tell me about the sea."}], stream_tokens=True,
    ))
    assert len(of_kind(frames, "assistant_message")) > 3
    answer = ask(client, agent, "And about ships?")
    step = client.runs.steps.list(answer.messages[-1].run_id)
    usage = next(iter(step)).prompt_tokens_details
    assert usage and (usage.get("cached_tokens") if isinstance(usage, dict) else usage.cached_tokens) > 50


def test_what_was_stored_is_found_again_after_a_restart(server, client):
    agents = []
    for fact, question, wanted in FACTS:
        agent = make_agent(client, SEARCH)
        for text in [OTHERS[0], fact, *OTHERS[1:]]:
            client.agents.passages.create(agent.id, text=text)
        agents.append((agent, question, wanted))
    server.terminate()
    server.start()
    told = []
    for agent, question, wanted in agents:
        messages = ask(client, agent, question).messages
        calls = [call for message in of_kind(messages, "tool_call_message") for call in message.tool_calls]
        assert calls, question
        for call in calls:
            assert call.name == SEARCH, question
            arguments = json.loads(call.arguments)
            assert isinstance(arguments["query"], str) and set(arguments) == {"query"}, question
        returns = of_kind(messages, "tool_return_message")
        assert [found.status for found in returns] == ["success"] * len(calls), question
        words = " ".join(message.content for message in of_kind(messages, "assistant_message"))
        told.append((wanted in words.lower(), question, calls[0].arguments, words))
    print("\n".join(map(str, told)))
    assert sum(one[0] for one in told) >= WANTED, "\n".join(map(str, told))


@pytest.mark.parametrize(("most", "is_room"), [(60, True), (1, False)], ids=["it goes on to its end", "it has no end"])
def test_a_call_that_meets_its_limit_is_whole_or_is_not_made(client, most, is_room):
    tool = "archival_memory_insert"
    agent = client.agents.create(
        model=MODEL, system=SYSTEM, include_base_tools=False, tools=[tool], tool_rules=[{"type": "run_first", "tool_name": tool}],
        model_settings={"provider_type": "openai", "temperature": 0, "max_output_tokens": most},
    )
    text = " ".join(f"On day {day} the ship went to harbour {day * 3}." for day in range(12))
    try:
        messages = ask(client, agent, f"Please remember this whole text: {text}").messages
    except APIStatusError as error:
        messages = []
        assert not is_room and "the text is too long" in str(error) and "max_output_tokens" in str(error)
    kept = list(client.agents.messages.list(agent.id))
    for shown in (messages, kept):
        calls = [call for message in of_kind(shown, "tool_call_message") for call in message.tool_calls]
        assert bool(calls) == is_room
        for call in calls:
            assert call.name == tool and json.loads(call.arguments)["content"]


def test_a_cancelled_call_stops_computing_at_once_also_while_it_reads_the_prompt():
    from letta_client import Letta

    # Nothing else is to compute: texts that wait for their vectors would.
    server = Server("sqlite", None, **models_folder(), MNEMIC_OFFLINE="true", MNEMIC_DEFAULT_EMBEDDING="none").start()
    try:
        with Letta(base_url=server.url, api_key="sk-none", max_retries=0, timeout=300) as client:
            agent = make_agent(client)
            text = " ".join(f"Ship number {number} sails to the island of birds." for number in range(500))
            run = client.agents.messages.create_async(agent.id, messages=[{"role": "user", "content": text}])
            begun = processor_seconds(server)
            eventually(lambda: processor_seconds(server) > begun + 1.5, "it reads the prompt", 60)
            client.agents.messages.cancel(agent.id)
            eventually(lambda: client.runs.retrieve(run.id).status == "cancelled", "the run is cancelled")
            time.sleep(0.2)
            before = processor_seconds(server)
            time.sleep(1)
            assert processor_seconds(server) - before < 0.3
    finally:
        server.close()


def test_a_model_server_that_is_configured_comes_first(model):
    server = Server("sqlite", model, **models_folder(), MNEMIC_OFFLINE="true").start()
    try:
        from letta_client import Letta

        with Letta(base_url=server.url, api_key="sk-none", max_retries=0) as client:
            handles = [model.handle for model in client.models.list()]
            assert handles[0].startswith("openai-proxy/") and handles[-1].startswith("local/")
    finally:
        server.close()


@pytest.fixture
def model():
    from programs import ScriptedModel

    model = ScriptedModel()
    yield model
    model.stop()


def test_a_newcomer_talks_without_key_or_account_where_only_a_package_index_can_be_reached(tmp_path):
    python = Path(named("PYTHON")).parent
    environment = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    environment |= DETECT_NOTHING | {
        "MNEMIC_MODELS_DIR": str(tmp_path / "models"), "MNEMIC_MODELS_FETCH": "false", "HF_ENDPOINT": NO_HUB,
        "MNEMIC_DATA_DIR": str(tmp_path / "data"), "PATH": f"{python}:{environment['PATH']}",
    }
    command = [named("MNEMIC_BIN"), "chat", "--yes", "--port", str(free_port())]
    lines = "Hello! I am Ada.\nWhat is the capital of France?\n"
    done = subprocess.run(
        command, input=lines, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.strip()]) >= 2, done.stdout
    assert "answers are weak" in done.stderr and "OPENAI_API_KEY" in done.stderr
    assert MODEL in done.stderr
    # What was fetched is used again, also without any network.
    environment |= {"MNEMIC_OFFLINE": "true", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, input="Hello again!\n", env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() and "fetched" not in done.stderr
