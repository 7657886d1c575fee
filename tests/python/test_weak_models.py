"""Models that make calls badly, as plain text, or not at all."""

import json

import letta_client
import pytest

from conftest import client_of
from programs import configured
from talk import of_kind, reply, send, stop_reason, stream

PROVIDERS = """
[[providers]]
name = "plain"
base_url = "http://{address}/v1"

[[providers]]
name = "ollama"
protocol = "ollama"
base_url = "http://{address}"

[[providers]]
name = "claude"
protocol = "anthropic"
base_url = "http://{address}"

[[providers]]
name = "schema"
base_url = "http://{address}/v1"
tools = "schema"
"""

STREAMING = pytest.mark.parametrize("streaming", [False, True])


@pytest.fixture(scope="module")
def server(engine, model):
    with configured(engine, model, PROVIDERS) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as sdk:
        yield sdk


@pytest.fixture
def agent(make_agent):
    return make_agent(model="plain/scripted")


def talk(client, agent, text, streaming):
    """All messages of a turn."""
    return stream(client, agent, text, stream_tokens=True) if streaming else send(client, agent, text).messages


def human(client, agent):
    return client.agents.blocks.retrieve("human", agent_id=agent.id).value


def edit(token):
    return {"label": "human", "new_string": f"Ada is {token}."}


# Arguments that need no second question.


@STREAMING
@pytest.mark.parametrize(
    "broken",
    [
        "{'label': 'human', 'new_string': 'Ada is TOKEN.',}",
        '{label: "human", new_string: "Ada is TOKEN."}',
        '```json\n{"label": "human", "new_string": "Ada is TOKEN."}\n```',
        '"{\\"label\\": \\"human\\", \\"new_string\\": \\"Ada is TOKEN.\\"}"',
        '{"label": "human", "new_string": "Ada is TOKEN."',
    ],
)
def test_broken_arguments_are_mended(client, agent, model, token, broken, streaming):
    messages = talk(client, agent, f"[[badargs memory_insert {broken.replace('TOKEN', token)}]]", streaming)
    assert of_kind(messages, "tool_return_message")[0].status == "success"
    assert f"Ada is {token}." in human(client, agent)
    assert len(model.requests(token)) == 2, "the call and the answer, no question between"
    stored = [m for m in client.agents.messages.list(agent.id) if m.message_type == "tool_call_message"]
    assert json.loads(stored[-1].tool_call.arguments) == edit(token)


# The second try.


@STREAMING
@pytest.mark.parametrize("handle", ["plain/scripted", "ollama/scripted", "claude/scripted"])
@pytest.mark.parametrize("wrong", ['[[call memory_insert {"label": "human"}]]', "[[badargs memory_insert {broken]]"])
def test_a_call_that_can_not_be_made_is_asked_for_again_once(client, make_agent, model, token, handle, wrong, streaming):
    if "broken" in wrong and handle == "ollama/scripted":
        wrong = "[[call memory_insert {}]]"  # There arguments are always an object.
    agent = make_agent(model=handle)
    text = f"{wrong} [[mend memory_insert {json.dumps(edit(token))}]]"
    messages = talk(client, agent, text, streaming)
    (returned,) = of_kind(messages, "tool_return_message")
    assert returned.status == "success" and f"Ada is {token}." in human(client, agent)
    assert "Done: " in reply(messages)
    first, again, after = model.requests(token)
    assert "was not made" in json.dumps(again) and "was not made" not in json.dumps([first, after])
    assert "was not made" not in json.dumps([m.model_dump(mode="json") for m in client.agents.messages.list(agent.id)])
    send(client, agent, f"and on {token}")
    assert "was not made" not in json.dumps(model.last_request(f"and on {token}"))


def test_what_the_second_try_took_is_counted(client, agent, token):
    plain = send(client, agent, f"[[call memory_insert {json.dumps(edit(token))}]]")
    mended = send(client, agent, f"[[call memory_insert {{}}]] [[mend memory_insert {json.dumps(edit(token))}]]")
    assert mended.usage.step_count == plain.usage.step_count == 2
    assert mended.usage.prompt_tokens > plain.usage.prompt_tokens * 1.3


def test_of_several_calls_only_the_useless_one_is_asked_for_again(client, agent, token):
    good, other = edit(f"{token}-good"), edit(f"{token}-mended")
    text = (
        f"[[call memory_insert {json.dumps(good)}]] [[call memory_insert {{}}]]"
        f" [[mend memory_insert {json.dumps(other)}]]"
    )
    returns = of_kind(send(client, agent, text).messages, "tool_return_message")
    assert [r.status for r in returns] == ["success", "success"]
    assert f"{token}-good." in human(client, agent) and f"{token}-mended." in human(client, agent)


