"""Replays exchanges that were recorded with the old server, and compares the answers by their shape.

The fixtures are `tests/fixtures/recorded/*.json`, with long texts and runs of like frames shortened. What a request names
by an id is named by ours: ids are learned from the answers as the replay goes on. Compared are status, content type, keys,
types, and the order of messages and frames; not texts and numbers.
"""

import csv
import fnmatch
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

FOLDER = Path(__file__).parent.parent / "fixtures" / "recorded"

# On one server, in the order in which they were recorded: later ones name what earlier ones made.
TOGETHER = [
    "health", "models", "agents", "core_memory", "blocks", "archival", "archives", "messages", "streaming", "async_runs",
    "message_list", "tools", "groups", "identities", "conversations", "lifecycle", "misc", "errors",
]
PASSWORD = "tour-password"

ID = re.compile(r"\b(?:[a-z_]+(?:-env)?-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|call_[0-9]{10})\b")
ANY_ID = re.compile(r"[a-z_]+-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")

# Objects whose keys are somebody's data.
OPAQUE = {"parameters", "metadata", "json_schema", "args", "data"}

# What the recordings call by names that this server's scripted model has otherwise.
NAMES = {
    "openai-proxy/gpt-4o-mini": "openai-proxy/scripted",
    "openai/text-embedding-3-small": "openai/scripted-embed",
    "[[sleep 6000]]": "[[sleep 1500]]",
}


def exchanges(file):
    return json.loads((FOLDER / f"{file}.json").read_text())


def table(name):
    """The rows of a table of the folder, as dicts."""
    with open(FOLDER / name, newline="") as text:
        return list(csv.DictReader((line for line in text if not line.startswith("#")), delimiter="\t"))


@dataclass(frozen=True)
class Difference:
    exchange: str
    place: str
    recorded: str
    ours: str

    def row(self):
        return "\t".join((self.exchange, self.place, self.recorded, self.ours))


class Listed:
    """The differences that there may be, each with its reason; and what is not compared yet."""

    def __init__(self):
        self.rows = table("differences.tsv")
        # Each pattern of exchanges that are not compared yet, with how many it covers and how many of them would do.
        self.not_yet = {row["exchange"]: [0, 0] for row in table("not-yet.tsv")}
        self.found = set()

    def skips(self, exchange):
        return any(fnmatch.fnmatchcase(exchange, pattern) for pattern in self.not_yet)

    def note_skipped(self, exchange, differences):
        """Counts an exchange that is not compared, and whether it could be."""
        before = set(self.found)
        would_do = all(self.reason(one) for one in differences)
        self.found = before
        for pattern, counted in self.not_yet.items():
            if fnmatch.fnmatchcase(exchange, pattern):
                counted[0] += 1
                counted[1] += would_do

    def outdated(self):
        """Patterns of exchanges that need not be left out any more, or that cover none."""
        return [pattern for pattern, (covered, would_do) in self.not_yet.items() if covered == would_do]

    def reason(self, difference):
        for number, row in enumerate(self.rows):
            pairs = [(difference.exchange, row["exchange"]), (difference.place, row["place"]),
                     (difference.recorded, row["recorded"]), (difference.ours, row["ours"])]
            if all(any(fnmatch.fnmatchcase(value, one.replace("[", "[[]")) for one in pattern.split(" | ")) for value, pattern in pairs):
                self.found.add(number)
                return row["reason"]
        return None

    def gone(self):
        """Rows that no exchange bears out any more."""
        return [row for number, row in enumerate(self.rows) if number not in self.found]


def frames_of(text):
    found = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        data = "\n".join(line[5:].strip() for line in lines if line.startswith("data:"))
        if not data:
            continue
        event = [line[6:].strip() for line in lines if line.startswith("event:")]
        try:
            frame = {"data": json.loads(data)}
        except ValueError:
            frame = {"data": data}
        found.append(frame | ({"event": event[0]} if event else {}))
    return found


def kind(value):
    """What something is called in a sequence."""
    if isinstance(value, dict):
        return value.get("message_type") or value.get("object") or "object"
    return str(value)


def told(frames):
    """The order of frames, fragments of one message taken together."""
    order = []
    for frame in frames:
        data = frame["data"]
        place = (frame.get("event"), kind(data), data.get("id") if isinstance(data, dict) else None)
        if not order or order[-1] != place:
            order.append(place)
    return [f"{event}:{name}" if event else name for event, name, _ in order]


def messages(body):
    """The messages of an answer, if that is what it has."""
    found = body.get("messages") if isinstance(body, dict) else body
    if isinstance(found, list) and found and all(isinstance(one, dict) and one.get("message_type") for one in found):
        return [one["message_type"] for one in found]
    return None


TYPES = {type(None): "null", bool: "bool", int: "number", float: "number", str: "text", list: "list", dict: "object"}


def shape(value, place="", found=None):
    """For each place in a value, the types of what stands there."""
    found = {} if found is None else found
    found.setdefault(place, set()).add(TYPES[type(value)])
    name = place.rsplit(".", 1)[-1]
    if isinstance(value, dict) and name not in OPAQUE:
        for key, inner in value.items():
            key = "<id>" if ANY_ID.match(key) else key
            shape(inner, f"{place}.{key}", found)
    elif isinstance(value, list):
        for inner in value:
            label = (inner.get("message_type") or "") if isinstance(inner, dict) else ""
            shape(inner, f"{place}({label})", found)
    return found


def parent(place):
    cut = max(place.rfind("."), place.rfind("("))
    return place[:cut]


