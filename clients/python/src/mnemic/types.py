"""What calls answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Agent:
    """An agent."""

    id: str
    name: str
    description: str | None
    model: str | None
    tags: list[str]
    metadata: dict[str, Any] | None
    created_at: str | None
    require_user: bool


@dataclass(frozen=True)
class AssistantMessage:
    """What an agent said."""

    id: str
    content: str
    role: Literal["assistant"] = "assistant"


@dataclass(frozen=True)
class BlockChange:
    """A block of core memory before and after a turn; `before` is None for a block that the turn made."""

    id: str
    label: str
    before: str | None
    after: str


@dataclass(frozen=True)
class PassageAdded:
    """A passage that a turn put into the archival memory."""

    id: str
    content: str


@dataclass(frozen=True)
class MemoryChanges:
    """What a turn wrote into the memory."""

    blocks: list[BlockChange] = field(default_factory=list)
    passages: list[PassageAdded] = field(default_factory=list)


@dataclass(frozen=True)
class Usage:
    """What a turn cost."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    #: How many times the model was asked.
    step_count: int = 0


@dataclass(frozen=True)
class MessageResponse:
    """An agent's answer."""

    #: `messages[0].content` is the answer's whole text.
    messages: list[AssistantMessage]
    memory: MemoryChanges
    usage: Usage
    #: Why the turn ended: `end_turn`, or what went wrong.
    stop_reason: str
    run_id: str
    conversation_id: str
    user_id: str | None


@dataclass(frozen=True)
class SearchResult:
    """Something found."""

    id: str
    content: str
    score: float
    created_at: str | None
    tags: list[str]
    #: Whose it is; None for what is common to all.
    user_id: str | None


@dataclass(frozen=True)
class AddedMemory:
    """Where something was put: a passage, or a block with its value."""

    type: str
    id: str
    label: str | None
    value: str | None


@dataclass(frozen=True)
class HistoryMessage:
    """A message of a history."""

    id: str
    role: Literal["user", "assistant"]
    content: str
    created_at: str | None


@dataclass(frozen=True)
class DatabaseCopy:
    """A copy of the database that the server made before it changed its tables, and that still holds what was forgotten."""

    name: str
    made_at: str
    #: When the server deletes it.
    expires_at: str


@dataclass(frozen=True)
class ForgetReceipt:
    """What forgetting a person removed, and what is left."""

    user_id: str | None
    #: How many of each kind went: messages, passages, blocks and more.
    removed: dict[str, int]
    #: Blocks of everybody that lost the lines which this person's turns had added to them.
    common_blocks: list[str]
    #: Whether nothing of it is in the database's files any more.
    erased: bool
    #: What is left in them, and why.
    left: str | None
    copies: list[DatabaseCopy]


@dataclass(frozen=True)
class UserToken:
    """A token for one person's chat, history, search and data; safe to give to their browser."""

    token: str
    agent_id: str
    user_id: str
    expires_at: str
