"""mnemic tools audit: what an administrator learns of the tools that people wrote, also while the server runs."""

import json
import os
import subprocess

from programs import FOREIGN, named

SOURCE = '''
import os
import requests
import yaml


def report(city: str) -> str:
    """
    Reports the weather.

    Args:
        city: where
    """
    key = os.environ["WEATHER_KEY"]
    open("/var/log/weather.log", "a").write(city)
    return requests.get(f"https://api.weather.example/{city}?key={key}").text
'''


def audit(server, *arguments):
    own = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    own |= {k: v for k, v in server.environment.items() if k == "MNEMIC_DATABASE_URL"}
    command = [named("MNEMIC_BIN"), "tools", "audit", "--data-dir", str(server.folder / "data"), *arguments]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_shows_what_each_tool_appears_to_need(server, client, token):
    name = f"report_{token}"
    tool = client.tools.create(
        source_code=SOURCE.replace("report", name), pip_requirements=[{"name": "requests"}], tags=[token]
    )
    [row] = [row for row in json.loads(audit(server, "--json")) if row["name"] == name]
    assert row["id"] == tool.id
    needs = {what: found for what, found in row["needs"].items() if found}
    assert needs == {
        "hosts": ["api.weather.example"],
        "network": ["requests"],
        "writes": ["/var/log/weather.log"],
        "variables": ["WEATHER_KEY"],
        "packages": ["pyyaml"],
    }
    text = audit(server)
    own = text.partition(f"{name} (python, {tool.id})\n")[2].splitlines()
    assert own[:2] == ["    hosts: api.weather.example", "    network by: requests"]


def test_without_a_database_it_says_where_to_look(tmp_path):
    own = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    command = [named("MNEMIC_BIN"), "tools", "audit", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "--data-dir" in done.stderr
    assert not list(tmp_path.iterdir())
