"""Answers while the agent speaks."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

import httpx

from . import asks
from .asks import Ask
from .connection import AsyncConnection, Connection
from .errors import MnemicError, error_of_frame
from .types import MemoryChanges, Usage
from .wire import content_of, memory_of, usage_of

T = TypeVar("T")


class Answer:
    """What has been read of a stream."""

    def __init__(self) -> None:
        self.request_id: str | None = None
        self.run_id: str | None = None
        self.memory = MemoryChanges()
        self.usage = Usage()
        self.stop_reason = ""
        self.text = ""
        self.is_whole = False
        self.failure: MnemicError | None = None
        self._message_id: str | None = None
        self._event = ""
        self._rest = b""

    def lines(self, chunk: bytes) -> list[str]:
        """The lines that a chunk completes. Only line feeds end them: a text may hold other separators of lines."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        return [line.decode(errors="replace").rstrip("\r") for line in whole]

    def line(self, line: str) -> str:
        """Takes a line of the stream, whose frames have one line of data each; the piece of text that it brings."""
        if not line:
            self._event = ""
        elif line.startswith("event:"):
            self._event = line[6:].strip()
        elif line.startswith("data:"):
            return self._data(line[5:].strip())
        return ""

    def _data(self, data: str) -> str:
        if data == "[DONE]":
            self.is_whole = True
            return ""
        frame: Any = json.loads(data)
        self.run_id = frame.get("run_id") or self.run_id
        kind = frame.get("message_type")
        if self._event == "error" or kind == "error_message":
            raise self.fail(error_of_frame(frame, self.request_id))
        if kind == "usage_statistics":
            self.usage = usage_of(frame)
        elif kind == "memory":
            self.memory = memory_of(frame)
        elif kind == "stop_reason":
            self.stop_reason = frame["stop_reason"]
        elif kind == "assistant_message":
            return self._said(frame["id"], content_of(frame.get("content")))
        return ""

    def _said(self, message_id: str, delta: str) -> str:
        if not delta:
            return ""
        # What an agent says after it used a tool begins a new paragraph.
        if self._message_id not in (None, message_id):
            delta = "\n\n" + delta
        self._message_id = message_id
        self.text += delta
        return delta

    def interrupted(self, why: object) -> MnemicError:
        """The error of a stream that ends in the middle."""
        return MnemicError(
            f"the stream broke off ({why}); the run goes on, and its answer will stand in the history",
            code="stream_interrupted",
            request_id=self.request_id,
        )

    def fail(self, failure: MnemicError) -> MnemicError:
        """Keeps why the stream has no end."""
        self.failure = failure
        return failure

    def ended(self, result: T) -> T:
        """What stands there at the end of the stream."""
        if not self.is_whole:
            raise self.failure or MnemicError("the stream was cancelled", code="cancelled", request_id=self.request_id)
        return result


class _Stream(Generic[T]):
    """What both kinds of streams have in common."""

    def __init__(self, connection: T, agent_id: str, ask: Ask) -> None:
        self._connection = connection
        self._agent_id = agent_id
        self._ask = ask
        self._answer = Answer()
        self._response: httpx.Response | None = None
        self._is_left = False

    @property
    def _is_over(self) -> bool:
        """Whether there is nothing to cancel."""
        return self._is_left or self._answer.is_whole or self._answer.failure is not None


