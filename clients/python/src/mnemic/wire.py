"""The server's JSON, read into what the client shows. What an older server leaves out is read as nothing."""

from __future__ import annotations

from typing import Any

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

Json = dict[str, Any]


def agent_of(json: Json) -> Agent:
    """An agent."""
    return Agent(
        id=json["id"],
        name=json.get("name") or "",
        description=json.get("description"),
        model=json.get("model"),
        tags=json.get("tags") or [],
        metadata=json.get("metadata"),
        created_at=json.get("created_at"),
        require_user=json.get("require_user") is True,
    )


def response_of(json: Json) -> MessageResponse:
    """An answer; it has a message also when the agent said nothing."""
    said = [
        AssistantMessage(id=message.get("id") or "", content=content_of(message.get("content")))
        for message in json.get("messages") or []
    ]
    return MessageResponse(
        messages=said or [AssistantMessage(id="", content="")],
        memory=memory_of(json.get("memory") or {}),
        usage=usage_of(json.get("usage") or {}),
        stop_reason=_stop_reason_of(json.get("stop_reason")),
        run_id=json.get("run_id") or "",
        conversation_id=json.get("conversation_id") or "",
        user_id=json.get("user_id"),
    )


def _stop_reason_of(reason: Any) -> str:
    """A word, or the frame of a stream that holds it."""
    word = reason.get("stop_reason") if isinstance(reason, dict) else reason
    return word or ""


def memory_of(json: Json) -> MemoryChanges:
    """What a turn wrote."""
    return MemoryChanges(
        blocks=[
            BlockChange(id=one["id"], label=one["label"], before=one.get("before"), after=one.get("after") or "")
            for one in json.get("blocks") or []
        ],
        passages=[PassageAdded(id=one["id"], content=one["content"]) for one in json.get("passages") or []],
    )


def usage_of(json: Json) -> Usage:
    """What a turn cost."""
    names = Usage.__dataclass_fields__
    return Usage(**{name: json.get(name) or 0 for name in names})


def result_of(json: Json) -> SearchResult:
    """Something found."""
    return SearchResult(
        id=json["id"],
        content=json.get("content") or "",
        score=json.get("score") or 0.0,
        created_at=json.get("created_at"),
        tags=json.get("tags") or [],
        user_id=json.get("user_id"),
    )


def added_of(json: Json) -> AddedMemory:
    """Where something was put."""
    return AddedMemory(type=json["type"], id=json["id"], label=json.get("label"), value=json.get("value"))


def history_message_of(json: Json) -> HistoryMessage | None:
    """A message that one of the two said."""
    kind, message_id, date = json.get("message_type"), json["id"], json.get("date")
    content = content_of(json.get("content"))
    if kind == "user_message":
        return HistoryMessage(message_id, "user", content, date)
    if kind == "assistant_message":
        return HistoryMessage(message_id, "assistant", content, date)
    return None


def token_of(json: Json) -> UserToken:
    """A token."""
    return UserToken(
        token=json["token"], agent_id=json["agent_id"], user_id=json["user_id"], expires_at=json["expires_at"]
    )


def receipt_of(json: Json) -> ForgetReceipt:
    """What was forgotten."""
    return ForgetReceipt(
        user_id=json.get("user_id"),
        removed=json.get("removed") or {},
        common_blocks=json.get("common_blocks") or [],
        erased=json.get("erased") is True,
        left=json.get("left"),
        copies=[DatabaseCopy(one["name"], one["made_at"], one["expires_at"]) for one in json.get("copies") or []],
    )


def content_of(content: Any) -> str:
    """Content is a text, or parts of which some are texts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or [] if isinstance(part, dict))
