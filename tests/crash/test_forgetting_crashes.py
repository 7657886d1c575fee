"""The process dies while it forgets somebody: either nothing has happened, or all of it happens."""

import pytest

from harness import Gone, eventually


def kept(server):
    files = (path for path in (server.folder / "data").rglob("*") if path.is_file())
    return b"".join(path.read_bytes() for path in files)


@pytest.mark.parametrize("point", ["forgetting:1", "forgotten:1", "erased:1"])
def test_forgetting_survives_a_crash_at(point, server):
    server.start()
    agent = server.make_agent()
    word = "canary-of-ada"
    for user, text in (("ada", word), ("bob", "canary-of-bob")):
        body = {"messages": [{"role": "user", "content": text}], "user_id": user}
        assert server.request("POST", f"/v1/agents/{agent}/messages", body)[0] == 200
    server.kill()
    server.start(crash=point)
    try:
        server.request("DELETE", f"/v1/agents/{agent}/users/ada")
    except Gone:
        pass
    eventually(lambda: not server.is_alive(), 10, f"the process dies at {point}")
    server.kill()
    server.start()
    status, _ = server.request("GET", f"/v1/agents/{agent}/users/ada")
    assert status == (200 if point == "forgetting:1" else 404), "nothing has happened, or all"
    if status == 200:
        assert server.request("DELETE", f"/v1/agents/{agent}/users/ada")[0] == 200
    if server.engine == "sqlite":
        eventually(lambda: word.encode() not in kept(server), 20, "the erasure is finished")
        assert b"canary-of-bob" in kept(server)
    people = server.request("GET", f"/v1/agents/{agent}/users")[1]
    assert [person["user_id"] for person in people] == ["bob"]
