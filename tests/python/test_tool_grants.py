"""What is opened for tools that people write, and by whom."""

import json

import httpx

from programs import MODEL


def test_what_is_granted_is_opened_as_far_as_the_administrator_lets_it(own_server, tmp_path):
    shared, closed = tmp_path / "shared", tmp_path / "closed"
    for folder in (shared, closed):
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        (folder / "in.txt").write_text("words")
    tmp_path.chmod(0o755)
    server = own_server(MNEMIC_TOOL_FOLDERS=str(shared), MNEMIC_TOOL_VARIABLES="CITY", CITY="Bath", OTHER="x")
    with httpx.Client(base_url=server.url, timeout=60) as http:

        def refused(grants):
            body = {"source_code": read, "grants": grants}
            answer = http.post("/v1/tools/", json=body)
            assert answer.status_code == 400, answer.text
            return answer.json()["detail"]

        def run(source, grants):
            body = {"source_code": source, "grants": grants}
            tool = http.post("/v1/tools/", json=body)
            assert tool.status_code == 200, tool.text
            assert tool.json()["grants"]["variables"] == grants.get("variables", [])
            agent = http.post("/v1/agents/", json={"model": MODEL, "tool_ids": [tool.json()["id"]]}).json()
            name = tool.json()["name"]
            return http.post(f"/v1/agents/{agent['id']}/tools/{name}/run", json={"args": {}}).json()

        read = f"def f():\n    '''d'''\n    return open('{shared}/in.txt').read()"
        write = f"def f():\n    '''d'''\n    open('{shared}/out.txt', 'w').write('x')\n    return 'written'"
        folder = {"path": str(shared)}
        assert run(read, {"folders": [folder]})["func_return"] == "words"
        denied = run(read, {})
        assert denied["status"] == "error" and f"no grant for the folder {shared}" in denied["func_return"]
        assert run(write, {"folders": [folder]})["status"] == "error" and not (shared / "out.txt").exists()
        assert run(write, {"folders": [folder | {"access": "write"}]})["func_return"] == "written"
        assert (shared / "out.txt").read_text() == "x"
        for beyond in (closed, f"{shared}/../closed", tmp_path / "missing", "shared"):
            assert "tool_folders" in refused({"folders": [{"path": str(beyond)}]})
        later = shared / "later"
        assert "can't be opened" in run(read, {"folders": [{"path": str(later)}]})["func_return"]
        later.mkdir()
        assert run(read, {"folders": [{"path": str(later)}]})["status"] == "error", "it is opened, and not the one above"
        city = "import os\ndef f():\n    '''d'''\n    return os.environ.get('CITY')"
        assert run(city, {"variables": ["CITY"]})["func_return"] == "Bath"
        assert run(city, {})["func_return"] is None
        beyond = refused({"variables": ["OTHER"]})
        assert "OTHER" in beyond and "tool_variables" in beyond
        kept = http.post("/v1/tools/", json={"source_code": city, "grants": {"variables": ["CITY"]}}).json()
        agent = http.post("/v1/agents/", json={"model": MODEL, "tool_ids": [kept["id"]]}).json()
    # What was granted once is not there for ever.
    server.terminate()
    server.environment["MNEMIC_TOOL_VARIABLES"] = ""
    server.start()
    with httpx.Client(base_url=server.url, timeout=60) as http:
        answer = http.post(f"/v1/agents/{agent['id']}/tools/{kept['name']}/run", json={"args": {}}).json()
        assert answer["status"] == "error" and "tool_variables" in answer["func_return"], answer


def test_a_host_that_was_granted_is_reached_and_no_other(own_server, model):
    """The scripted model's address stands for a service of the web."""
    source = (
        "import urllib.request\ndef f(path: str):\n    \"\"\"d\n\n    Args:\n        path: p\n    \"\"\"\n"
        "    return urllib.request.urlopen(path, timeout=20).read().decode()"
    )
    server = own_server(MNEMIC_ALLOW_PRIVATE_URLS="true", MNEMIC_TOOL_HOSTS=f"{model.address},*.example.com:8443")
    strict = own_server()
    for one, hosts, told in (
        (server, [model.address], "scripted"),
        (server, [], "no grant for the network"),
        (server, ["api.example.com:8443"], f"no grant for the host {model.address}"),
        (strict, [model.address], "no public address"),
    ):
        with httpx.Client(base_url=one.url, timeout=60) as http:
            for beyond in (["example.org"], ["http://a b"]) if one is server else ():
                refused = http.post("/v1/tools/", json={"source_code": source, "grants": {"hosts": beyond}})
                assert refused.status_code == 400 and beyond[0] in refused.text, refused.text
            made = http.post("/v1/tools/", json={"source_code": source, "grants": {"hosts": hosts}}).json()
            agent = http.post("/v1/agents/", json={"model": MODEL, "tool_ids": [made["id"]]}).json()
            body = {"args": {"path": f"http://{model.address}/v1/models"}}
            answer = http.post(f"/v1/agents/{agent['id']}/tools/f/run", json=body).json()
            text = json.dumps(answer)
            assert told in text and (answer["status"] == "success") == (told == "scripted"), (hosts, answer)


def test_a_tool_can_not_grant_itself_or_others_anything(client, http, asks, token):
    _, ask = asks
    source = f"def g_{token}():\n    '''d'''\n    return 1"
    granted = {"hosts": ["example.com"]}
    status, text = ask("PUT", "/v1/tools/", {"source_code": source, "grants": granted})
    assert status == 400 and "can't grant" in text
    assert client.tools.list(name=f"g_{token}").items == []
    status, _ = ask("POST", "/v1/tools/", {"source_code": source})
    assert status == 200, "a tool without grants is made"
    own = http.post("/v1/tools/", json={"source_code": source, "grants": granted}).json()
    for method, path, body in (
        ("POST", "/v1/tools/", {"source_code": source + " + 1"}),
        ("PATCH", f"/v1/tools/{own['id']}", {"source_code": source + " + 1"}),
        ("PATCH", f"/v1/tools/{own['id']}", {"grants": {"hosts": ["example.org"]}}),
    ):
        assert ask(method, path, body)[0] == 400, (method, body)
    kept = http.get(f"/v1/tools/{own['id']}").json()
    assert kept["source_code"] == source and kept["grants"]["hosts"] == ["example.com"]


def test_the_servers_own_folders_are_never_granted(own_server, tmp_path):
    server = own_server(MNEMIC_TOOL_FOLDERS="/")
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for path in (server.folder, server.folder / "data", server.folder / "data" / "tool-scratch"):
            body = {"source_code": "def f():\n    '''d'''\n    return 1", "grants": {"folders": [{"path": str(path)}]}}
            answer = http.post("/v1/tools/", json=body)
            assert answer.status_code == 400 and "own data" in answer.text, answer.text
