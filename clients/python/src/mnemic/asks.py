"""The requests of all calls, as the synchronous and the asynchronous client send them."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import httpx

from .errors import MnemicError

BASE_URL = "http://localhost:8283"
#: Seconds for a call in which no agent speaks, and for a whole answer of an agent.
TIMEOUT, TURN_TIMEOUT = 60.0, 600.0
#: Longest silence of a stream: the server sends a sign of life every 20 seconds.
SILENCE = 65.0
MAX_RETRIES = 2
#: What the server begins its user tokens with.
USER_TOKEN = "mnu_"
PAGE = 100
#: The kinds of a history; a summary that is asked for does not pass as something that the user said.
SPOKEN = ["user_message", "assistant_message", "summary_message"]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
#: Whoever is asked to wait longer is told so in place of waiting.
LONGEST_RETRY_AFTER = 60.0


@dataclass(frozen=True)
class Settings:
    """How the server is found and asked."""

    api_key: str | None
    base_url: str
    timeout: float
    turn_timeout: float
    max_retries: int
    headers: Mapping[str, str]

    @property
    def is_one_persons(self) -> bool:
        """Whether the key is a user token: whatever names nobody is about its person then."""
        return self.api_key is not None and self.api_key.startswith(USER_TOKEN)

    def headers_of(self, attempt: int) -> dict[str, str]:
        """The headers of one attempt."""
        sent = {"accept": "application/json"}
        if self.api_key:
            sent["authorization"] = f"Bearer {self.api_key}"
        if attempt:
            # By this the server knows a message again that it got before.
            sent["x-stainless-retry-count"] = str(attempt)
        return sent | dict(self.headers)


def settings_of(
    api_key: str | None,
    base_url: str | None,
    *,
    timeout: float,
    turn_timeout: float,
    max_retries: int,
    headers: Mapping[str, str] | None,
) -> Settings:
    """What is given, else what the environment says."""
    address = base_url or _environment("MNEMIC_BASE_URL", "LETTA_BASE_URL") or BASE_URL
    if not address.lower().startswith(("http://", "https://")):
        raise MnemicError(
            f"base_url is {address!r}; it has to begin with http:// or https://", code="invalid_base_url"
        )
    return Settings(
        api_key=api_key or _environment("MNEMIC_TOKEN", "LETTA_API_KEY", "LETTA_TOKEN"),
        base_url=address.rstrip("/"),
        timeout=timeout,
        turn_timeout=turn_timeout,
        max_retries=max_retries,
        headers=headers or {},
    )


def _environment(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


@dataclass(frozen=True)
class Ask:
    """One request."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    #: Whether it may be sent again when nobody knows if it arrived.
    repeatable: bool
    query: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] | None = None

    def parameters(self) -> dict[str, Any]:
        """The query without what is not set."""
        return {name: value for name, value in self.query.items() if value is not None}

    def pause(self, error: MnemicError, attempt: int, settings: Settings) -> float | None:
        """How long to wait before it is sent again; None when it must not be."""
        if attempt >= settings.max_retries:
            return None
        if error.status in (429, 503):
            if error.retry_after is not None:
                return error.retry_after if error.retry_after <= LONGEST_RETRY_AFTER else None
        elif error.code != "network_error" or not self.repeatable:
            return None
        # Clients that failed together do not come back together.
        return min(FIRST_PAUSE * 2.0**attempt, LONGEST_PAUSE) * random.uniform(0.75, 1.0)

    def failure(self, error: httpx.HTTPError, settings: Settings) -> MnemicError:
        """The error of a request that got no answer."""
        # A connection that could not be made in time is a lost one: nothing has been sent.
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return MnemicError(f"{self.method} {self.path} had no answer in time", code="timeout")
        return MnemicError(
            f"no answer from {settings.base_url} ({error}); is the server running there?", code="network_error"
        )


def create_agent(fields: dict[str, Any]) -> Ask:
    """A new agent."""
    return Ask("POST", "/api/agents/", repeatable=fields.get("if_not_exists") is True, body=_given(fields))


def list_agents(after: str | None) -> Ask:
    """A page of all agents."""
    query = {"limit": PAGE, "order": "asc", "include_relationships": "", "after": after}
    return Ask("GET", "/v1/agents/", repeatable=True, query=query)


def get_agent(agent_id: str) -> Ask:
    """One agent."""
    return Ask("GET", _agent(agent_id), repeatable=True, query={"include_relationships": ""})


def delete_agent(agent_id: str) -> Ask:
    """The end of an agent."""
    return Ask("DELETE", _agent(agent_id), repeatable=True)


def message(agent_id: str, text: str, user_id: str | None, otid: str | None, **more: Any) -> Ask:
    """A message. It is safe to repeat: the server knows it again by its otid."""
    path = f"/api/agents/{_segment('the agent id', agent_id)}/messages"
    body = {"message": text, "user_id": user_id, "otid": otid or str(uuid.uuid4()), **more}
    return Ask("POST", path, repeatable=True, body=_given(body))


def cancel(agent_id: str, run_id: str) -> Ask:
    """The end of a run."""
    return Ask("POST", f"{_agent(agent_id)}/messages/cancel", repeatable=True, body={"run_ids": [run_id]})


def search_memory(agent_id: str, query: str, limit: int | None, user_id: str | None) -> Ask:
    """A search."""
    body = _given({"query": query, "limit": limit, "user_id": user_id})
    return Ask("POST", f"{_agent(agent_id)}/memory/search", repeatable=True, body=body)


def add_memory(agent_id: str, content: str, kind: str, user_id: str | None) -> Ask:
    """Something to remember."""
    body = _given({"content": content, "type": kind, "user_id": user_id})
    return Ask("POST", f"{_agent(agent_id)}/memory", repeatable=False, body=body)


def history(agent_id: str, user_id: str | None, after: str | None, settings: Settings) -> Ask:
    """A page of a history, newest first."""
    thread = "default" if user_id is None and not settings.is_one_persons else None
    query = {
        "user_id": user_id, "conversation_id": thread, "include_return_message_types": SPOKEN,
        "order": "desc", "limit": PAGE, "after": after,
    }
    return Ask("GET", f"{_agent(agent_id)}/messages", repeatable=True, query=query)


def forget_user(agent_id: str, user_id: str) -> Ask:
    """A person who is to be forgotten."""
    return Ask("DELETE", f"{_agent(agent_id)}/users/{_segment('the user_id', user_id)}", repeatable=True)


def create_user_token(agent_id: str, user_id: str, ttl: int | None) -> Ask:
    """A person's token."""
    body = _given({"agent_id": agent_id, "user_id": user_id, "ttl": ttl})
    return Ask("POST", "/v1/user-tokens", repeatable=True, body=body)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _agent(agent_id: str) -> str:
    return f"/v1/agents/{_segment('the agent id', agent_id)}"


def _segment(what: str, value: str) -> str:
    """A part of a path. What would change the path's meaning is refused: `users/..` is another route."""
    if not isinstance(value, str) or value in ("", ".", ".."):
        raise MnemicError(f"{what} is {value!r}, which can't be part of an address", code="invalid_request")
    return quote(value, safe="")
