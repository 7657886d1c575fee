"""Runs what README.md, docs/ and the clients' pages tell their readers to run.

A fenced block is run when the line before it is `<!-- test: NAME -->` or `<!-- test: NAME -> WORDS -->`;
WORDS must then stand in what it prints. Blocks of bash, python and typescript are run as programs, toml is
read as the server's settings, and json is sent: its NAME is a method and a path, in which AGENT_ID stands
for an agent. The server's address and the model are replaced by those of a server made for this test.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "blackbox"))

from programs import DETECT_NOTHING, MODEL, ScriptedModel, Server, free_port, named, no_weights  # noqa: E402

MARK = "<!-- test: "
BLOCK = re.compile(
    MARK + r"(?P<name>[^\n]*?)(?: -> (?P<words>[^\n]*?))? -->\n```(?P<language>\w+)\n(?P<text>.*?)\n```", re.S
)
ADDRESS = "http://127.0.0.1:8283"
README_MODEL = "openai/gpt-4o-mini"
SECONDS = 60


class Reader:
    """Somebody who does what the documents say."""

    def __init__(self, server, folder):
        self.server = server
        self.folder = folder
        (folder / ".curlrc").write_text("fail-with-body\n")
        # `mnemic` is the program under test, and its chats ask the server under test.
        (folder / "bin").mkdir()
        (folder / "bin" / "mnemic").symlink_to(named("MNEMIC_BIN"))
        self.environment = os.environ | {
            "CURL_HOME": str(folder), "LETTA_API_KEY": "sk-none", "MNEMIC_URL": server.url,
            "MNEMIC_DATA_DIR": str(folder / "data"), "MNEMIC_PORT": str(free_port()),
            "PYTHONPATH": str(ROOT / "clients" / "python" / "src"), **no_weights(folder), **DETECT_NOTHING,
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        }

    def run(self, *command, **more):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS,
            **{"cwd": self.folder, "env": self.environment, **more},
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"it ended with {done.returncode}:\n{output}"
        return output

    def bash(self, _, text):
        return self.run("bash", "-euo", "pipefail", "-c", text)

    def python(self, _, text):
        return self.run(sys.executable, "-c", text)

    def typescript(self, _, text):
        project = ROOT / "tests" / "typescript"
        with tempfile.TemporaryDirectory(dir=project, prefix="docs-") as folder:
            source = Path(folder) / "block.mts"
            source.write_text(text + "\n")
            compiler = project / "node_modules" / ".bin" / "tsc"
            options = ["--target", "es2023", "--module", "nodenext", "--strict", "--skipLibCheck", "--types", "node"]
            self.run(compiler, *options, source, cwd=project)
            return self.run("node", source.with_suffix(".mjs"))

    def toml(self, _, text):
        settings = self.folder / "settings.toml"
        settings.write_text(text)
        return self.run(named("MNEMIC_BIN"), "config", env={**self.environment, "MNEMIC_CONFIG": str(settings)})

    def json(self, name, text):
        agent = httpx.post(f"{self.server.url}/v1/agents/", json={"model": MODEL}).raise_for_status().json()
        method, path = name.split()
        url = self.server.url + path.replace("AGENT_ID", agent["id"])
        body = text.replace("AGENT_ID", agent["id"])
        answer = httpx.request(method, url, content=body, headers={"content-type": "application/json"})
        assert answer.is_success, answer.text
        return answer.text


def blocks():
    clients = sorted((ROOT / "clients").glob("*/README.md"))
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benches" / "README.md", *clients]:
        text, name = document.read_text(), document.relative_to(ROOT)
        found = list(BLOCK.finditer(text))
        assert len(found) == text.count(MARK), f"{name}: a mark stands right before no block"
        yield from ((name, block) for block in found)


def main():
    failed, passed = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        model = ScriptedModel()
        # What documents give somebody has to be there.
        plans = Path(folder) / "plans.toml"
        plans.write_text("[plans.pro]\nmessages_per_day = 1_000_000\n")
        server = Server("sqlite", model, MNEMIC_CONFIG=str(plans)).start()
        reader = Reader(server, Path(folder))
        try:
            for document, block in blocks():
                text = block["text"].replace(ADDRESS, server.url).replace(README_MODEL, MODEL)
                try:
                    output = getattr(reader, block["language"])(block["name"], text)
                    assert (block["words"] or "") in output, f"{block['words']!r} is missing in:\n{output}"
                    passed += 1
                    print(f"ok      {document}: {block['name']}")
                except (AssertionError, httpx.HTTPError, subprocess.TimeoutExpired) as error:
                    failed += 1
                    print(f"FAILED  {document}: {block['name']}\n{error}")
        finally:
            server.close()
            model.stop()
    print(f"{passed} blocks passed, {failed} failed")
    sys.exit(1 if failed or passed < 5 else 0)


if __name__ == "__main__":
    main()