class MessageStream(_Stream[Connection]):
    """The answer while the agent speaks: iterate over it for the pieces of its text.

    `memory`, `usage`, `text` and `stop_reason` read the rest of the stream first. At the end of a `with` block, and by
    `cancel`, a run that still goes on is cancelled on the server.
    """

    def __init__(self, connection: Connection, agent_id: str, ask: Ask) -> None:
        super().__init__(connection, agent_id, ask)
        self._response = connection.open(ask)
        self._answer.request_id = self._response.headers.get("x-request-id")
        self._pieces = self._read(self._response)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(filter(None, self._pieces))

    def __enter__(self) -> MessageStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    @property
    def memory(self) -> MemoryChanges:
        """What the turn wrote into the memory."""
        return self._at_the_end(lambda answer: answer.memory)

    @property
    def usage(self) -> Usage:
        """What the turn cost."""
        return self._at_the_end(lambda answer: answer.usage)

    @property
    def stop_reason(self) -> str:
        """Why the turn ended."""
        return self._at_the_end(lambda answer: answer.stop_reason)

    @property
    def text(self) -> str:
        """The whole text."""
        return self._at_the_end(lambda answer: answer.text)

    def cancel(self) -> None:
        """Cancels the run on the server, unless it has ended."""
        if self._is_over:
            return
        try:
            while self._answer.run_id is None and next(self._pieces, None) is not None:
                pass
            if self._answer.run_id is not None and not self._is_over:
                self._connection.json(asks.cancel(self._agent_id, self._answer.run_id))
        except MnemicError:
            # There is no run, or it ends by itself.
            pass
        finally:
            self._is_left = True
            self._pieces.close()
            self._close()

    def _at_the_end(self, get: Callable[[Answer], T]) -> T:
        for _ in self._pieces:
            pass
        return self._answer.ended(get(self._answer))

    def _read(self, response: httpx.Response) -> Generator[str, None, None]:
        """The pieces; what brings no text is an empty one."""
        try:
            for chunk in response.iter_bytes():
                for line in self._answer.lines(chunk):
                    yield self._answer.line(line)
                if self._answer.is_whole:
                    return
            raise self._answer.fail(self._answer.interrupted("it ended in the middle"))
        except httpx.HTTPError as error:
            raise self._answer.fail(self._answer.interrupted(error)) from error
        finally:
            self._close()

    def _close(self) -> None:
        if self._response is not None:
            self._response.close()


class AsyncMessageStream(_Stream[AsyncConnection]):
    """The answer while the agent speaks: iterate over it for the pieces of its text.

    The message is sent with the first step of the iteration, or by `async with`. `memory`, `usage`, `text` and `stop_reason`
    read the rest of the stream first. At the end of an `async with` block, and by `cancel`, a run that still goes on is
    cancelled on the server.
    """

    def __init__(self, connection: AsyncConnection, agent_id: str, ask: Ask) -> None:
        super().__init__(connection, agent_id, ask)
        self._pieces = self._read()

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        async for piece in self._pieces:
            if piece:
                return piece
        raise StopAsyncIteration

    async def __aenter__(self) -> AsyncMessageStream:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cancel()

    async def memory(self) -> MemoryChanges:
        """What the turn wrote into the memory."""
        return await self._at_the_end(lambda answer: answer.memory)

    async def usage(self) -> Usage:
        """What the turn cost."""
        return await self._at_the_end(lambda answer: answer.usage)

    async def stop_reason(self) -> str:
        """Why the turn ended."""
        return await self._at_the_end(lambda answer: answer.stop_reason)

    async def text(self) -> str:
        """The whole text."""
        return await self._at_the_end(lambda answer: answer.text)

    async def cancel(self) -> None:
        """Cancels the run on the server, unless it has ended or not begun."""
        if self._is_over:
            return
        try:
            if self._response is not None:
                while self._answer.run_id is None and await anext(self._pieces, None) is not None:
                    pass
            if self._answer.run_id is not None and not self._is_over:
                await self._connection.json(asks.cancel(self._agent_id, self._answer.run_id))
        except MnemicError:
            # There is no run, or it ends by itself.
            pass
        finally:
            self._is_left = True
            await self._pieces.aclose()
            await self._close()

    async def _at_the_end(self, get: Callable[[Answer], T]) -> T:
        async for _ in self._pieces:
            pass
        return self._answer.ended(get(self._answer))

    async def _open(self) -> httpx.Response:
        if self._response is None:
            self._response = await self._connection.open(self._ask)
            self._answer.request_id = self._response.headers.get("x-request-id")
        return self._response

    async def _read(self) -> AsyncGenerator[str, None]:
        """The pieces; what brings no text is an empty one."""
        try:
            response = await self._open()
            async for chunk in response.aiter_bytes():
                for line in self._answer.lines(chunk):
                    yield self._answer.line(line)
                if self._answer.is_whole:
                    return
            raise self._answer.fail(self._answer.interrupted("it ended in the middle"))
        except httpx.HTTPError as error:
            raise self._answer.fail(self._answer.interrupted(error)) from error
        finally:
            await self._close()

    async def _close(self) -> None:
        if self._response is not None:
            await self._response.aclose()
