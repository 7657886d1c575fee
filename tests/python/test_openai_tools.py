"""Tools that a client of OpenAI's API runs itself: the loops of the official `openai` package work unchanged."""

import json

import openai
import pytest

from talk import kinds, send
from test_approvals import ADD
from test_openai_clients import gpt, openai_of, said, streamed

__all__ = ["gpt"]  # the fixture

PARAMETERS = {"type": "object", "properties": {"hue": {"type": "string"}}, "required": ["hue"]}
PICK = {"type": "function", "function": {"name": "pick_color", "description": "Picks a colour.", "parameters": PARAMETERS}}
FLAT = {"type": "function", "name": "pick_color", "description": "Picks a colour.", "parameters": PARAMETERS}
CALL = '[[call pick_color {"hue": "red"}]]'
BOTH = CALL + '[[call pick_color {"hue": "blue"}]]'


def pick(arguments):
    return f"{json.loads(arguments)['hue']} it is"


def whole(chunks):
    """Message and reason of a stream, put together as every client does."""
    text, calls, reason = "", {}, None
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
            for piece in choice.delta.tool_calls or []:
                if piece.id:
                    assert piece.type == "function" and piece.index not in calls
                    calls[piece.index] = {"id": piece.id, "type": "function", "function": {"name": piece.function.name, "arguments": ""}}
                calls[piece.index]["function"]["arguments"] += piece.function.arguments or ""
    message = {"role": "assistant", "content": text or None}
    return message | ({"tool_calls": list(calls.values())} if calls else {}), reason


def converse(sdk, agent, text, stream=False, **options):
    """The loop that programs write for chat completions: it runs tools until there are no calls."""
    messages = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": text}]
    options = {"tools": [PICK], **options}
    reasons = []
    for _ in range(5):
        answer = sdk.chat.completions.create(model=agent.id, messages=messages, stream=stream, **options)
        if stream:
            message, reason = whole(answer)
        else:
            message, reason = answer.choices[0].message.model_dump(exclude_none=True), answer.choices[0].finish_reason
        messages.append(message)
        reasons.append(reason)
        if reason != "tool_calls":
            return messages, reasons
        for call in message["tool_calls"]:
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": pick(call["function"]["arguments"])})
    raise AssertionError(f"the loop does not end: {messages}")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("user", [None, "ann"])
def test_the_loop_of_chat_completions_works_unchanged(gpt, client, agent, model, token, stream, user):
    whose = {"user": f"{user}-{token}"} if user else {}
    messages, reasons = converse(gpt, agent, f"{token} {BOTH}", stream, **whose)
    assert reasons == ["tool_calls", "stop"]
    assert [call["function"]["name"] for call in messages[2]["tool_calls"]] == ["pick_color"] * 2
    assert "it is" in messages[-1]["content"]
    told = model.requests(token)[-1]["messages"]
    assert [m["content"] for m in told if m["role"] == "tool"] == ["red it is", "blue it is"]
    # The agent's own tools remain.
    offered = [tool["function"]["name"] for tool in model.requests(token)[0]["tools"]]
    assert "pick_color" in offered and "memory_insert" in offered
    # And the next question of the same client is heard, whose messages repeat all that.
    options = {"model": agent.id, "tools": [PICK], **whose}
    more = gpt.chat.completions.create(messages=[*messages, {"role": "user", "content": f"[[echo]] more {token}"}], **options)
    assert f"more {token}" in said(more)
    threads = [one.id for one in client.conversations.list(agent_id=agent.id)]
    assert len(threads) == (1 if user else 0)


def test_several_rounds_repeat_the_past_and_only_the_new_results_are_taken(gpt, agent, model, token):
    messages, reasons = converse(gpt, agent, f"[[steps 3]] {token} {CALL}")
    assert reasons == ["tool_calls"] * 3 + ["stop"]
    told = model.requests(token)[-1]["messages"]
    assert len([m for m in told if m["role"] == "tool"]) == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("remembers", [False, True])
