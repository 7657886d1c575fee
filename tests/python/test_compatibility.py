"""docs/compatibility.md says which operations of the V1 API this server has: asked of the server itself, one by one.

COMPATIBILITY=write ./test python writes it anew."""

import csv
import os
import re
from collections import Counter
from pathlib import Path

import httpx
import pytest

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs" / "compatibility.md"
OPERATIONS = PROJECT / "tests" / "fixtures" / "v1-operations.tsv"
# An id that no thing has; a path may want one of another kind, which is an error of its own.
NOBODY = "00000000-0000-4000-8000-0000000000ff"
PREFIXES = {
    "agent": "agent", "block": "block", "tool": "tool", "source": "source", "folder": "source", "file": "file", "message": "message",
    "run": "run", "step": "step", "job": "job", "archive": "archive", "passage": "passage", "memory": "passage", "group": "group",
    "identity": "identity", "conversation": "conv", "provider": "provider", "mcp_server": "mcp_server", "batch": "job",
    "sandbox_config": "sandbox", "env_var": "sandbox-env",
}

HEAD = """# Compatibility with the V1 API

Every operation of the V1 API, as its clients know it, and whether this server has it. This page is written by a test that asks the
server for each. Tier 1 is what every program uses, tier 2 what many use, tier 3 the rest. Operations that the former server itself did not have
(they belonged to its makers' cloud) are left out. What the former server refused always (`PATCH` of messages, voice) is refused here as well.

"""


def operations():
    with open(OPERATIONS) as rows:
        found = [row for row in csv.DictReader(rows, delimiter="\t") if row["in_server"] == "y"]
    return found


def filled(path):
    def value(match):
        name = match.group(1).split(":")[0]
        kind = name.removesuffix("_id")
        return f"{PREFIXES[kind]}-{NOBODY}" if kind in PREFIXES and name.endswith("_id") else "nothing"

    return re.sub(r"\{([^}]+)\}", value, path)


def is_served(http, row):
    """Whether something answers there: a path without a route has an answer of its own, as has another method."""
    answer = http.request(row["method"], filled(row["path"]), headers={"Content-Type": "application/json"})
    if answer.status_code not in (404, 405):
        return True
    return answer.text not in ("", '{"detail":"Not Found"}', '{"detail":"Method Not Allowed"}')


def page(served):
    counts, totals = Counter(), Counter()
    for row, there in served:
        totals[row["tier"]] += 1
        counts[row["tier"]] += there
    text = HEAD + "| tier | there | of |\n|---|---|---|\n"
    text += "".join(f"| {tier} | {counts[tier]} | {totals[tier]} |\n" for tier in sorted(totals))
    text += "\n| operation | tier | there |\n|---|---|---|\n"
    for row, there in served:
        text += f"| `{row['method']} {row['path']}` | {row['tier']} | {'yes' if there else 'no'} |\n"
    return text


def test_the_page_on_compatibility_is_true(engine, own_server):
    if engine != "sqlite":
        pytest.skip("the routes are the same")
    server = own_server()
    with httpx.Client(base_url=server.url, timeout=30) as http:
        served = [(row, is_served(http, row)) for row in operations()]
    text = page(served)
    if os.environ.get("COMPATIBILITY") == "write":
        PAGE.write_text(text)
    assert PAGE.exists() and PAGE.read_text() == text, "COMPATIBILITY=write ./test python writes it anew"
    missing = [row["path"] for row, there in served if row["tier"] == "1" and not there]
    assert not missing, "tier 1 is whole"
