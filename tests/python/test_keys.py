"""Keys of the API, and who may come to which route with which credential."""

import contextlib
import re
import sqlite3
import uuid

import httpx
import pytest
from programs import MODEL, eventually

PASSWORD = "open sesame"

# The least credential that each route asks for; with a star, a user token opens it, too, for what is the person's own.
ROUTES = """
admin  /v1/admin/orgs                                             GET POST PATCH DELETE
admin  /v1/admin/users                                            GET POST PUT DELETE
admin  /v1/api-keys                                               GET POST
admin  /v1/api-keys/{}                                            DELETE
admin  /v1/providers                                              GET POST
admin  /v1/providers/check                                        POST
admin  /v1/providers/{}                                           GET PATCH DELETE
admin  /v1/providers/{}/check                                     POST
admin  /v1/providers/{}/refresh                                   PATCH
admin  /v1/sandbox-config                                         GET POST
admin  /v1/sandbox-config/e2b/default                             POST
admin  /v1/sandbox-config/environment-variable/{}                 PATCH DELETE
admin  /v1/sandbox-config/local                                   POST
admin  /v1/sandbox-config/local/default                           POST
admin  /v1/sandbox-config/local/recreate-venv                     POST
admin  /v1/sandbox-config/{}                                      PATCH DELETE
admin  /v1/sandbox-config/{}/environment-variable                 GET POST
read   /                                                          GET
read   /openapi.json                                              GET
read   /v1/openapi.json                                           GET
read   /metrics                                                   GET
read   /v1/agents                                                 GET
read   /v1/agents/count                                           GET
read   /v1/agents/messages/search                                 POST
read   /v1/agents/{}                                              GET
read*  /v1/limits                                                 GET
read*  /v1/agents/{}/archival-memory                              GET
read*  /v1/agents/{}/archival-memory/search                       GET
read   /v1/agents/{}/context                                      GET
read   /v1/agents/{}/core-memory                                  GET
read   /v1/agents/{}/core-memory/blocks                           GET
read   /v1/agents/{}/core-memory/blocks/{}                        GET
read   /v1/agents/{}/export                                       GET
read   /v1/agents/{}/groups                                       GET
read*  /v1/agents/{}/memory/search                                POST
read*  /v1/agents/{}/messages                                     GET
read   /v1/agents/{}/tools                                        GET
read   /v1/agents/{}/users                                        GET
read*  /v1/agents/{}/users/{}                                     GET
read   /v1/archives                                               GET
read   /v1/archives/{}                                            GET
read   /v1/archives/{}/agents                                     GET
read   /v1/auth                                                   POST
read   /v1/blocks                                                 GET
read   /v1/blocks/count                                           GET
read   /v1/blocks/{}                                              GET
read   /v1/blocks/{}/agents                                       GET
read   /v1/blocks/{}/history                                      GET
read   /v1/conversations                                          GET
read*  /v1/conversations/{}                                       GET
read*  /v1/conversations/{}/messages                              GET
read   /v1/embeddings/total_storage_size                          GET
read   /v1/groups                                                 GET
read   /v1/groups/count                                           GET
read   /v1/groups/{}                                              GET
read   /v1/groups/{}/messages                                     GET
read   /v1/identities                                             GET
read   /v1/identities/count                                       GET
read   /v1/identities/{}                                          GET
read   /v1/identities/{}/agents                                   GET
read   /v1/identities/{}/blocks                                   GET
read   /v1/jobs                                                   GET
read   /v1/jobs/active                                            GET
read   /v1/jobs/{}                                                GET
read   /v1/messages                                               GET
read   /v1/messages/batches                                       GET
read   /v1/messages/batches/{}                                    GET
read   /v1/messages/batches/{}/messages                           GET
read   /v1/messages/search                                        POST
read   /v1/messages/{}                                            GET
read   /v1/models                                                 GET
read   /v1/models/embedding                                       GET
read   /v1/models/unreachable                                     GET
read   /v1/models/{}                                              GET
read   /v1/passages/search                                        POST
read   /v1/_internal_runs                                         GET
read   /v1/runs                                                   GET
read   /v1/runs/active                                            GET
read*  /v1/runs/{}                                                GET
read*  /v1/runs/{}/memory                                         GET
read*  /v1/runs/{}/messages                                       GET
read*  /v1/runs/{}/metrics                                        GET
read*  /v1/runs/{}/steps                                          GET
read*  /v1/runs/{}/stream                                         POST
read   /v1/runs/{}/trace                                          GET
read*  /v1/runs/{}/usage                                          GET
read   /v1/steps                                                  GET
read*  /v1/steps/{}                                               GET
read*  /v1/steps/{}/messages                                      GET
read*  /v1/steps/{}/metrics                                       GET
read   /v1/steps/{}/trace                                         GET
read   /v1/tags                                                   GET
read   /v1/telemetry/{}                                           GET
read   /v1/tools                                                  GET
read   /v1/tools/count                                            GET
read   /v1/tools/search                                           POST
read   /v1/tools/{}                                               GET
admin  /v1/limits                                                 PUT
read   /v1/plans                                                  GET
read   /v1/usage                                                  GET
agent  /v1/agents                                                 POST
agent  /v1/agents/import                                          POST
agent  /v1/agents/{}                                              PATCH DELETE
agent* /v1/agents/{}/archival-memory                              POST
agent  /v1/agents/{}/archival-memory/{}                           DELETE
agent  /v1/agents/{}/archives/attach/{}                           PATCH
agent  /v1/agents/{}/archives/detach/{}                           PATCH
agent  /v1/agents/{}/core-memory/blocks/attach/{}                 PATCH
agent  /v1/agents/{}/core-memory/blocks/detach/{}                 PATCH
agent  /v1/agents/{}/core-memory/blocks/{}                        PATCH
agent  /v1/agents/{}/export                                       POST
agent  /v1/agents/{}/forget                                       POST
agent  /v1/agents/{}/generate                                     POST
agent  /v1/agents/{}/identities/attach/{}                         PATCH
agent  /v1/agents/{}/identities/detach/{}                         PATCH
agent* /v1/agents/{}/memory                                       POST
agent* /v1/agents/{}/messages                                     POST
agent* /v1/agents/{}/messages/async                               POST
agent* /v1/agents/{}/messages/cancel                              POST
agent  /v1/agents/{}/messages/capture                             POST
agent  /v1/agents/{}/messages/preview-raw-payload                 POST
agent* /v1/agents/{}/messages/stream                              POST
agent  /v1/agents/{}/messages/{}                                  PATCH
agent  /v1/agents/{}/recompile                                    POST
agent  /v1/agents/{}/reset-messages                               PATCH
agent  /v1/agents/{}/summarize                                    POST
agent  /v1/agents/{}/system-prompt/recompile                      POST
agent  /v1/agents/{}/tools/approval/{}                            PATCH
agent  /v1/agents/{}/tools/attach/{}                              PATCH
agent  /v1/agents/{}/tools/detach/{}                              PATCH
agent  /v1/agents/{}/tools/{}/run                                 POST
agent  /v1/agents/{}/users/{}                                     DELETE
agent  /v1/agents/{}/users/{}/forget                              POST
agent  /v1/archives                                               POST
agent  /v1/archives/{}                                            PATCH DELETE
agent  /v1/archives/{}/passages                                   POST
agent  /v1/archives/{}/passages/batch                             POST
agent  /v1/archives/{}/passages/{}                                DELETE
agent  /v1/blocks                                                 POST
agent  /v1/blocks/{}                                              PATCH DELETE
agent  /v1/blocks/{}/identities/attach/{}                         PATCH
agent  /v1/blocks/{}/identities/detach/{}                         PATCH
agent  /v1/blocks/{}/restore                                      POST
agent* /v1/chat/completions                                       POST
agent  /v1/conversations                                          POST
agent  /v1/conversations/{}                                       PATCH DELETE
agent* /v1/conversations/{}/cancel                                POST
agent  /v1/conversations/{}/compact                               POST
agent  /v1/conversations/{}/fork                                  POST
agent* /v1/conversations/{}/messages                              POST
agent  /v1/conversations/{}/messages/preview-raw-payload          POST
agent  /v1/conversations/{}/recompile                             POST
agent* /v1/conversations/{}/stream                                POST
agent  /v1/end-users/{}                                           DELETE
agent  /v1/groups                                                 POST
agent  /v1/groups/{}                                              PATCH DELETE
agent  /v1/groups/{}/blocks/attach/{}                             PATCH
agent  /v1/groups/{}/blocks/detach/{}                             PATCH
agent  /v1/groups/{}/messages                                     POST
agent  /v1/groups/{}/messages/{}                                  PATCH
agent  /v1/groups/{}/reset-messages                               PATCH
agent  /v1/identities                                             POST PUT
agent  /v1/identities/{}                                          PATCH DELETE
agent  /v1/identities/{}/properties                               PUT
agent  /v1/jobs/{}                                                DELETE
agent  /v1/jobs/{}/cancel                                         PATCH
agent  /v1/messages/batches                                       POST
agent  /v1/messages/batches/{}/cancel                             PATCH
agent* /v1/responses                                              POST
agent  /v1/runs/{}                                                DELETE
agent  /v1/steps/{}/feedback                                      PATCH
agent  /v1/steps/{}/transaction/{}                                PATCH
agent  /v1/tools                                                  POST PUT
agent  /v1/tools/add-base-tools                                   POST
agent  /v1/tools/generate-schema                                  POST
agent  /v1/tools/run                                              POST
agent  /v1/tools/{}                                               PATCH DELETE
agent  /v1/user-tokens                                            POST DELETE
agent  /v1/voice-beta/{}/chat/completions                         POST
open   /v1/health                                                 GET
open   /v1/ready                                                  GET
"""

