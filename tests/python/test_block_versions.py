"""Every value that a block had, with who wrote it, and the way back to it."""

import pytest

from talk import of_kind, send


@pytest.fixture
def history(http):
    def read(block_id, **query):
        answer = http.get(f"/v1/blocks/{block_id}/history", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return read


def test_every_change_of_the_value_is_a_version(client, history):
    block = client.blocks.create(label="x", value="one")
    client.blocks.update(block.id, value="two")
    client.blocks.update(block.id, value="three")
    versions = history(block.id)
    assert [v["value"] for v in versions] == ["three", "two", "one"]
    numbers = [v["version"] for v in versions]
    assert numbers == sorted(set(numbers), reverse=True)
    assert all(v["created_at"] for v in versions)


def test_versions_name_the_user_or_the_agent_and_its_call(client, agent, history):
    block = client.agents.blocks.retrieve("human", agent_id=agent.id)
    client.blocks.update(block.id, value="by hand")
    answer = send(client, agent, "remember this")
    (call,) = of_kind(answer.messages, "tool_call_message")
    by_agent, by_user = history(block.id)[:2]
    assert by_agent["value"].startswith("by hand")
    named = str(by_agent)
    assert agent.id in named and call.tool_call.tool_call_id in named and call.run_id in named
    assert by_user["value"] == "by hand" and "user-00000000-0000-4000-8000-000000000000" in str(by_user)


def test_a_restored_version_is_a_new_one(client, history, http):
    block = client.blocks.create(label="x", value="one")
    client.blocks.update(block.id, value="two")
    first = history(block.id)[-1]["version"]
    answer = http.post(f"/v1/blocks/{block.id}/restore", json={"version": first})
    assert answer.status_code == 200 and answer.json()["value"] == "one"
    assert client.blocks.retrieve(block.id).value == "one"
    assert [v["value"] for v in history(block.id)] == ["one", "two", "one"]


def test_an_unknown_version_is_404(client, http):
    block = client.blocks.create(label="x", value="one")
    assert http.post(f"/v1/blocks/{block.id}/restore", json={"version": 999}).status_code == 404
    assert client.blocks.retrieve(block.id).value == "one"


def test_the_history_is_read_in_parts(client, history):
    block = client.blocks.create(label="x", value="0")
    for n in range(1, 7):
        client.blocks.update(block.id, value=str(n))
    page = history(block.id, limit=3)
    assert [v["value"] for v in page] == ["6", "5", "4"]
    rest = history(block.id, before=page[-1]["version"])
    assert [v["value"] for v in rest] == ["3", "2", "1", "0"]


def test_the_history_of_an_unknown_block_is_404(http):
    unknown = "block-00000000-0000-4000-8000-0000000000ff"
    assert http.get(f"/v1/blocks/{unknown}/history").status_code == 404
