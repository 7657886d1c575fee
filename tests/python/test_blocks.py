"""Blocks of their own: made, listed, changed, shared, deleted."""

import letta_client
import pytest

UNKNOWN = "block-00000000-0000-4000-8000-0000000000ff"


def ids(items):
    return [item.id for item in items]


@pytest.fixture
def four(client, token):
    """Four blocks, oldest first."""
    return [client.blocks.create(label=f"{token}-{n}", value=f"value {n} of {token}") for n in range(4)]


def test_a_block_keeps_what_it_is_given(client):
    made = client.blocks.create(
        label="scratch", value="Empty for now", description="notes", limit=300, read_only=True, metadata={"a": 1}
    )
    block = client.blocks.retrieve(made.id)
    assert (block.label, block.value, block.description) == ("scratch", "Empty for now", "notes")
    assert (block.limit, block.read_only, block.metadata) == (300, True, {"a": 1})


def test_the_default_limit_is_100000(client):
    assert client.blocks.create(label="x", value="").limit == 100_000


def test_a_change_touches_only_what_it_names(client):
    made = client.blocks.create(label="x", value="old", description="d", metadata={"k": 1})
    client.blocks.update(made.id, value="new")
    block = client.blocks.retrieve(made.id)
    assert (block.value, block.description, block.metadata) == ("new", "d", {"k": 1})


def test_a_value_over_the_limit_is_refused_with_the_numbers(client):
    with pytest.raises(letta_client.BadRequestError) as error:
        client.blocks.create(label="big", value="x" * 50, limit=10)
    assert "50" in str(error.value) and "10" in str(error.value)
    made = client.blocks.create(label="big", value="x" * 10, limit=10)
    with pytest.raises(letta_client.BadRequestError) as error:
        client.blocks.update(made.id, value="y" * 11)
    assert "11" in str(error.value) and "10" in str(error.value)
    assert client.blocks.retrieve(made.id).value == "x" * 10


def test_limits_count_characters_not_bytes(client):
    assert client.blocks.create(label="x", value="é" * 10, limit=10).value == "é" * 10


def test_text_of_every_kind_comes_back_as_it_was(client):
    value = "tab\t, nul \x00, quote \" ', emoji 🦀, line\r\nbreak, \\u0041"
    made = client.blocks.create(label="odd", value=value)
    assert client.blocks.retrieve(made.id).value == value


def test_the_list_is_oldest_first_and_complete(client, four, token):
    for limit in (1, 3, 50):
        assert ids(client.blocks.list(label_search=token, limit=limit)) == ids(four)
        assert ids(client.blocks.list(label_search=token, limit=limit, order="desc")) == ids(four)[::-1]


def test_cursors_work_both_ways(client, four, token):
    page = client.blocks.list(label_search=token, after=four[0].id, limit=2)
    assert ids(page.items) == ids(four)[1:3]
    page = client.blocks.list(label_search=token, before=four[3].id, limit=2)
    assert ids(page.items) == ids(four)[1:3]


def test_filters_find_blocks(client, four, token, http):
    assert ids(client.blocks.list(label=f"{token}-2")) == [four[2].id]
    assert ids(client.blocks.list(value_search=f"value 3 of {token}")) == [four[3].id]
    made = client.blocks.create(label="x", value="", description=f"about {token}", tags=[token])
    assert ids(client.blocks.list(description_search=f"about {token}")) == [made.id]
    assert ids(client.blocks.list(tags=[token])) == [made.id]
    assert http.get("/v1/blocks/count").json() >= 5


def test_a_search_takes_percent_and_underscore_literally(client, token):
    percent = client.blocks.create(label="x", value=f"{token} 100% sure")
    client.blocks.create(label="x", value=f"{token} 100 sure")
    assert ids(client.blocks.list(value_search=f"{token} 100%")) == [percent.id]
    assert ids(client.blocks.list(value_search=f"{token[:-1]}_ 100")) == []


def test_a_deleted_block_is_gone_from_its_agents_too(client, make_agent):
    block = client.blocks.create(label="project", value="hull")
    agent = make_agent(block_ids=[block.id])
    client.blocks.delete(block.id)
    with pytest.raises(letta_client.NotFoundError):
        client.blocks.retrieve(block.id)
    assert [b.label for b in client.agents.blocks.list(agent.id)] == ["human"]


def test_an_unknown_block_is_404(client):
    for call in (client.blocks.retrieve, client.blocks.delete):
        with pytest.raises(letta_client.NotFoundError, match=UNKNOWN):
            call(UNKNOWN)
    with pytest.raises(letta_client.NotFoundError):
        client.blocks.update(UNKNOWN, value="x")


def test_agents_that_share_a_block_are_listed_and_counted(client, make_agent, token):
    block = client.blocks.create(label="team", value="shared", tags=[token])
    first, second = make_agent(block_ids=[block.id]), make_agent(block_ids=[block.id])
    lonely = client.blocks.create(label="team", value="alone", tags=[token])
    assert sorted(ids(client.blocks.agents.list(block.id))) == sorted([first.id, second.id])
    assert ids(client.blocks.list(tags=[token], connected_to_agents_count_eq=[2])) == [block.id]
    assert ids(client.blocks.list(tags=[token], connected_to_agents_count_gt=0)) == [block.id]
    assert ids(client.blocks.list(tags=[token], connected_to_agents_count_lt=1)) == [lonely.id]


def test_a_block_that_is_over_a_lowered_limit_may_shrink_but_not_grow(client):
    """As an imported block over its limit: it stays loadable."""
    made = client.blocks.create(label="x", value="x" * 20, limit=20)
    with pytest.raises(letta_client.BadRequestError):
        client.blocks.update(made.id, limit=10)
    both = client.blocks.update(made.id, limit=10, value="x" * 10)
    assert (both.limit, both.value) == (10, "x" * 10)
