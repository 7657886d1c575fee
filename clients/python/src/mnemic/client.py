"""The synchronous client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Literal

import httpx

from . import asks, wire
from .connection import Connection
from .streams import MessageStream
from .types import AddedMemory, Agent, ForgetReceipt, HistoryMessage, MessageResponse, SearchResult, UserToken


class MnemicClient:
    """Agents that remember, and what they know of each of your users. Constructing one asks nothing of the server.

    Without `base_url` the environment's `MNEMIC_BASE_URL` or `LETTA_BASE_URL` is taken, or `http://localhost:8283`;
    without `api_key` its `MNEMIC_TOKEN`, `LETTA_API_KEY` or `LETTA_TOKEN`. Times are in seconds.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float = asks.TIMEOUT,
        turn_timeout: float = asks.TURN_TIMEOUT,
        max_retries: int = asks.MAX_RETRIES,
        headers: Mapping[str, str] | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        settings = asks.settings_of(
            api_key, base_url, timeout=timeout, turn_timeout=turn_timeout, max_retries=max_retries, headers=headers
        )
        self.base_url = settings.base_url
        self._connection = Connection(settings, http_client)

    def __enter__(self) -> MnemicClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections to the server."""
        self._connection.http.close()

    def create_agent(
        self,
        *,
        name: str | None = None,
        persona: str | None = None,
        human: str | None = None,
        model: str | None = None,
        embedding_config: str | dict[str, Any] | None = None,
        if_not_exists: bool | None = None,
        require_user: bool | None = None,
        **fields: Any,
    ) -> Agent:
        """Makes an agent; with `if_not_exists`, only where there is none of that name.

        `model` is a handle (`openai/gpt-4o`) or a bare name (`gpt-4o`). Any other field of the V1 API may be given too.
        """
        given = {
            **fields, "name": name, "persona": persona, "human": human, "model": model,
            "embedding_config": embedding_config, "if_not_exists": if_not_exists, "require_user": require_user,
        }
        return wire.agent_of(self._connection.json(asks.create_agent(given)))

    def list_agents(self) -> list[Agent]:
        """All agents, however many pages they fill."""
        return list(self._agents())

    def get_agent(self, agent_id: str) -> Agent:
        """One agent."""
        return wire.agent_of(self._connection.json(asks.get_agent(agent_id)))

    def delete_agent(self, agent_id: str) -> None:
        """Deletes an agent, with all that it knows."""
        self._connection.json(asks.delete_agent(agent_id))

    def send_message(
        self,
        agent_id: str,
        message: str,
        *,
        user_id: str | None = None,
        otid: str | None = None,
        timeout: float | None = None,
    ) -> MessageResponse:
        """Says something to an agent, for a person, and waits for its answer."""
        ask = asks.message(agent_id, message, user_id, otid)
        limit = timeout or self._connection.settings.turn_timeout
        return wire.response_of(self._connection.json(ask, limit))

    def stream_message(
        self, agent_id: str, message: str, *, user_id: str | None = None, otid: str | None = None
    ) -> MessageStream:
        """Says something to an agent; the answer comes while it speaks."""
        ask = asks.message(agent_id, message, user_id, otid, stream=True)
        return MessageStream(self._connection, agent_id, ask)

    def search_memory(
        self, agent_id: str, query: str, *, limit: int | None = None, user_id: str | None = None
    ) -> list[SearchResult]:
        """Searches what was stored: what is common to all and, with `user_id`, what is that person's."""
        found = self._connection.json(asks.search_memory(agent_id, query, limit, user_id))
        return [wire.result_of(one) for one in found["results"]]

    def add_memory(
        self,
        agent_id: str,
        content: str,
        *,
        type: Literal["core_memory", "archival_memory"],
        user_id: str | None = None,
    ) -> AddedMemory:
        """Stores something for a person, or for all."""
        return wire.added_of(self._connection.json(asks.add_memory(agent_id, content, type, user_id)))

    def history(
        self, agent_id: str, *, user_id: str | None = None, limit: int = 50, before: str | None = None
    ) -> list[HistoryMessage]:
        """What was said with a person, oldest first: the newest messages, or those before one of them."""
        found: list[HistoryMessage] = []
        while len(found) < limit:
            page = self._connection.json(asks.history(agent_id, user_id, before, self._connection.settings))
            if not page:
                break
            found += filter(None, map(wire.history_message_of, page))
            before = page[-1]["id"]
        return found[:limit][::-1]

    def forget_user(self, agent_id: str, user_id: str) -> ForgetReceipt:
        """Forgets a person, with their thread, blocks, passages and every trace of them; the answer is the receipt."""
        return wire.receipt_of(self._connection.json(asks.forget_user(agent_id, user_id)))

    def create_user_token(self, *, agent_id: str, user_id: str, ttl: int | None = None) -> UserToken:
        """A token with which a browser may chat as this person, and do nothing else; it holds for `ttl` seconds."""
        return wire.token_of(self._connection.json(asks.create_user_token(agent_id, user_id, ttl)))

    def _agents(self) -> Iterator[Agent]:
        after: str | None = None
        while True:
            page = self._connection.json(asks.list_agents(after))
            yield from map(wire.agent_of, page)
            if len(page) < asks.PAGE:
                return
            after = page[-1]["id"]


LettaClient = MnemicClient
