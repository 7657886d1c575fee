"""The programs under test: the built server, on either engine, and the scripted model that it asks.

Environment, set by ./test: MNEMIC_BIN and SCRIPTED_MODEL_BIN name the programs, MNEMIC_PG_URL a
PostgreSQL in which databases may be made, PSQL its client.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import httpx

# A client reads the machine's certificates when it is made, for some 20 ms, and tests make thousands of clients.
ssl.create_default_context = functools.cache(ssl.create_default_context)

MODEL = "openai-proxy/scripted"
START_SECONDS = 30
STOP_SECONDS = 10

# What the machine's own environment must not bring into a server under test.
FOREIGN = (
    "MNEMIC_", "LETTA_", "OPENAI_", "ANTHROPIC_", "HF_", "OLLAMA_", "LMSTUDIO_", "LLAMA_SERVER_", "LLAMACPP_", "VLLM_",
    "SGLANG_", "EXA_", "TAVILY_", "BRAVE_", "AZURE_", "BASETEN_", "DEEPSEEK_", "GEMINI_", "GROQ_", "MINIMAX_", "OPENROUTER_",
    "TOGETHER_", "XAI_", "ZAI_",
)
# Model servers that happen to run on the machine are none of the tests' business.
DETECT_NOTHING = {"MNEMIC_DETECT": "false"}


def named(variable):
    value = os.environ.get(variable)
    assert value, f"{variable} is not set: run these tests through ./test"
    return value


def weights():
    """Settings of a server that embeds with the real model, whose files ./test has fetched."""
    return {"MNEMIC_MODELS_DIR": named("MNEMIC_MODELS_DIR")}


def no_weights(folder):
    """Settings of one that has no model's files and gets none: it finds texts by their words, at no cost."""
    return {"MNEMIC_MODELS_DIR": str(folder / "models"), "MNEMIC_OFFLINE": "true"}


@contextlib.contextmanager
def configured(engine, model, providers):
    """A server whose providers a file names; {address} in it is that of the scripted model."""
    server = Server(engine, None)
    (server.folder / "mnemic.toml").write_text(providers.format(address=model.address))
    try:
        yield server.start()
    finally:
        server.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(condition, what, seconds=20):
    """Waits until `condition()` is true and returns its value."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)
        # What takes long need not be looked for often: many tests share the machine.
        pause = min(pause * 1.2, 0.1)


def run_sql(text):
    """Runs a statement as the administrator of the PostgreSQL."""
    subprocess.run([named("PSQL"), named("MNEMIC_PG_URL"), "-qAtc", text], check=True, stdout=subprocess.DEVNULL)


def make_database(prefix="test"):
    """The URL of a new, empty database."""
    name = f"{prefix}_{uuid.uuid4().hex[:12]}"
    run_sql(f"CREATE DATABASE {name}")
    return urlsplit(named("MNEMIC_PG_URL"))._replace(path=f"/{name}").geturl()


def drop_database(url):
    """Gives back the room of a database, whose server may still hold connections; a run of the tests makes hundreds."""
    run_sql(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")


class ScriptedModel:
    """The scripted model; it keeps the requests that it gets. It may pass for a program, on a port of its own."""

    def __init__(self, *options, port=0):
        command = [named("SCRIPTED_MODEL_BIN"), "--port", str(port), "--record-memory", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().split()[-1]
        self.http = httpx.Client(base_url=f"http://{self.address}", timeout=30)

    def requests(self, containing):
        """The requests, oldest first, whose messages name `containing`."""
        # The other side looks first, in the whole text of each request: the requests of all tests are many.
        written = json.dumps(containing, ensure_ascii=False)[1:-1]
        recorded = self.http.get("/requests", params={"containing": written}).raise_for_status().json()
        # A request is matched as JSON text, so that strings may contain anything.
        wanted = json.dumps(containing)[1:-1]
        return [body for body in recorded if wanted in json.dumps(body.get("messages", body.get("input", body.get("contents"))))]

    def last_request(self, containing):
        found = self.requests(containing)
        assert found, f"the model was not asked anything with {containing!r}"
        return found[-1]

    def release(self, name):
        """Lets the answers go that wait with `[[hold NAME]]`, also those to come."""
        self.http.post("/control", json={"release": name}).raise_for_status()

    def embed_as(self, **wanted):
        """How embeddings are answered from now on: dims, status, status_for, delay_ms, missing, synonyms."""
        self.http.put("/embeddings", json=wanted).raise_for_status()

    def embedded(self, model=None):
        """The texts that it was asked to embed, by one of its models or by all."""
        asked = self.http.get("/embeddings").raise_for_status().json()["asked"]
        return [text for name, text in asked if model in (None, name)]

    def stop(self):
        self.http.close()
        self.process.kill()
        self.process.wait()


class Server:
    """One data folder (and database), and the processes that serve it one after the other."""

    def __init__(self, engine, model, folder=None, database=None, **environment):
        self.engine = engine
        self.own_folder = None if folder else tempfile.TemporaryDirectory(prefix="mnemic-test-")
        self.folder = Path(folder or self.own_folder.name)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.own_database = None
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        self.environment |= no_weights(self.folder) | DETECT_NOTHING
        if model:
            self.environment |= {
                "OPENAI_API_KEY": "sk-none",
                "OPENAI_BASE_URL": f"http://{model.address}/v1",
            }
        if engine == "postgres":
            self.own_database = None if database else make_database()
            self.environment["MNEMIC_DATABASE_URL"] = database or self.own_database
        self.environment |= environment

    def start(self):
        command = [
            named("MNEMIC_BIN"), "serve", "--host", "127.0.0.1", "--port", str(self.port),
            "--data-dir", str(self.folder / "data"),
        ]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        eventually(self._is_up, "the server answers on /v1/health/", START_SECONDS)
        return self

    def _is_up(self):
        assert self.process.poll() is None, f"the server ended while it started:\n{self.log()}"
        try:
            return httpx.get(f"{self.url}/v1/health/", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def query(self, sql):
        """The rows of a statement about its tables, as tuples of text."""
        if self.engine == "sqlite":
            with contextlib.closing(sqlite3.connect(f"file:{self.folder}/data/mnemic.db?mode=ro", uri=True)) as database:
                return [tuple(str(value) for value in row) for row in database.execute(sql)]
        url = self.environment["MNEMIC_DATABASE_URL"]
        command = [named("PSQL"), url, "-qAt", "-F", "\t", "-c", f"SET search_path TO mnemic; {sql}"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [tuple(line.split("\t")) for line in output.splitlines()]

    def log(self, lines=60):
        text = (self.folder / "log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def kill(self):
        """As a power cut: no chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self):
        """Asks it to stop; how long that took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_SECONDS)
        return time.monotonic() - started

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        if self.own_folder:
            self.own_folder.cleanup()
        if self.own_database:
            drop_database(self.own_database)
