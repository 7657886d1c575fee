"""The models that the server's providers have."""

from programs import MODEL, eventually


def test_models_of_the_endpoint_are_listed_with_their_windows(client):
    models = {m.handle: m for m in client.models.list()}
    assert models[MODEL].max_context_window == 128_000
    assert models["openai-proxy/scripted-small"].max_context_window == 8_192
    assert models[MODEL].name == "scripted" and models[MODEL].provider_name


def test_models_are_filtered_by_provider(client):
    everything = client.models.list()
    name = everything[0].provider_name
    assert [m.handle for m in client.models.list(provider_name=name)] == [m.handle for m in everything]
    assert list(client.models.list(provider_name="nobody")) == []


def test_a_small_model_gives_its_agents_a_small_window(client):
    agent = client.agents.create(model="openai-proxy/scripted-small")
    assert agent.llm_config.context_window == 8_192


def test_an_explicit_window_is_taken_as_it_is(client):
    agent = client.agents.create(model=MODEL, context_window_limit=32_000)
    assert agent.llm_config.context_window == 32_000


def test_models_of_mnemic_toml_are_read_while_the_server_runs(own_server, own_client, model):
    server = own_server(with_model=False)
    client = own_client(server)
    assert list(client.models.list()) == []
    settings = server.folder / "mnemic.toml"
    settings.write_text(
        f'[[providers]]\nname = "house"\nbase_url = "http://{model.address}/v1"\napi_key = "sk-none"\n'
    )
    handles = eventually(lambda: [m.handle for m in client.models.list()], "the new provider's models are listed")
    assert "house/scripted" in handles
    agent = client.agents.create(model="house/scripted")
    assert client.agents.messages.create(agent.id, input="hello").stop_reason.stop_reason == "end_turn"


def test_an_agent_may_move_between_endpoints_that_want_other_forms(own_server, own_client, model, token):
    server = own_server()
    settings = server.folder / "mnemic.toml"
    settings.write_text(
        f'[[providers]]\nname = "echo"\nbase_url = "http://{model.address}/v1"\necho_reasoning = true\n'
    )
    client = own_client(server)
    eventually(lambda: [m for m in client.models.list() if m.handle == "echo/scripted"], "the new provider is there")
    agent = client.agents.create(model=MODEL)
    client.agents.messages.create(agent.id, input=f"[[reasoning Pondering {token}.]] one {token}")
    client.agents.messages.create(agent.id, input=f"two {token}")
    plain = model.last_request(f"two {token}")["messages"]
    assert not any("reasoning_content" in message for message in plain)
    client.agents.update(agent.id, model="echo/scripted")
    client.agents.messages.create(agent.id, input=f"three {token}")
    echoed = model.last_request(f"three {token}")["messages"]
    assert [m["reasoning_content"] for m in echoed if "reasoning_content" in m] == [f"Pondering {token}."]
    assert [m["role"] for m in echoed] == [m["role"] for m in plain] + ["assistant", "user"]