# Which scopes of keys open a route of that kind.
OPENED_BY = {"read": {"read", "agent", "admin"}, "agent": {"agent", "admin"}, "admin": {"admin"}}


def table():
    """The least credential, and whether persons may come, by method and path."""
    rules = {}
    for line in ROUTES.strip().splitlines():
        least, path, *methods = line.split()
        for method in methods:
            assert (method, path) not in rules, line
            rules[method, path] = (least.rstrip("*"), least.endswith("*"))
    return rules


def existing(http):
    """The routes that exist, with the names of their parameters."""
    paths = http.get("/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, item in paths.items() for method in item if method != "parameters"]


@pytest.fixture
def locked(own_server):
    """A server with a password."""
    return own_server(LETTA_SERVER_SECURE="true", LETTA_SERVER_PASSWORD=PASSWORD)


def caller(server, credential=None):
    headers = {"authorization": f"Bearer {credential}"} if credential else {}
    return httpx.Client(base_url=server.url, timeout=60, headers=headers)


@pytest.fixture
def admin(locked):
    with caller(locked, PASSWORD) as http:
        yield http


def make_key(http, scope, name="k"):
    made = http.post("/v1/api-keys", json={"name": name, "scope": scope})
    assert made.status_code == 201, made.text
    return made.json()


def make_token(http, agent, user="anna", **more):
    made = http.post("/v1/user-tokens", json={"agent_id": agent, "user_id": user, **more})
    assert made.status_code == 201, made.text
    return made.json()["token"]


def make_agent(http, **more):
    made = http.post("/v1/agents", json={"model": MODEL, **more})
    assert made.status_code == 200, made.text
    return made.json()["id"]


def expire_tokens(server):
    """Lets the time of all tokens be over."""
    sql = "UPDATE user_tokens SET expires_at = 1"
    if server.engine == "postgres":
        server.query(sql)
        return
    with contextlib.closing(sqlite3.connect(server.folder / "data" / "mnemic.db", timeout=30)) as database:
        database.execute(sql)
        database.commit()


def filled(path, agent, user):
    """A path with ids that are nobody's, but the agent's and the person's own."""
    values = {"agent_id": agent, "user_id": user, "conversation_id": f"conv-{uuid.uuid4()}"}
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1]) or str(uuid.uuid4()), path)


