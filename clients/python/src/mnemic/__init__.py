"""Agents that remember each of your users: the small client of the Mnemic server."""

from .async_client import AsyncMnemicClient
from .client import LettaClient, MnemicClient
from .errors import MnemicError
from .streams import AsyncMessageStream, MessageStream
from .types import (
    AddedMemory,
    Agent,
    AssistantMessage,
    BlockChange,
    DatabaseCopy,
    ForgetReceipt,
    HistoryMessage,
    MemoryChanges,
    MessageResponse,
    PassageAdded,
    SearchResult,
    Usage,
    UserToken,
)

__all__ = [
    "AddedMemory",
    "Agent",
    "AssistantMessage",
    "AsyncMessageStream",
    "AsyncMnemicClient",
    "BlockChange",
    "DatabaseCopy",
    "ForgetReceipt",
    "HistoryMessage",
    "LettaClient",
    "MemoryChanges",
    "MessageResponse",
    "MessageStream",
    "MnemicClient",
    "MnemicError",
    "PassageAdded",
    "SearchResult",
    "Usage",
    "UserToken",
]