def test_the_loop_of_responses_works_unchanged(gpt, agent, model, token, stream, remembers):
    said, options, kinds_seen = [{"role": "user", "content": f"{token} {BOTH}"}], {}, []
    for _ in range(3):
        if stream:
            with gpt.responses.stream(model=agent.id, input=said, tools=[FLAT], **options) as events:
                kinds_seen += [event.type for event in events]
                response = events.get_final_response()
        else:
            response = gpt.responses.create(model=agent.id, input=said, tools=[FLAT], **options)
        calls = [item for item in response.output if item.type == "function_call"]
        assert response.status == "completed"
        if not calls:
            break
        results = [{"type": "function_call_output", "call_id": c.call_id, "output": pick(c.arguments)} for c in calls]
        if remembers:
            said, options = results, {"previous_response_id": response.id}
        else:
            said = said + [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output] + results
    assert "it is" in response.output_text
    told = model.requests(token)[-1]["messages"]
    assert [m["content"] for m in told if m["role"] == "tool"] == ["red it is", "blue it is"]
    if stream:
        assert kinds_seen.count("response.function_call_arguments.done") == 2
        assert "response.function_call_arguments.delta" in kinds_seen


def test_a_response_tells_its_tools(gpt, agent, token):
    response = gpt.responses.create(model=agent.id, input=CALL, tools=[FLAT], tool_choice="auto", user=token)
    assert [tool.name for tool in response.tools] == ["pick_color"] and response.tool_choice == "auto"
    [item] = response.output
    assert (item.type, item.name, json.loads(item.arguments), item.status) == ("function_call", "pick_color", {"hue": "red"}, "completed")