def test_every_route_asks_for_the_credential_that_the_table_says(locked, admin):
    rules, routes = table(), existing(admin)
    unknown = [route for route in routes if (route[0], re.sub(r"\{\w+\}", "{}", route[1])) not in rules]
    assert not unknown, f"say in the table who may come: {unknown}"
    assert len(routes) > 170
    agent, other = make_agent(admin), make_agent(admin)
    keys = {scope: make_key(admin, scope)["key"] for scope in ("read", "agent", "admin")}
    gone = make_key(admin, "admin")
    assert admin.delete(f"/v1/api-keys/{gone['id']}").status_code == 200
    ended = make_token(admin, agent)
    assert admin.delete("/v1/user-tokens", params={"user_id": "anna"}).json() == {"ended": 1}
    late = make_token(admin, agent)
    expire_tokens(locked)
    token, foreign = make_token(admin, agent), make_token(admin, other)
    strangers = [None, "wrong", PASSWORD + "x", "mnk_wrong", "mnu_wrong", gone["key"], ended, late]
    clients = {credential: caller(locked, credential) for credential in [*strangers, *keys.values(), token, foreign]}
    for method, path in routes:
        least, own = rules[method, re.sub(r"\{\w+\}", "{}", path)]
        url, what = filled(path, agent, "anna"), f"{method} {path}"
        if least == "open":
            assert all(http.request(method, url).status_code == 200 for http in clients.values()), what
            continue
        for stranger in strangers:
            answer = clients[stranger].request(method, url)
            assert answer.status_code == 401, f"{what} with {stranger}"
            assert "Unauthorized" in answer.text
        nobodys = filled(path, f"agent-{uuid.uuid4()}", "nobody")
        for scope, key in keys.items():
            # A request without a body, or for what is not there, is refused as such: but not for who sends it.
            status = clients[key].request(method, nobodys).status_code
            assert (status not in (401, 403)) == (scope in OPENED_BY[least]) or what == "POST /v1/auth", f"{what} with {scope}: {status}"
        # The person's own: what is not refused for who asks. Threads, runs and steps that are not there are nobody's.
        mine = clients[token].request(method, url)
        is_reachable = own and not re.search("conversation_id|run_id|step_id|cancel", path)
        assert (mine.status_code != 403) == is_reachable, f"{what} with a token: {mine.status_code} {mine.text}"
        if "{agent_id}" in path or not own:
            assert clients[foreign].request(method, url).status_code == 403, what
    for http in clients.values():
        http.close()


