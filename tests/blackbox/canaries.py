"""Words that are looked for in everything that a server keeps."""

import base64
import json
import os
import re


def forms(word):
    """The ways in which a word may stand in bytes."""
    text = word.encode()
    yield text
    yield json.dumps(word)[1:-1].encode()
    for encoding in ("utf-16-le", "utf-16-be"):
        yield word.encode(encoding)
    # Base64 of a text that holds it depends on where it begins: what is the same for each of the three places.
    for before in range(3):
        coded = base64.b64encode(b"x" * before + text).decode()
        yield coded[(0, 2, 3)[before] : len(coded) - 4].encode()


def kept(server):
    """All bytes that a server keeps, by where they are."""
    found = {}
    for folder, _, names in os.walk(server.folder):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[path] = file.read()
    if server.engine == "postgres":
        # Rows only: what PostgreSQL does with their bytes is its own.
        named_tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'mnemic'"
        for (table,) in server.query(named_tables):
            rows = "\n".join("\t".join(row) for row in server.query(f"SELECT row_to_json(t) FROM {table} t"))
            # Bytes are shown in hexadecimal digits, and quotes once more.
            found[f"table {table}"] = rows.encode() + rows.replace('\\\\', "\\").encode()
            found[f"bytes of {table}"] = b"".join(bytes.fromhex(part) for part in hexadecimal(rows))
    return found


def hexadecimal(text):
    return [part for part in re.findall(r"\\x([0-9a-f]+)", text) if len(part) % 2 == 0]


def places(found, word):
    """Where a word stands in what `kept` found, in whatever form."""
    wanted = set(forms(word))
    return sorted(f"{place}: {form!r} x{data.count(form)}" for place, data in found.items() for form in wanted if form in data)
