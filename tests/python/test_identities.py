"""Identities: whose agents and blocks they are."""

import letta_client
import pytest

from programs import MODEL

UNKNOWN = "identity-00000000-0000-4000-8000-0000000000ff"
ORGANIZATION = "org-00000000-0000-4000-8000-000000000000"


@pytest.fixture
def make(http, token):
    """Makes identities with keys of this test's own."""

    def make(key="ada", **fields):
        body = {"identifier_key": f"{token}-{key}", "name": "Ada", "identity_type": "user", **fields}
        answer = http.post("/v1/identities/", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return make


@pytest.fixture
def ada(make):
    return make(properties=[{"key": "tier", "value": "gold", "type": "string"}])


def ids(items):
    return [item["id"] for item in items]


def test_an_identity_has_the_recorded_shape(ada, http, token):
    assert ada == {
        "id": ada["id"],
        "identifier_key": f"{token}-ada",
        "name": "Ada",
        "identity_type": "user",
        "project_id": None,
        "agent_ids": [],
        "block_ids": [],
        "organization_id": ORGANIZATION,
        "properties": [{"key": "tier", "value": "gold", "type": "string"}],
    }
    assert http.get(f"/v1/identities/{ada['id']}").json() == ada


def test_a_key_exists_once_in_a_project(ada, make, http, token):
    body = {"identifier_key": f"{token}-ada", "name": "Ada", "identity_type": "user"}
    again = http.post("/v1/identities/", json=body)
    assert again.status_code == 409
    assert f"{token}-ada" in again.json()["detail"]
    other = http.post("/v1/identities/", json=body, headers={"X-Project-Id": "project-1"}).json()
    assert (other["project_id"], other["id"] != ada["id"]) == ("project-1", True)
    assert make(project_id="project-2")["project_id"] == "project-2"
    ben = make("ben")
    taken = http.patch(f"/v1/identities/{ben['id']}", json={"identifier_key": f"{token}-ada"})
    assert taken.status_code == 409


def test_put_makes_an_identity_or_changes_the_one_with_its_key(ada, http, token):
    body = {"identifier_key": f"{token}-ada", "name": "Ada L", "identity_type": "other"}
    changed = http.put("/v1/identities/", json=body).json()
    assert changed == {**ada, "name": "Ada L", "identity_type": "other"}, "what is left out stays"
    properties = [{"key": "age", "value": 36, "type": "number"}]
    changed = http.put("/v1/identities/", json={**body, "properties": properties}).json()
    assert (changed["id"], changed["properties"]) == (ada["id"], properties)
    made = http.put("/v1/identities/", json={**body, "identifier_key": f"{token}-new"}).json()
    assert made["id"] != ada["id"]


def test_a_change_touches_only_what_it_names(ada, http):
    changed = http.patch(f"/v1/identities/{ada['id']}", json={"name": "Ada B", "properties": None}).json()
    assert changed == {**ada, "name": "Ada B"}
    changed = http.patch(f"/v1/identities/{ada['id']}", json={"properties": []}).json()
    assert changed["properties"] == []


def test_properties_are_set_by_key_and_keep_their_types(ada, http):
    given = [
        {"key": "tier", "value": "blue", "type": "string"},
        {"key": "age", "value": 36, "type": "number"},
        {"key": "height", "value": 1.5, "type": "number"},
        {"key": "member", "value": True, "type": "boolean"},
        {"key": "boat", "value": {"name": "Ida", "sails": [1, 2]}, "type": "json"},
    ]
    url = f"/v1/identities/{ada['id']}/properties"
    assert http.put(url, json=given[1:]).status_code == 200
    answer = http.put(url, json=given[:1]).json()
    assert answer["properties"] == given
    assert http.get(f"/v1/identities/{ada['id']}").json()["properties"] == given


@pytest.mark.parametrize(
    "wrong",
    [
        {"nickname": "A"},
        {"identity_type": "robot"},
        {"name": None},
        {"agent_ids": ["agent-1"]},
        {"properties": [{"key": "a", "value": "b", "type": "text"}]},
        {"properties": [{"key": "a", "value": "b", "type": "string", "note": 1}]},
        {"properties": [{"key": "a", "value": ["b"], "type": "json"}]},
    ],
)
def test_unknown_fields_and_wrong_values_are_422(ada, http, token, wrong):
    body = {"identifier_key": f"{token}-eve", "name": "Eve", "identity_type": "user", **wrong}
    for answer in (http.post("/v1/identities/", json=body), http.put("/v1/identities/", json=body)):
        assert answer.status_code == 422, answer.text
    assert http.get("/v1/identities/", params={"identifier_key": f"{token}-eve"}).json() == []
    if wrong.get("name", 0) is not None:
        assert http.patch(f"/v1/identities/{ada['id']}", json=wrong).status_code == 422


@pytest.mark.parametrize("key", ["", "   ", "k" * 256])
def test_a_key_that_nothing_can_be_found_by_is_refused(http, key):
    body = {"identifier_key": key, "name": "Eve", "identity_type": "user"}
    assert http.post("/v1/identities/", json=body).status_code == 400


def test_the_list_is_newest_first_complete_and_filtered(make, http, token):
    made = [make(str(n), name=f"{token} {n % 2}", project_id=token) for n in range(5)]
    wanted = ids(made)[::-1]
    for limit in (1, 2, 50):
        read, after = [], None
        while True:
            query = {"project_id": token, "limit": limit, **({"after": after} if after else {})}
            page = http.get("/v1/identities/", params=query).json()
            if not page:
                break
            read, after = read + ids(page), page[-1]["id"]
        assert read == wanted
    query = {"project_id": token, "before": wanted[-1], "limit": 2}
    assert ids(http.get("/v1/identities/", params=query).json()) == wanted[2:4]
    assert ids(http.get("/v1/identities/", params={"project_id": token, "order": "asc"}).json()) == ids(made)
    assert ids(http.get("/v1/identities/", params={"name": f"{token} 1"}).json()) == [wanted[1], wanted[3]]
    org = make("org", identity_type="org", project_id=token)
    query = {"project_id": token, "identity_type": "org"}
    assert ids(http.get("/v1/identities/", params=query).json()) == [org["id"]]
    assert http.get("/v1/identities/count", params={"project_id": token}).json() == 6
    assert http.get("/v1/identities/", params={"after": UNKNOWN}).status_code == 404


def test_agents_are_found_by_their_identity(client, http, make_agent, ada, make, token):
    ben = make("ben")
    mine, other = make_agent(identity_ids=[ada["id"]]), make_agent()
    assert client.agents.identities.attach(identity_id=ben["id"], agent_id=other.id) is None
    assert client.agents.identities.attach(identity_id=ben["id"], agent_id=other.id) is None, "again"
    for query, found in [
        ({"identity_id": ada["id"]}, mine),
        ({"identity_id": ben["id"]}, other),
        ({"identifier_keys": [f"{token}-ada"]}, mine),
    ]:
        assert [a.id for a in client.agents.list(**query)] == [found.id]
    both = client.agents.list(identifier_keys=[f"{token}-ada", f"{token}-ben", "nobody"])
    assert [a.id for a in both] == [other.id, mine.id], "newest first"
    assert ids(http.get(f"/v1/identities/{ada['id']}/agents").json()) == [mine.id]
    assert http.get(f"/v1/identities/{ada['id']}").json()["agent_ids"] == [mine.id]
    assert client.agents.identities.detach(identity_id=ben["id"], agent_id=other.id) is None
    assert list(client.agents.list(identity_id=ben["id"])) == []


def test_a_list_of_identities_replaces_the_agents_own(client, make_agent, ada, make):
    ben = make("ben")
    agent = make_agent(identity_ids=[ada["id"], ada["id"]])
    shown = ["agent.identities"]

    def now():
        state = client.agents.retrieve(agent.id, include=shown)
        assert [identity.id for identity in state.identities] == state.identity_ids
        return state.identity_ids

    assert now() == [ada["id"]]
    client.agents.update(agent.id, description="else")
    assert now() == [ada["id"]], "left out, so kept"
    client.agents.update(agent.id, identity_ids=[ben["id"]])
    assert now() == [ben["id"]]
    client.agents.update(agent.id, identity_ids=[])
    assert now() == []
    with pytest.raises(letta_client.BadRequestError, match=UNKNOWN):
        client.agents.update(agent.id, identity_ids=[ada["id"], UNKNOWN])
    assert now() == [], "all or nothing"


def test_identities_of_an_agent_are_shown_to_those_who_ask(client, http, make_agent, ada):
    agent = make_agent(identity_ids=[ada["id"]])
    assert client.agents.retrieve(agent.id).identities == []
    full = client.agents.retrieve(agent.id, include=["agent.identities"])
    assert (full.identities[0].name, full.identities[0].properties[0].value) == ("Ada", "gold")
    legacy = http.get(f"/v1/agents/{agent.id}").json()
    assert legacy["identities"] == [ada] and legacy["identity_ids"] == [ada["id"]]


def test_blocks_are_found_by_their_identity(client, http, ada, make, token):
    ben = make("ben")
    mine, other = (client.blocks.create(label="notes", value=v) for v in ("mine", "other"))
    attached = http.patch(f"/v1/blocks/{mine.id}/identities/attach/{ada['id']}")
    assert (attached.status_code, attached.json()["id"]) == (200, mine.id)
    http.patch(f"/v1/identities/{ben['id']}", json={"block_ids": [mine.id, other.id]})
    for query, found in [
        ({"identity_id": ada["id"]}, [mine.id]),
        ({"identity_id": ben["id"]}, [mine.id, other.id]),
        ({"identifier_keys": [f"{token}-ada"]}, [mine.id]),
    ]:
        assert [b.id for b in client.blocks.list(**query)] == found
    assert ids(http.get(f"/v1/identities/{ben['id']}/blocks").json()) == [other.id, mine.id]
    assert http.get(f"/v1/identities/{ada['id']}").json()["block_ids"] == [mine.id]
    detached = http.patch(f"/v1/blocks/{mine.id}/identities/detach/{ada['id']}").json()
    assert detached["id"] == mine.id
    assert list(client.blocks.list(identity_id=ada["id"])) == []


def test_a_deleted_identity_leaves_what_was_linked_to_it(client, http, make_agent, ada):
    agent = make_agent(identity_ids=[ada["id"]])
    gone = http.delete(f"/v1/identities/{ada['id']}")
    assert (gone.status_code, gone.json()) == (200, None)
    assert http.get(f"/v1/identities/{ada['id']}").status_code == 404
    assert client.agents.retrieve(agent.id, include=["agent.identities"]).identity_ids == []


def test_what_does_not_exist_is_404(client, http, agent):
    for method, path in [
        ("GET", f"/v1/identities/{UNKNOWN}"),
        ("PATCH", f"/v1/identities/{UNKNOWN}"),
        ("DELETE", f"/v1/identities/{UNKNOWN}"),
        ("GET", f"/v1/identities/{UNKNOWN}/agents"),
        ("GET", f"/v1/identities/{UNKNOWN}/blocks"),
        ("PATCH", f"/v1/agents/{agent.id}/identities/attach/{UNKNOWN}"),
        ("PATCH", f"/v1/agents/{agent.id}/identities/detach/{UNKNOWN}"),
    ]:
        body = {"json": {}} if path.endswith(UNKNOWN) and method == "PATCH" else {}
        answer = http.request(method, path, **body)
        assert answer.status_code == 404, f"{method} {path}: {answer.text}"
    assert http.put(f"/v1/identities/{UNKNOWN}/properties", json=[]).status_code == 404
    assert http.get("/v1/identities/ada").status_code == 422
    with pytest.raises(letta_client.BadRequestError, match=UNKNOWN):
        client.agents.create(model=MODEL, identity_ids=[UNKNOWN])