def test_a_key_is_shown_once_and_never_again(locked, admin):
    made = make_key(admin, "agent", "backend")
    secret = made.pop("key")
    assert made["hint"] == secret[-4:]
    listed = admin.get("/v1/api-keys")
    assert listed.json() == [made]
    assert secret not in listed.text
    for path in locked.folder.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    assert secret not in locked.log(100_000)


def test_a_revoked_key_opens_nothing_at_once_nor_do_the_tokens_made_with_it(locked, admin):
    key = make_key(admin, "agent")
    with caller(locked, key["key"]) as http:
        agent = make_agent(http)
        token = make_token(http, agent)
        with caller(locked, token) as person:
            assert person.get(f"/v1/agents/{agent}/messages").status_code == 200
            revoked = admin.delete(f"/v1/api-keys/{key['id']}")
            assert revoked.json()["revoked_at"]
            assert http.get("/v1/agents").status_code == 401
            assert person.get(f"/v1/agents/{agent}/messages").status_code == 401
    assert [row["id"] for row in admin.get("/v1/api-keys").json()] == [key["id"]], "what it did stays told"


def test_the_last_use_of_a_key_is_shown(locked, admin):
    key = make_key(admin, "read")
    assert key["last_used_at"] is None

    def used():
        return admin.get("/v1/api-keys").json()[0]["last_used_at"]

    assert used() is None
    with caller(locked, key["key"]) as http:
        assert http.get("/v1/agents").status_code == 200
        first = eventually(used, "the use is noted")
        # Within a minute it is not written again.
        assert http.get("/v1/agents").status_code == 200
    assert used() == first


