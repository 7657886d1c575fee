"""Tools with strict schemas, where an agent or a tool asks for them."""

from talk import of_kind, send

FREE = '''
def {name}(options: dict) -> str:
    """
    Takes anything.

    Args:
        options: what you like
    """
    return "x"
'''


def tools_sent(model, token):
    return {tool["function"]["name"]: tool["function"] for tool in model.last_request(token)["tools"]}


def test_an_agent_that_asks_for_it_has_strict_tools_where_they_can_be(client, make_agent, model, token):
    free = client.tools.create(source_code=FREE.format(name=f"free_{token}"))
    agent = make_agent(model_settings={"provider_type": "openai", "strict": True}, tool_ids=[free.id])
    send(client, agent, f"[[echo]] {token}")
    sent = tools_sent(model, token)
    insert = sent["memory_insert"]
    assert insert["strict"] is True
    assert insert["parameters"]["additionalProperties"] is False
    assert insert["parameters"]["required"] == ["label", "new_string", "insert_line"]
    assert insert["parameters"]["properties"]["insert_line"]["type"] == ["integer", "null"]
    assert "strict" not in sent[f"free_{token}"]


def test_a_null_for_what_may_be_left_out_counts_as_left_out(client, make_agent):
    agent = make_agent(model_settings={"provider_type": "openai", "strict": True})
    call = '[[call memory_insert {"label": "human", "new_string": "She lives in Bergen.", "insert_line": null}]]'
    [returned] = of_kind(send(client, agent, call).messages, "tool_return_message")
    assert returned.status == "success"


def test_others_have_plain_ones(client, agent, model, token):
    send(client, agent, f"[[echo]] {token}")
    assert not any("strict" in tool for tool in tools_sent(model, token).values())


def test_one_tool_can_ask_for_itself(client, make_agent, model, token):
    name = f"own_{token}"
    source = FREE.format(name=name).replace("options: dict", "city: str").replace("options:", "city:")
    schema = {
        "name": name,
        "description": "Takes a city.",
        "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": []},
    }
    tool = client.tools.create(source_code=source, json_schema=schema)
    send(client, make_agent(tool_ids=[tool.id]), f"[[echo]] {token}")
    sent = tools_sent(model, token)
    assert sent[name]["strict"] is True
    assert "strict" not in sent["memory_insert"]
