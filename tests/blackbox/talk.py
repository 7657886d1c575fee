"""Talking to an agent through the SDK, and reading what comes back."""

import json


def user(text, **fields):
    return {"role": "user", "content": text, **fields}


def send(client, agent, text, **options):
    """One user message, answered as JSON."""
    return client.agents.messages.create(getattr(agent, "id", agent), messages=[user(text)], **options)


def stream(client, agent, text, **options):
    """One user message, answered as a stream: all its frames."""
    with client.agents.messages.stream(
        getattr(agent, "id", agent), messages=[user(text)], **options
    ) as frames:
        return list(frames)


def kinds(messages):
    return [message.message_type for message in messages]


def of_kind(messages, kind):
    return [message for message in messages if message.message_type == kind]


def reply(answer):
    """The assistant's words in an answer or a list of frames."""
    messages = getattr(answer, "messages", answer)
    return "".join(message.content for message in of_kind(messages, "assistant_message"))


def stop_reason(frames):
    return of_kind(frames, "stop_reason")[-1].stop_reason


def read_sse(lines):
    """The (event, data) pairs of a raw stream; data is parsed unless it is [DONE]."""
    event, found = None, []
    for line in lines:
        if line.startswith("event:"):
            event = line[6:].strip()
        elif line.startswith("data:"):
            text = line[5:].strip()
            found.append((event, text if text == "[DONE]" else json.loads(text)))
        elif not line.strip():
            event = None
    return found


def raw_stream(http, path, body):
    """The frames of a streamed answer exactly as the server sends them."""
    with http.stream("POST", path, json=body) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        return read_sse(response.iter_lines())


def system_prompt(request):
    """The system message of a request to the model."""
    first = request["messages"][0]
    assert first["role"] in ("system", "developer"), first
    return first["content"]
