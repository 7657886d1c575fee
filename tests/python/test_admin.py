"""Organizations and users."""

import pytest


@pytest.fixture
def ada(http, token):
    org = http.post("/v1/admin/orgs/", json={"name": f"org {token}"}).json()
    made = http.post("/v1/admin/users/", json={"name": "Ada", "organization_id": org["id"]})
    assert made.status_code == 200, made.text
    return made.json()


def acting(user):
    return {"user_id": user["id"]}


LISTS = [
    "agents", "blocks", "archives", "identities", "conversations", "runs", "steps", "messages", "providers", "tags", "jobs",
    "messages/batches", "sandbox-config",
]


@pytest.mark.parametrize("noun", LISTS)
def test_a_new_organization_sees_nothing_of_another(http, client, agent, ada, noun):
    client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "hello"}])
    client.conversations.create(agent_id=agent.id)
    slash = "" if "/" in noun else "/"
    found = http.get(f"/v1/{noun}{slash}", headers=acting(ada))
    assert found.status_code == 200 and found.json() == [], found.text


def test_what_a_user_makes_is_its_organizations(http, agent, ada):
    made = http.post("/v1/agents/", json={"model": "openai-proxy/scripted"}, headers=acting(ada))
    assert made.status_code == 200, made.text
    mine = made.json()["id"]
    assert http.get(f"/v1/agents/{mine}").status_code == 404
    assert http.get(f"/v1/agents/{agent.id}", headers=acting(ada)).status_code == 404
    said = http.post(f"/v1/agents/{mine}/messages", json={"input": "hello"}, headers=acting(ada))
    assert said.status_code == 200, said.text
    assert http.get("/v1/tools/", headers=acting(ada)).json() != []


def test_an_organization_with_agents_is_not_deleted_and_without_them_goes_with_all_that_is_its(http, ada):
    org = {"org_id": ada["organization_id"]}
    agent = http.post("/v1/agents/", json={"model": "openai-proxy/scripted"}, headers=acting(ada)).json()["id"]
    refused = http.delete("/v1/admin/orgs/", params=org)
    assert refused.status_code == 409 and "agents" in refused.text
    block = http.post("/v1/blocks/", json={"label": "human", "value": "x"}, headers=acting(ada)).json()["id"]
    assert http.delete(f"/v1/agents/{agent}", headers=acting(ada)).status_code == 200
    assert http.delete("/v1/admin/orgs/", params=org).status_code == 200
    listed = http.get("/v1/admin/orgs/", params={"limit": 1000}).json()
    assert ada["organization_id"] not in [one["id"] for one in listed]
    # Its user does not fall back to somebody else's data.
    assert http.get(f"/v1/blocks/{block}", headers=acting(ada)).status_code == 404
    assert http.get("/v1/agents/", headers=acting(ada)).status_code == 404


def test_users_are_listed_renamed_and_deleted(http, ada):
    changed = http.put("/v1/admin/users/", json={"id": ada["id"], "name": "Grace"})
    assert changed.status_code == 200 and changed.json()["name"] == "Grace"
    assert ada["id"] in [one["id"] for one in http.get("/v1/admin/users/", params={"limit": 1000}).json()]
    assert http.delete("/v1/admin/users/", params={"user_id": ada["id"]}).json()["is_deleted"] is True
    assert http.get("/v1/agents/", headers=acting(ada)).status_code == 404


def test_the_default_organization_and_user_stay(http):
    org, user = (f"{kind}-00000000-0000-4000-8000-000000000000" for kind in ("org", "user"))
    assert org in [one["id"] for one in http.get("/v1/admin/orgs/").json()]
    assert http.delete("/v1/admin/orgs/", params={"org_id": org}).status_code == 409
    assert http.delete("/v1/admin/users/", params={"user_id": user}).status_code == 409


def test_an_organization_is_renamed(http, ada):
    org = {"org_id": ada["organization_id"]}
    assert http.patch("/v1/admin/orgs/", params=org, json={"name": "new"}).json()["name"] == "new"
