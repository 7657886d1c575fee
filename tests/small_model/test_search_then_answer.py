"""A real small model behind a real model server: the agent searches its memory, then answers.

A model of 135 million parameters is no thinker. What the server owes it is asserted in every case: a search with valid
arguments, its return, an answer. That the answer holds the fact is counted over all cases.
"""

import json
import os
import subprocess
import uuid

import httpx
import pytest

from programs import Server, eventually, free_port, weights
from talk import of_kind

CASES = [
    # What is in memory, where, the question, and the word that the answer is to hold.
    ("The spare key is under the blue flowerpot.", "archive", "Where is the spare key?", "flowerpot"),
    ("My sister Clara lives in Lisbon.", "history", "In which city does Clara live?", "lisbon"),
    ("The dentist appointment is on Thursday at nine.", "archive", "On which day is the dentist appointment?", "thursday"),
    ("Our cat is called Biscuit.", "history", "What is our cat called?", "biscuit"),
    ("The wifi password is marmalade.", "archive", "What is the wifi password?", "marmalade"),
    ("I am allergic to peanuts.", "history", "What am I allergic to?", "peanut"),
    ("The project is due in November.", "archive", "When is the project due?", "november"),
    ("My favourite colour is turquoise.", "history", "What is my favourite colour?", "turquoise"),
    ("The boat is moored in Bergen.", "archive", "Where is the boat moored?", "bergen"),
    ("My grandfather was a carpenter.", "history", "What was my grandfather's job?", "carpenter"),
]
OTHERS = ["The oven needs twenty minutes to heat up.", "It rained all of last week.", "The train was late again."]
WANTED = 6
STEPS = 3
SEARCHES = {"archive": "archival_memory_search", "history": "conversation_search"}
SYSTEM = "You are a helpful assistant who answers in one short sentence."


@pytest.fixture(scope="module")
def provider():
    """The small model's server."""
    port = free_port()
    command = [f"{os.environ['SMALL_MODEL']}/bin/python", os.path.join(os.path.dirname(__file__), "serve.py"), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def is_up():
        assert process.poll() is None, "the model server ended while it started"
        try:
            return httpx.get(f"{url}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    eventually(is_up, "the model is loaded", 60)
    yield url
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def sdk(provider):
    from letta_client import Letta

    server = Server("sqlite", None, **weights())
    (server.folder / "mnemic.toml").write_text(
        f'[[providers]]\nname = "small"\nbase_url = "{provider}/v1"\ntools = "schema"\n'
    )
    server.start()
    with Letta(base_url=server.url, api_key="sk-none", max_retries=0, timeout=120) as client:
        eventually(lambda: [model for model in client.models.list() if model.handle.startswith("small/")], "it is listed")
        yield client, server
    server.close()


def make_agent(client, where):
    handle = next(model.handle for model in client.models.list() if model.handle.startswith("small/"))
    return client.agents.create(
        model=handle, system=SYSTEM, include_base_tools=False, tools=[SEARCHES[where]],
        tool_rules=[{"type": "run_first", "tool_name": SEARCHES[where]}],
        model_settings={"provider_type": "openai", "temperature": 0, "max_output_tokens": 128},
    )


def remember(client, server, agent, where, texts):
    if where == "archive":
        for text in texts:
            client.agents.passages.create(agent.id, text=text)
        return
    turns = [{"role": "user", "content": text, "otid": str(uuid.uuid4())} for text in texts]
    httpx.post(
        f"{server.url}/v1/agents/{agent.id}/messages/capture", json={"messages": turns}, timeout=60
    ).raise_for_status()


def test_a_small_model_searches_and_then_answers(sdk):
    client, server = sdk
    told = []
    for fact, where, question, wanted in CASES:
        agent = make_agent(client, where)
        remember(client, server, agent, where, [OTHERS[0], fact, *OTHERS[1:]])
        # In a thread of its own, so that only a search finds what was said.
        thread = client.conversations.create(agent_id=agent.id)
        asked = [{"role": "user", "content": question}]
        messages = list(client.conversations.messages.create(thread.id, messages=asked, max_steps=STEPS))
        call = of_kind(messages, "tool_call_message")[0].tool_calls[0]
        assert call.name == SEARCHES[where], question
        assert isinstance(json.loads(call.arguments).get("query", ""), str), question
        found = of_kind(messages, "tool_return_message")[0]
        assert (found.status, found.tool_call_id) == ("success", call.tool_call_id), question
        answers = of_kind(messages, "assistant_message")
        assert answers and answers[-1].content.strip(), question
        told.append((wanted in answers[-1].content.lower(), question, call.arguments, answers[-1].content))
    print("\n".join(map(str, told)))
    right = sum(one[0] for one in told)
    assert right >= WANTED, "\n".join(map(str, told))
