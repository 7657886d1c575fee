"""The description of the API, and the pages that show it without the internet."""

import re

import pytest
from openapi_spec_validator import validate


@pytest.fixture(scope="module")
def document(http):
    return http.get("/openapi.json").raise_for_status().json()


def test_the_description_is_valid(document):
    validate(document)


def test_it_names_the_routes_that_the_sdks_call(document):
    paths = {path.rstrip("/") for path in document["paths"]}
    for path in (
        "/v1/agents", "/v1/agents/{agent_id}", "/v1/agents/{agent_id}/messages",
        "/v1/agents/{agent_id}/messages/stream", "/v1/blocks/{block_id}/history", "/v1/runs/{run_id}/stream",
        "/v1/conversations/{conversation_id}/messages", "/v1/models",
    ):
        assert path in paths


def test_operations_have_ids_of_their_own(document):
    ids = [
        operation["operationId"]
        for methods in document["paths"].values()
        for name, operation in methods.items()
        if name in ("get", "post", "patch", "put", "delete")
    ]
    assert len(ids) == len(set(ids))


def test_the_pages_load_nothing_from_elsewhere(http):
    page = http.get("/docs", follow_redirects=True)
    assert page.status_code == 200 and "text/html" in page.headers["content-type"]
    named = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page.text)
    assert named
    for name in named:
        assert not re.match(r"^(https?:)?//", name), name
        found = http.get(str(page.url.join(name)))
        assert found.status_code == 200, name