def test_an_open_server_closes_with_its_first_key(own_server):
    server = own_server()
    with caller(server) as nobody, caller(server, "sk-none") as habit:
        assert nobody.get("/v1/agents").status_code == habit.get("/v1/agents").status_code == 200
        refused = nobody.post("/v1/api-keys", json={"name": "k", "scope": "agent"})
        assert refused.status_code == 409
        assert "scope admin" in refused.json()["detail"]
        first = make_key(nobody, "admin")
        assert nobody.get("/v1/agents").status_code == habit.get("/v1/agents").status_code == 401
        assert nobody.get("/v1/health").status_code == 200
    with caller(server, first["key"]) as admin:
        assert admin.get("/v1/agents").status_code == 200
        last = admin.delete(f"/v1/api-keys/{first['id']}")
        assert last.status_code == 409
        assert "last key" in last.json()["detail"]
        second = make_key(admin, "admin")
        assert admin.delete(f"/v1/api-keys/{first['id']}").status_code == 200
    server.kill()
    server.start()
    with caller(server) as nobody, caller(server, second["key"]) as admin:
        assert nobody.get("/v1/agents").status_code == 401
        assert admin.get("/v1/agents").status_code == 200


def test_keys_stay_within_their_organization(locked, admin):
    org = admin.post("/v1/admin/orgs", json={"name": "Other"}).json()["id"]
    theirs = admin.post("/v1/admin/users", json={"name": "Bea", "organization_id": org}).json()["id"]
    ours = make_key(admin, "agent")
    made = admin.post("/v1/api-keys", json={"name": "b", "scope": "agent"}, headers={"user_id": theirs}).json()
    assert made["organization_id"] == org
    assert [row["id"] for row in admin.get("/v1/api-keys").json()] == [ours["id"]]
    agent = make_agent(admin)
    with caller(locked, made["key"]) as http:
        assert http.get("/v1/agents").json() == []
        assert http.get(f"/v1/agents/{agent}").status_code == 404
        assert http.post("/v1/user-tokens", json={"agent_id": agent, "user_id": "a"}).status_code == 404
    with caller(locked, ours["key"]) as http:
        assert http.get("/v1/agents", headers={"user_id": theirs}).status_code == 403
        assert http.get(f"/v1/agents/{agent}").status_code == 200
    # A user that is deleted acts no more, with no key.
    assert admin.delete("/v1/admin/users", params={"user_id": theirs}).status_code == 200
    with caller(locked, made["key"]) as http:
        assert http.get("/v1/agents").status_code == 401


def test_wrong_requests_for_keys_say_what_is_wrong(admin):
    for body in ({}, {"name": "", "scope": "read"}, {"name": "k", "scope": "root"}, {"name": "k"}, {"name": "k", "scope": "read", "x": 1}):
        assert admin.post("/v1/api-keys", json=body).status_code == 422, body
    assert admin.delete(f"/v1/api-keys/key-{uuid.uuid4()}").status_code == 404
    assert admin.delete("/v1/api-keys/nope").status_code == 422


def test_the_official_client_comes_in_with_a_key(locked, admin, own_client):
    key = make_key(admin, "agent")
    sdk = own_client(locked, api_key=key["key"])
    agent = sdk.agents.create(model=MODEL)
    assert sdk.agents.messages.create(agent.id, input="Hello").messages
    sdk = own_client(locked, api_key=make_key(admin, "read")["key"])
    assert [one.id for one in sdk.agents.list()] == [agent.id]
    import letta_client

    with pytest.raises(letta_client.PermissionDeniedError):
        sdk.agents.messages.create(agent.id, input="Hello")