def compare_shapes(recorded, ours):
    recorded, ours = shape(recorded), shape(ours)
    for place in sorted(recorded.keys() | ours.keys()):
        left, right = recorded.get(place), ours.get(place)
        if left is None or right is None:
            # Only keys of objects that both have; what a list holds depends on what was done before.
            other = ours if right is None else recorded
            if place.endswith(")") or "object" not in other.get(parent(place), ()):
                continue
            yield place, "there" if left else "not there", "there" if right else "not there"
        elif not (left - {"null"}) >= (right - {"null"}) and left - {"null"}:
            yield place, "/".join(sorted(left)), "/".join(sorted(right))
        elif "null" not in left and right == {"null"}:
            yield place, "/".join(sorted(left)), "null"


class Replay:
    def __init__(self, http, listed, model):
        self.http, self.listed, self.ids = http, listed, {}
        self.names = NAMES | {"http://127.0.0.1:PORT": f"http://{model.address}"}
        self.replayed, self.equal, self.by_reason, self.skipped = 0, 0, 0, 0
        self.unlisted = []
        self.exported = None

    def ours(self, text):
        for name, mine in self.names.items():
            text = text.replace(name, mine)
        return ID.sub(lambda match: self.ids.get(match.group(), match.group()), text)

    def learn(self, recorded, ours):
        """Which ids of ours stand where the recording has its own."""
        if isinstance(recorded, dict) and isinstance(ours, dict):
            for key in recorded.keys() & ours.keys():
                self.learn(recorded[key], ours[key])
        elif isinstance(recorded, list) and isinstance(ours, list):
            for left, right in zip(recorded, ours):
                self.learn(left, right)
        elif isinstance(recorded, str) and isinstance(ours, str) and ID.fullmatch(recorded):
            if recorded.startswith("call_") or recorded.split("-")[0] == ours.split("-")[0]:
                self.ids.setdefault(recorded, ours)

    def send(self, exchange):
        request = exchange["request"]
        headers = {"user-agent": "curl/8"}
        if exchange["via"] == "sdk":
            headers = {"user-agent": "Letta/Python 1.12.1", "x-stainless-package-version": "1.12.1"}
        headers |= request.get("headers", {})
        path = self.ours(request["path"])
        options = {"params": json.loads(self.ours(json.dumps(request.get("query"))))}
        body = request.get("body")
        if isinstance(body, str):
            options["content"], headers["content-type"] = body, "application/json"
        elif body is not None:
            options["json"] = json.loads(self.ours(json.dumps(body)))
        if "form" in request:
            fields = dict(field.split("=", 1) for field in request["form"])
            fields.pop("file")
            content = b'{"nothing": "of an agent"}' if "broken" in exchange["name"] else self.exported
            options |= {"files": {"file": ("a.af", content, "application/json")}, "data": fields}
        try:
            return self.http.request(request["method"], path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise AssertionError(f"{exchange['name']}: {error!r}") from error

    def answer(self, exchange):
        """Ours; what was over when it was asked for in the recording is waited for."""
        recorded = exchange["response"].get("body")
        is_over = isinstance(recorded, dict) and recorded.get("status") in ("completed", "cancelled")
        deadline = time.monotonic() + 10
        while True:
            ours = self.send(exchange)
            if not (is_over and ours.status_code == 200 and ours.json().get("status") in ("created", "running")):
                return ours
            assert time.monotonic() < deadline, exchange["name"]
            time.sleep(0.02)

    def differences(self, exchange, answer):
        recorded = exchange["response"]
        if recorded["status"] != answer.status_code:
            yield "status", str(recorded["status"]), str(answer.status_code)
            return
        left = recorded.get("headers", {}).get("content-type", "").split(";")[0]
        right = answer.headers.get("content-type", "").split(";")[0]
        if left and left != right:
            yield "content-type", left, right
            return
        if "frames" in recorded:
            yield from self.frame_differences(recorded["frames"], frames_of(answer.text))
            return
        if right != "application/json":
            return
        ours = answer.json()
        self.learn(recorded["body"], ours)
        orders = messages(recorded["body"]), messages(ours)
        if all(orders) and orders[0] != orders[1]:
            yield "order", ">".join(orders[0]), ">".join(orders[1])
        yield from compare_shapes(recorded["body"], ours)

    def frame_differences(self, recorded, ours):
        orders = told(recorded), told(ours)
        if orders[0] != orders[1]:
            yield "order", ">".join(orders[0]), ">".join(orders[1])
        named = [[frame["data"] for frame in frames if isinstance(frame["data"], dict)] for frames in (recorded, ours)]
        for name in sorted({kind(one) for one in named[0]}):
            both = [[one for one in frames if kind(one) == name] for frames in named]
            self.learn(both[0][0], both[1][0] if both[1] else None)
            yield from compare_shapes(*both)

    def run(self, file):
        for exchange in exchanges(file):
            name = f"{file}/{exchange['name']}"
            answer = self.answer(exchange)
            if name == "lifecycle/export":
                self.exported = answer.content
            found = [Difference(name, *one) for one in self.differences(exchange, answer)]
            if self.listed.skips(name):
                self.skipped += 1
                self.listed.note_skipped(name, found)
                continue
            self.replayed += 1
            unlisted = [one for one in found if self.listed.reason(one) is None]
            self.unlisted += unlisted
            self.equal += not found
            self.by_reason += bool(found) and not unlisted

    def summary(self):
        return (
            f"{self.replayed} exchanges replayed: {self.equal} equal, {self.by_reason} different by a listed reason, "
            f"{self.replayed - self.equal - self.by_reason} otherwise; {self.skipped} not compared yet"
        )