def test_words_before_a_call_are_told(gpt, agent):
    # The agent's own tool runs first, then the client's.
    answer = gpt.chat.completions.create(
        model=agent.id, messages=[{"role": "user", "content": CALL}], tools=[PICK]
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    assert answer.usage.total_tokens > 0


def test_a_client_that_goes_on_without_a_result_has_given_the_call_up(gpt, client, agent, model, token):
    ask = {"model": agent.id, "tools": [PICK]}
    gpt.chat.completions.create(messages=[{"role": "user", "content": CALL}], **ask)
    later = gpt.chat.completions.create(messages=[{"role": "user", "content": f"never mind {token}"}], **ask)
    assert said(later)
    told = model.requests(token)[-1]["messages"]
    assert told[-2]["role"] == "tool" and "went on without" in told[-2]["content"]


def test_a_request_for_approval_is_not_given_up_by_a_client_that_does_not_know_of_it(gpt, client, make_agent, token):
    tool = client.tools.create(source_code=ADD.replace("NAME", f"add_{token}"), default_requires_approval=True)
    agent = make_agent(tool_ids=[tool.id])
    call = f'[[call {tool.name} {{"a": 1, "b": 2}}]]'
    first = gpt.chat.completions.create(model=agent.id, messages=[{"role": "user", "content": call}], tools=[PICK])
    assert first.choices[0].finish_reason == "stop" and not first.choices[0].message.tool_calls
    with pytest.raises(openai.ConflictError) as refused:
        gpt.chat.completions.create(model=agent.id, messages=[{"role": "user", "content": "hello?"}])
    assert "approval" in str(refused.value)


def test_a_result_and_more_words_of_the_user_come_together(gpt, agent, model, token):
    first = gpt.chat.completions.create(model=agent.id, messages=[{"role": "user", "content": CALL}], tools=[PICK])
    [call] = first.choices[0].message.tool_calls
    messages = [
        {"role": "user", "content": CALL},
        first.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": f"red {token}"}]},
        {"role": "user", "content": f"and {token}"},
    ]
    assert said(gpt.chat.completions.create(model=agent.id, messages=messages, tools=[PICK]))
    assert [m["role"] for m in model.requests(token)[-1]["messages"][-2:]] == ["tool", "user"]


def test_ids_that_fit_nothing_are_refused_in_openais_form(gpt, agent, token):
    result = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
    asked = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
    user = {"role": "user", "content": CALL}

    def refusal(**options):
        with pytest.raises(openai.BadRequestError) as refused:
            gpt.chat.completions.create(**{"model": agent.id, "tools": [PICK], "messages": [user], **options})
        assert refused.value.type == "invalid_request_error" and refused.value.body["message"]
        return refused.value

    assert "awaiting" in refusal(messages=[user, asked, result]).message
    first = gpt.chat.completions.create(model=agent.id, messages=[user], tools=[PICK])
    [call] = first.choices[0].message.tool_calls
    wrong = refusal(messages=[user, first.choices[0].message, result])
    assert "Invalid tool call IDs" in wrong.message and wrong.param == "messages"
    refusal(messages=[user, {"role": "tool", "content": "x"}])
    for tools in ([{"type": "web_search"}], [{"type": "function", "function": {"name": "a b"}}], [PICK, PICK]):
        assert refusal(tools=tools).param == "tools"
    for choice in ("x", {"type": "function", "function": {"name": "other"}}):
        assert refusal(tool_choice=choice).param == "tool_choice"
    with pytest.raises(openai.BadRequestError) as refused:
        gpt.responses.create(model=agent.id, input=[{"type": "function_call_output", "call_id": "c", "output": "x"}])
    assert refused.value.param == "input"
    # The call still waits, and its result is heard.
    good = {"role": "tool", "tool_call_id": call.id, "content": "red"}
    assert said(gpt.chat.completions.create(model=agent.id, messages=[user, first.choices[0].message, good], tools=[PICK]))


def test_the_choice_of_tools_is_honoured(gpt, agent, model, token):
    def asked(choice):
        options = {"tool_choice": choice} if choice else {}
        messages = [{"role": "user", "content": f"hello {token}"}]
        gpt.chat.completions.create(model=agent.id, messages=messages, tools=[PICK], **options)
        request = model.requests(token)
        return request[-1], [tool["function"]["name"] for tool in request[-1].get("tools", [])]

    for choice in (None, "auto"):
        request, names = asked(choice)
        assert request.get("tool_choice", "auto") == "auto" and "pick_color" in names
    _, names = asked("none")
    assert "pick_color" not in names and "memory_insert" in names
    before = len(model.requests(token))
    asked("required")
    assert model.requests(token)[before]["tool_choice"] == "required"
    before = len(model.requests(token))
    asked({"type": "function", "function": {"name": "pick_color"}})
    only = model.requests(token)[before]
    assert only["tool_choice"] == "required" and [tool["function"]["name"] for tool in only["tools"]] == ["pick_color"]


def test_calls_wait_through_a_power_cut(own_server, own_client, token):
    server = own_server()
    agent = own_client(server).agents.create(model="openai-proxy/scripted")
    with openai_of(server) as sdk:
        user = {"role": "user", "content": CALL}
        first = sdk.chat.completions.create(model=agent.id, messages=[user], tools=[PICK])
        server.kill()
        server.start()
        [call] = first.choices[0].message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": "red it is"}
        messages = [user, first.choices[0].message, result]
        assert "red it is" in said(sdk.chat.completions.create(model=agent.id, messages=messages, tools=[PICK]))


def test_the_history_shows_calls_and_results_as_those_of_every_client(gpt, client, agent):
    converse(gpt, agent, CALL)
    told = kinds(list(client.agents.messages.list(agent.id, order="asc", limit=20)))
    assert told[1:] == ["user_message", "approval_request_message", "approval_response_message", "tool_return_message", "assistant_message"]
    assert send(client, agent, "And now?").stop_reason.stop_reason == "end_turn"
    chunks = gpt.chat.completions.create(model=agent.id, messages=[{"role": "user", "content": "hello"}], stream=True)
    assert streamed(chunks)
