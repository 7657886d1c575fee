"""Starts, kills and looks at a server, for the crash tests. Standard library only.

Environment: MNEMIC_BIN and SCRIPTED_MODEL_BIN name the programs (built with the feature `failpoints`),
MNEMIC_PG_URL a PostgreSQL server in which databases may be made, for the engine `postgres`.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

START_SECONDS = 20
SETTLE_SECONDS = 60
MODEL = "openai-proxy/scripted"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(condition, seconds, what):
    """Waits until `condition()` is true; returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Gone(Exception):
    """The server went away before it had answered."""


class ScriptedModel:
    """The scripted model server; its first line of output names its port."""

    def __init__(self):
        self.process = subprocess.Popen(
            [os.environ["SCRIPTED_MODEL_BIN"], "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        self.address = self.process.stdout.readline().split()[-1]

    def stop(self):
        self.process.kill()
        self.process.wait()


class Server:
    """One data folder or database, and the processes that serve it one after the other."""

    def __init__(self, engine, model, folder):
        self.engine, self.model, self.folder = engine, model, Path(folder)
        self.port = free_port()
        self.process = None
        # Other tests than those of embeddings count commits, to which these would add theirs.
        self.embeddings = {"MNEMIC_DEFAULT_EMBEDDING": "none"}
        self.counter = self.folder / "counter"
        self.faults = self.folder / "faults"
        # A folder that tools may be granted. They are another user.
        self.granted = self.folder / "granted"
        self.granted.mkdir()
        self.granted.chmod(0o777)
        self.database = None
        if engine == "postgres":
            self.database = make_database()

    def start(self, crash=None):
        env = {
            **os.environ,
            "OPENAI_API_KEY": "sk-none",
            "OPENAI_BASE_URL": f"http://{self.model.address}/v1",
            "MNEMIC_DETECT": "false",
            "MNEMIC_COUNTER_FILE": str(self.counter),
            "MNEMIC_TOOL_FOLDERS": str(self.granted),
            "MNEMIC_FAULTS": str(self.faults),
            "MNEMIC_DATA_DIR": str(self.folder / "data"),
            **self.embeddings,
        }
        if self.database:
            env["MNEMIC_DATABASE_URL"] = self.database
        if crash:
            env["MNEMIC_CRASH"] = crash
        command = [os.environ["MNEMIC_BIN"], "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        eventually(self._is_up, START_SECONDS, "the server answers on /v1/health/")

    def _is_up(self):
        if self.process.poll() is not None:
            # A crash point may lie in the start itself.
            return True
        with contextlib.suppress(OSError, Gone):
            return self.request("GET", "/v1/health/")[0] == 200

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.is_alive():
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def request(self, method, path, body=None, timeout=60):
        """Status and parsed body; `Gone` when the server died before it had answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
            return response.status, json.loads(text) if text.startswith(("{", "[")) else text
        except (OSError, http.client.HTTPException) as error:
            raise Gone(str(error)) from error
        finally:
            connection.close()

    def stream(self, path, body, timeout=60):
        """The frames of a stream as far as they came, and whether it ended as it should."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        frames, whole = [], False
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            for line in response:
                text = line.decode().strip()
                if text == "data: [DONE]":
                    whole = True
                elif text.startswith("data: "):
                    frames.append(json.loads(text[6:]))
        except (OSError, http.client.HTTPException, ValueError):
            pass
        finally:
            connection.close()
        return frames, whole

    def make_agent(self):
        body = {"model": MODEL, "memory_blocks": [{"label": "human", "value": "Ada."}]}
        status, agent = self.request("POST", "/v1/agents/", body)
        assert status == 200, agent
        return agent["id"]

    def send(self, agent, text):
        body = {"messages": [{"role": "user", "content": text}]}
        return self.request("POST", f"/v1/agents/{agent}/messages", body)

    def pages(self, path):
        """All items of a list, oldest first."""
        items, after = [], ""
        while True:
            join = "&" if "?" in path else "?"
            status, page = self.request("GET", f"{path}{join}limit=100&order=asc{after}")
            assert status == 200, page
            if not page:
                return items
            items.extend(page)
            after = f"&after={page[-1]['id']}"


def make_database():
    url = urlsplit(os.environ["MNEMIC_PG_URL"])
    name = f"crash_{uuid.uuid4().hex[:12]}"
    administer(f"CREATE DATABASE {name}")
    return url._replace(path=f"/{name}").geturl()


def drop_database(url):
    """Gives back the room of a database; a run of the tests makes hundreds."""
    administer(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")


def administer(sql):
    subprocess.run([os.environ.get("PSQL", "psql"), os.environ["MNEMIC_PG_URL"], "-qc", sql], check=True)


@contextlib.contextmanager
def server(engine, model):
    with tempfile.TemporaryDirectory() as folder:
        found = Server(engine, model, folder)
        try:
            yield found
        except BaseException:
            log = (Path(folder) / "log").read_text(errors="replace")
            print("\n".join(log.splitlines()[-40:]))
            raise
        finally:
            if found.process:
                found.kill()
            if found.database:
                drop_database(found.database)


def check(server, agent, acknowledged=(), sent=()):
    """What holds after every restart, whatever happened before it."""

    def all_over():
        runs = server.pages(f"/v1/runs/?agent_id={agent}")
        return all(run["status"] in ("completed", "failed", "cancelled") for run in runs) and (runs or True)

    eventually(all_over, SETTLE_SECONDS, "every run is over")
    messages = server.pages(f"/v1/agents/{agent}/messages")
    said = [str(m.get("content")) for m in messages if m["message_type"] == "user_message"]
    for text in acknowledged:
        count = sum(text in line for line in said)
        assert count == 1, f"an acknowledged message stands {count} times in the history: {text}"
    for text in sent:
        assert sum(text in line for line in said) <= 1, f"a message stands twice: {text}"
    check_calls(messages)
    if server.counter.exists():
        effects = server.counter.read_text().split()
        assert len(effects) == len(set(effects)), f"a tool ran twice: {effects}"
    status, answer = server.send(agent, f"Are you there? {uuid.uuid4()}")
    assert status == 200, answer
    assert answer["stop_reason"]["stop_reason"] == "end_turn", answer


def check_calls(messages):
    kinds = ("tool_call_message", "approval_request_message")
    calls = [c["tool_call_id"] for m in messages if m["message_type"] in kinds for c in m["tool_calls"]]
    returns = [m["tool_call_id"] for m in messages if m["message_type"] == "tool_return_message"]
    assert sorted(calls) == sorted(returns), "a call without return, or a return without call"
