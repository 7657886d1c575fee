"""How calls fail."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import json
from typing import Any

import httpx

CODES = {
    400: "bad_request", 401: "unauthorized", 402: "insufficient_credits", 403: "forbidden", 404: "not_found",
    409: "conflict", 413: "too_large", 422: "invalid_request", 429: "rate_limited", 503: "unavailable",
}


#: What the server says of a credential that it does not know (any more), and what its caller can do about it.
REFUSED = "Unauthorized"
WHY_REFUSED = (
    "the server does not take this api_key: it is missing or wrong, was revoked, or its time is over; get a new one"
)


class MnemicError(Exception):
    """Every failure of a call."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        details: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        #: A word to branch on, such as `not_found`, `rate_limited`, `network_error`, `timeout`.
        self.code = code
        #: The HTTP status; None when no answer came.
        self.status = status
        #: The id under which the server's log has the request.
        self.request_id = request_id
        #: Seconds after which the server would like to be asked again.
        self.retry_after = retry_after
        #: The answer's body, or the frame of the stream, that told of the failure.
        self.details = details


def error_of_answer(response: httpx.Response, text: str) -> MnemicError:
    """The error of an answer that is not a success."""
    body: Any = text
    with contextlib.suppress(ValueError):
        body = json.loads(text)
    code, message = _named(body)
    status = response.status_code
    if status == 401 and message == REFUSED:
        message = WHY_REFUSED
    return MnemicError(
        message or f"the server answered {status} {response.reason_phrase}".rstrip(),
        code=code or CODES.get(status) or ("server_error" if status >= 500 else "request_failed"),
        status=status,
        request_id=response.headers.get("x-request-id"),
        retry_after=_seconds(response.headers.get("retry-after")),
        details=body,
    )


def error_of_frame(frame: dict[str, Any], request_id: str | None) -> MnemicError:
    """The error of a stream's last frame."""
    return MnemicError(
        str(frame.get("message") or "the agent's run failed"),
        code=str(frame.get("error_type") or "run_failed"),
        status=200,
        request_id=request_id,
        details=frame,
    )


def _named(body: Any) -> tuple[str | None, str | None]:
    """Code and message of `{"detail": ...}` (a text, `{code, message}` or `[{loc, msg}]`) or `{"error": {type, message}}`."""
    if not isinstance(body, dict):
        return None, body[:500] if isinstance(body, str) else None
    detail, error = body.get("detail"), body.get("error")
    if isinstance(detail, str):
        return None, detail
    if isinstance(detail, list):
        return None, "; ".join(_issue(one) for one in detail)
    for told in (detail, error):
        if isinstance(told, dict):
            code, message = told.get("code") or told.get("type"), told.get("message")
            return (
                code.lower() if isinstance(code, str) else None,
                message if isinstance(message, str) else json.dumps(told),
            )
    return None, error if isinstance(error, str) else None


def _issue(one: Any) -> str:
    if not isinstance(one, dict):
        return str(one)
    place = ".".join(str(part) for part in one.get("loc") or [])
    said = one.get("msg") or json.dumps(one)
    return f"{place}: {said}" if place else str(said)


def _seconds(header: str | None) -> float | None:
    """`Retry-After` is a number of seconds or a date."""
    if not header:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(header))
    with contextlib.suppress(ValueError, TypeError):
        until = email.utils.parsedate_to_datetime(header)
        return max(0.0, (until - datetime.datetime.now(datetime.timezone.utc)).total_seconds())
    return None
