"""A server that knows no model yet."""

import letta_client
import pytest

from talk import send


def test_it_starts_says_what_to_set_and_answers_clearly(own_server, own_client):
    server = own_server(with_model=False)
    client = own_client(server)
    assert "OPENAI_API_KEY" in server.log()
    assert list(client.models.list()) == []
    with pytest.raises(letta_client.APIStatusError) as error:
        client.agents.create(model="openai/gpt-4o-mini")
    assert error.value.status_code in (400, 404)
    assert "provider" in str(error.value).lower()


def test_an_agent_whose_provider_is_gone_gets_a_clear_error(own_server, own_client, model, engine):
    server = own_server()
    client = own_client(server)
    agent = client.agents.create(model="openai-proxy/scripted")
    server.terminate()
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        server.environment.pop(name)
    server.start()
    assert client.agents.retrieve(agent.id).name == agent.name
    with pytest.raises(letta_client.APIStatusError) as error:
        send(client, agent, "hello")
    assert error.value.status_code < 500
    assert "openai-proxy" in str(error.value)
