"""Servers, clients and agents for the suite: every test runs on each engine.

MNEMIC_ENGINES=sqlite runs it on one engine only.
"""

import gc
import os
import uuid

import httpx
import pytest
from letta_client import Letta

from contexts import NAMES_FACTS, WINDOW
from programs import MODEL, ScriptedModel, Server
from tool_calls import ASKS, DOCS

# What a session has imported and made lives until its end; to look through it again and again takes a tenth of a run.
gc.set_threshold(100_000, 50, 1_000)

ENGINES = os.environ.get("MNEMIC_ENGINES", "sqlite,postgres").split(",")


def pytest_terminal_summary(terminalreporter):
    """Shows what tests have to tell besides that they passed."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "told":
                terminalreporter.write_line(value)


@pytest.fixture(scope="session")
def model():
    """The scripted model that all servers ask."""
    scripted = ScriptedModel()
    yield scripted
    scripted.stop()


@pytest.fixture(scope="session", params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="session")
def server(engine, model):
    """The server that the tests of one engine share."""
    running = Server(engine, model)
    running.start()
    yield running
    ended, log = running.process.poll(), running.log()
    running.close()
    assert ended is None, f"the server died during the tests, with {ended}:\n{log}"


@pytest.fixture
def own_server(engine, model):
    """Makes servers that a test has for itself: it may kill them or set them up otherwise."""
    made = []

    def make(with_model=True, **environment):
        made.append(Server(engine, model if with_model else None, **environment))
        return made[-1].start()

    yield make
    for one in made:
        one.close()


def client_of(server, **options):
    settings = {"base_url": server.url, "api_key": "sk-none", "max_retries": 0, "timeout": 60, **options}
    return Letta(**settings)


@pytest.fixture(scope="session")
def client(server):
    """The official SDK, which shows failures at once: no retries."""
    with client_of(server) as sdk:
        yield sdk


@pytest.fixture
def own_client():
    """Makes SDK clients of servers other than the shared one."""
    made = []

    def make(server, **options):
        made.append(client_of(server, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def http(server):
    """For what the SDK has no call for, and to see answers as they are."""
    with httpx.Client(base_url=server.url, timeout=60, headers={"user-agent": "curl/8"}) as raw:
        yield raw


@pytest.fixture
def token():
    """A word that no other test uses, to find one's own things by."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make_agent(client, token):
    def make(**fields):
        given = {
            "model": MODEL,
            "tags": [token],
            "memory_blocks": [{"label": "human", "value": "Ada sails."}],
            **fields,
        }
        return client.agents.create(**given)

    return make


@pytest.fixture
def agent(make_agent):
    return make_agent()


@pytest.fixture
def small(make_agent):
    """Makes agents that reckon with a window of 8,000 tokens."""

    def make(prompt=NAMES_FACTS, **fields):
        settings = {"prompt": prompt, **fields.pop("compaction_settings", {})}
        return make_agent(context_window_limit=fields.pop("window", WINDOW), compaction_settings=settings, **fields)

    return make


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
