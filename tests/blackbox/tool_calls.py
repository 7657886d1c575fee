"""Calls of tools that people write, and what they bring."""

import json

from talk import of_kind, send

DOCS = '"""Does it.\n\n    Args:\n        a (int): first\n    """'


ASKS = """
def NAME(method: str, path: str, body: dict):
    '''Asks.

    Args:
        method: m
        path: p
        body: b
    '''
    import json
    status, _, text = client._door.ask(method, path, "application/json", json.dumps(body).encode())
    return [status, text.decode()]
"""


# A picture of one pixel.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def directive(name, **arguments):
    """What makes the scripted model call a tool. Directives within the arguments are for whoever is told them."""
    text = json.dumps(arguments).replace("[[", "\\u005b\\u005b").replace("]]", "\\u005d\\u005d")
    return f"[[call {name} {text}]]"


def called(client, agent, name, **arguments):
    """What a tool's call brought, as the client sees it."""
    answer = send(client, agent, f"[[call {name} {json.dumps(arguments)}]]")
    return of_kind(answer.messages, "tool_return_message")[-1]


def block(client, agent, label="human"):
    return client.agents.blocks.retrieve(label, agent_id=agent.id).value


def code(client, agent, source, name="run_code", **arguments):
    returned = called(client, agent, name, code=source, **arguments)
    return json.loads(returned.tool_return)
