"""Requests with their time limits, repeated where that is safe."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx

from .asks import SILENCE, Ask, Settings
from .errors import MnemicError, error_of_answer


class Connection:
    """For the synchronous client."""

    def __init__(self, settings: Settings, http: httpx.Client | None) -> None:
        self.settings = settings
        self.http = http or httpx.Client()

    def json(self, ask: Ask, timeout: float | None = None) -> Any:
        """The JSON of an answer."""
        response = self._repeated(ask, timeout or self.settings.timeout, stream=False)
        return parsed(response)

    def open(self, ask: Ask) -> httpx.Response:
        """An answer whose body is still to be read."""
        return self._repeated(ask, SILENCE, stream=True)

    def _repeated(self, ask: Ask, timeout: float, *, stream: bool) -> httpx.Response:
        attempt = 0
        while True:
            try:
                return self._attempt(ask, timeout, attempt, stream=stream)
            except MnemicError as error:
                pause = ask.pause(error, attempt, self.settings)
                if pause is None:
                    raise
            time.sleep(pause)
            attempt += 1

    def _attempt(self, ask: Ask, timeout: float, attempt: int, *, stream: bool) -> httpx.Response:
        request = _request(self.http, ask, timeout, self.settings.headers_of(attempt), self.settings)
        try:
            response = self.http.send(request, stream=stream)
            if response.is_success:
                return response
            raise error_of_answer(response, response.read().decode(errors="replace"))
        except httpx.HTTPError as error:
            raise ask.failure(error, self.settings) from error


class AsyncConnection:
    """For the asynchronous client."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient | None) -> None:
        self.settings = settings
        self.http = http or httpx.AsyncClient()

    async def json(self, ask: Ask, timeout: float | None = None) -> Any:
        """The JSON of an answer."""
        response = await self._repeated(ask, timeout or self.settings.timeout, stream=False)
        return parsed(response)

    async def open(self, ask: Ask) -> httpx.Response:
        """An answer whose body is still to be read."""
        return await self._repeated(ask, SILENCE, stream=True)

    async def _repeated(self, ask: Ask, timeout: float, *, stream: bool) -> httpx.Response:
        attempt = 0
        while True:
            try:
                return await self._attempt(ask, timeout, attempt, stream=stream)
            except MnemicError as error:
                pause = ask.pause(error, attempt, self.settings)
                if pause is None:
                    raise
            await asyncio.sleep(pause)
            attempt += 1

    async def _attempt(self, ask: Ask, timeout: float, attempt: int, *, stream: bool) -> httpx.Response:
        request = _request(self.http, ask, timeout, self.settings.headers_of(attempt), self.settings)
        try:
            response = await self.http.send(request, stream=stream)
            if response.is_success:
                return response
            raise error_of_answer(response, (await response.aread()).decode(errors="replace"))
        except httpx.HTTPError as error:
            raise ask.failure(error, self.settings) from error


def parsed(response: httpx.Response) -> Any:
    """The JSON of an answer, which may be empty."""
    try:
        return json.loads(response.content) if response.content else None
    except ValueError as error:
        raise MnemicError(
            f"the answer is no JSON ({error}); is this the server's address?",
            code="bad_answer",
            status=response.status_code,
            details=response.text[:500],
        ) from error


def _request(
    http: httpx.Client | httpx.AsyncClient, ask: Ask, timeout: float, headers: dict[str, str], settings: Settings
) -> httpx.Request:
    return http.build_request(
        ask.method,
        settings.base_url + ask.path,
        params=ask.parameters() or None,
        json=ask.body,
        headers=headers,
        timeout=timeout,
    )
