"""A server with a password."""

import httpx
import letta_client
import pytest

PASSWORD = "open sesame"


@pytest.fixture
def locked(own_server):
    return own_server(LETTA_SERVER_SECURE="true", LETTA_SERVER_PASSWORD=PASSWORD)


def test_only_those_who_know_it_come_in(locked, own_client):
    with httpx.Client(base_url=locked.url) as http:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": PASSWORD},
            {"authorization": f"bearer {PASSWORD}"},
            {"authorization": f"Basic {PASSWORD}"},
            {"x-bare-password": PASSWORD},
            {"x-bare-password": "password wrong"},
        ):
            answer = http.get("/v1/agents/", headers=headers)
            assert answer.status_code == 401, headers
            assert answer.json() == {"detail": "Unauthorized"}
        for path in ("/openapi.json", "/v1/blocks", "/latest/agents"):
            assert http.get(path).status_code == 401, path
        assert http.get("/v1/agents/", params={"token": PASSWORD}).status_code == 401
        for headers in ({"authorization": f"Bearer {PASSWORD}"}, {"x-bare-password": f"password {PASSWORD}"}):
            assert http.get("/v1/agents/", headers=headers).status_code == 200
        for path in ("/v1/health", "/v1/health/", "/v1/ready/"):
            assert http.get(path).status_code == 200
        preflight = {"origin": "http://localhost:3000", "access-control-request-method": "GET"}
        assert http.options("/v1/agents/", headers=preflight).status_code == 200
    assert list(own_client(locked, api_key=PASSWORD).agents.list()) == []
    with pytest.raises(letta_client.AuthenticationError):
        own_client(locked, api_key="wrong").agents.list()


def test_the_password_is_in_no_log(locked, own_client):
    own_client(locked, api_key=PASSWORD).agents.list()
    assert PASSWORD not in locked.log(10_000)


def test_a_password_is_told_right_from_wrong(locked, http):
    with httpx.Client(base_url=locked.url, headers={"authorization": f"Bearer {PASSWORD}"}) as inside:
        right = inside.post("/v1/auth", json={"password": PASSWORD})
        assert right.status_code == 200, right.text
        assert right.json() == {"uuid": "00000000-0000-4000-8000-000000000000", "is_admin": True}
        for wrong in ({"password": "nope"}, {"password": ""}, {}):
            assert inside.post("/v1/auth", json=wrong).status_code == 401, wrong
        assert inside.post("/v1/auth", json={"password": 5}).status_code == 422
    # A server without a password takes any.
    assert http.post("/v1/auth", json={"password": "x"}).status_code == 200
