"""Requests made from the API's own description, sensible and not: none of them may break the server."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from programs import MODEL, ScriptedModel, Server

SECONDS = 60
SEED = 20261123


@pytest.fixture
def server():
    model = ScriptedModel()
    running = Server("sqlite", model, MNEMIC_DEFAULT_LLM_HANDLE=MODEL).start()
    yield running
    running.close()
    model.stop()


def test_no_request_makes_the_server_fail(server, tmp_path):
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json",
            "--checks=not_a_server_error,content_type_conformance,response_schema_conformance",
            "--phases=examples,coverage,fuzzing", f"--max-time={SECONDS}", f"--seed={SEED}", "--mode=all",
            "--max-examples=15", "--continue-on-failure", "--no-shrink", "--suppress-health-check=all",
            "--request-timeout=20", "--warnings=off", f"--report-json-path={report}", "--workers=2",
        ],
        capture_output=True, text=True, cwd=tmp_path,
    )
    # The exit status also tells of the generator's own errors, which say nothing of the server.
    assert report.exists(), done.stdout[-6000:] + done.stderr[-2000:]
    found = json.loads(report.read_text())
    assert found["failures"] == [], done.stdout[-6000:]
    operations = found["operations"]
    assert operations["tested"] == operations["total"] > 60, operations
    assert found["test_cases"]["generated"] > 1_000, found["test_cases"]
    assert httpx.get(f"{server.url}/v1/health/").status_code == 200
    log = server.log(lines=100_000)
    assert "panic" not in log, log[-3000:]