@STREAMING
def test_what_stays_useless_is_told_to_the_model_and_the_agent_goes_on(client, agent, token, streaming):
    messages = talk(client, agent, f"[[badargs memory_insert {{broken]] {token}", streaming)
    (returned,) = of_kind(messages, "tool_return_message")
    assert returned.status == "error" and "not valid JSON" in returned.tool_return
    assert "Done: " in reply(messages)
    assert reply(send(client, agent, f"and on {token}"))


def test_a_value_that_was_cut_off_is_not_stored_by_half(client, agent, token):
    cut = f'{{"label": "human", "new_string": "Ada is {token} and'
    returned = of_kind(send(client, agent, f"[[badargs memory_insert {cut}]]").messages, "tool_return_message")[0]
    assert returned.status == "error" and "end in the middle" in returned.tool_return
    assert token not in human(client, agent)


# Calls as plain text.


@STREAMING
@pytest.mark.parametrize("handle", ["plain/scripted", "ollama/scripted"])
@pytest.mark.parametrize("form", ["tag", "mistral", "python", "fence", "bare"])
def test_calls_written_as_text_are_calls(client, make_agent, model, token, handle, form, streaming):
    agent = make_agent(model=handle)
    messages = talk(client, agent, f"[[plain {form}]] [[call memory_insert {json.dumps(edit(token))}]]", streaming)
    assert of_kind(messages, "tool_return_message")[0].status == "success"
    assert f"Ada is {token}." in human(client, agent)
    said = reply(messages)
    assert "Done: " in said and "arguments" not in said and "<tool_call>" not in said and "```" not in said
    assert said.startswith("I note it.") is (form == "tag")
    calling = next(m for m in model.last_request(token)["messages"] if m.get("tool_calls"))
    assert calling["tool_calls"][0]["function"]["name"] == "memory_insert"


@STREAMING
def test_a_text_that_names_no_offered_tool_stays_text(client, agent, token, streaming):
    messages = talk(client, agent, f"[[plain tag]] [[call erase_disk {{}}]] {token}", streaming)
    assert of_kind(messages, "tool_call_message") == []
    assert '<tool_call>\n{"name": "erase_disk", "arguments": {}}\n</tool_call>' in reply(messages)


# Models without tools.


@STREAMING
@pytest.mark.parametrize("handle", ["ollama/scripted-toolless", "plain/scripted-toolless", "schema/scripted"])
def test_a_model_without_tools_both_talks_and_uses_them(client, make_agent, model, token, handle, streaming):
    agent = make_agent(model=handle)
    assert reply(talk(client, agent, f"[[echo]] hello {token}", streaming)) == f"[[echo]] hello {token}"
    messages = talk(client, agent, f"please remember {token}", streaming)
    (returned,) = of_kind(messages, "tool_return_message")
    assert returned.status == "success"
    assert f"Fact: please remember {token}" in human(client, agent)
    assert "Done: Result of memory_insert" in reply(messages)
    request = model.last_request(token)
    assert "tools" not in request
    roles = [m["role"] for m in request["messages"]]
    examples = 2 * ["user", "assistant", "user", "assistant"]
    assert roles == ["system", *examples, "user", "assistant", "user", "assistant", "user"]
    assert "memory_insert" in request["messages"][0]["content"], "the tools are described in the prompt"


def test_its_words_are_streamed_as_they_come(client, make_agent, token):
    agent = make_agent(model="schema/scripted")
    frames = stream(client, agent, f"[[words 30]] {token}", stream_tokens=True)
    said = of_kind(frames, "assistant_message")
    assert len(said) > 10 and reply(frames).startswith("Reply ") and '"' not in reply(frames)
    assert stop_reason(frames) == "end_turn"


def test_a_refusal_is_learned_from_once(client, make_agent, model, token):
    agent = make_agent(model="plain/scripted-toolless")
    for turn in ("one", "two"):
        send(client, agent, f"{turn} {token}")
    offered = ["tools" in request for request in model.requests(token)]
    assert offered.count(True) <= 1 and offered[-2:] == [False, False]


def test_an_overflow_of_such_a_model_is_told_as_one(client, make_agent, token):
    agent = make_agent(model="schema/scripted")
    with pytest.raises(letta_client.BadRequestError, match="context"):
        send(client, agent, f"[[overflow]] {token}")
