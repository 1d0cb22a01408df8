"""Sends one request to the HookHub API, and classifies the response by what to do with the events."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any, Union

# Ten times the receipts of a full batch.
MAX_ANSWER_BYTES = 1 << 20
# A shorter key is no secret, and redacting it would garble ordinary text.
MIN_KEY = 8
_TOO_SLOW = 408
_PASSING = frozenset({_TOO_SLOW, 425, 429})
# The 408 of a server that aborts a slow request rarely reaches the client, which sees a reset connection instead. A
# body smaller than this arrives in time on any uplink, so that a reset then has another cause.
MIN_SLOW_BYTES = 64 << 10
_TOO_LARGE = 413
_ACCEPTED = frozenset({200, 201, 202})
# In the errors of a batch, a field is prefixed with its event.
_IN_EVENT = re.compile(r"events\[\d+\]\.(.*)", re.DOTALL)
# Fields whose errors can be fixed without changing the event, by creating what they name.
_CURED_ELSEWHERE = frozenset({"organization", "repository"})
_OF_AN_EVENT = frozenset({"type", "data", "id", "timestamp", "request"})


@dataclass(frozen=True)
class Accepted:
    """HookHub has stored the events."""


@dataclass(frozen=True)
class Rejected:
    """The content of an event is invalid; retrying cannot help."""

    problem: str


@dataclass(frozen=True)
class TooLarge:
    """The request exceeds the size limit of HookHub or of a proxy; send it in smaller parts."""

    problem: str


@dataclass(frozen=True)
class Unavailable:
    """It is unknown whether HookHub has stored the events; retry later.

    ``may_be_too_slow`` is True if smaller parts may succeed on a slow uplink.
    """

    problem: str
    retry_after_seconds: float = 0
    may_be_too_slow: bool = False


@dataclass(frozen=True)
class Misconfigured:
    """Retrying cannot help until a setting is changed, on this host or at HookHub."""

    problem: str


Answer = Union[Accepted, Rejected, TooLarge, Unavailable, Misconfigured]


@dataclass(frozen=True)
class ApiError:
    """An error in the format of the HookHub API: its message, and a (field, message) pair for each invalid field."""

    message: str
    fields: tuple[tuple[str, str], ...]

    @property
    def is_about_content(self) -> bool:
        """Return whether the content of an event is invalid, as opposed to the key, the address or the request."""
        return any(_is_content(name) for name, _ in self.fields)

    @property
    def is_about_repository(self) -> bool:
        """Return whether the events name a repository that does not exist at HookHub."""
        return any(_field_in_event(name) == "repository" for name, _ in self.fields)

    @property
    def is_about_case(self) -> bool:
        """Return whether HookHub has a repository whose name differs only in case."""
        return any(" only in case" in message for _, message in self.fields)

    def __str__(self) -> str:
        """Return the error in one line."""
        return "; ".join([self.message, *(f"{name}: {message}" for name, message in self.fields[:5])])


@dataclass(frozen=True)
class Response:
    """An HTTP response; ``error`` is the API's error, or None for a success or a response that is not the API's."""

    status: int
    body: bytes
    error: ApiError | None
    retry_after_seconds: float = 0

    def __str__(self) -> str:
        """Return a description of the response for the user."""
        if self.error is not None:
            return f"HookHub answered {self.status}: {self.error}"
        beginning = self.body[:200].decode("utf-8", errors="replace")
        return f"the answer was {self.status}, but not a HookHub API response: {beginning!r}. Check the URL"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as a wrong URL: following it would turn POST into GET and send the key to another host."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def send(lines: bytes, *, url: str, api_key: str, timeout_seconds: float) -> Answer:
    """Post events, one JSON object per line, to the HookHub at ``url``."""
    answer = post(
        "/v1/events", lines, "application/x-ndjson", url=url, api_key=api_key, timeout_seconds=timeout_seconds
    )
    return answer if isinstance(answer, Unavailable) else _classify(answer, url=url)


def post(
    path: str, body: bytes, content_type: str, *, url: str, api_key: str, timeout_seconds: float
) -> Response | Unavailable:
    """Send one POST request and return the response, with the API key redacted."""
    request = urllib.request.Request(  # noqa: S310 - the administrator's URL, validated when it was read.
        f"{url.rstrip('/')}{path}",
        data=body,
        method="POST",
        headers={
            "Authorization": f"Bearer {api_key}",
            "Content-Type": content_type,
            "Accept": "application/json",
            "User-Agent": "HookHub-post-receive/1",
        },
    )
    try:
        try:
            with _opener.open(request, timeout=timeout_seconds) as answer:
                return _response(answer.status, answer, answer.headers.get("Retry-After"), api_key=api_key)
        except urllib.error.HTTPError as error:
            with error:
                return _response(error.code, error, error.headers.get("Retry-After"), api_key=api_key)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        is_cut = isinstance(reason, (BrokenPipeError, ConnectionResetError)) and len(body) > MIN_SLOW_BYTES
        return Unavailable(without_key(f"no response from {url}: {reason}", api_key), may_be_too_slow=is_cut)


def without_key(text: str, api_key: str) -> str:
    """Redact the API key in a text; a server's response or an exception may echo it."""
    return text.replace(api_key, "[API key]") if len(api_key) >= MIN_KEY else text


def _classify(answer: Response, *, url: str) -> Answer:
    problem = str(answer)
    if answer.status in _ACCEPTED:
        return Accepted() if answer.status == 202 and _has_receipts(answer.body) else Misconfigured(f"{url}: {problem}")
    if answer.status >= 500 or answer.status in _PASSING:
        is_slow = answer.status == _TOO_SLOW
        return Unavailable(problem, retry_after_seconds=answer.retry_after_seconds, may_be_too_slow=is_slow)
    if answer.error is not None and answer.error.is_about_content:
        return Rejected(problem)
    if answer.status == _TOO_LARGE:
        return TooLarge(problem)
    if answer.error is not None and answer.error.is_about_repository:
        return Misconfigured(f"{problem}. Create the repository, then push again or run the hook with --flush")
    return Misconfigured(problem)


def _is_content(field: str) -> bool:
    inner = _field_in_event(field)
    # An unknown field of an event, such as one from a later version of the API, is content too.
    is_in_event = _IN_EVENT.fullmatch(field) is not None
    return inner in _OF_AN_EVENT or (is_in_event and inner not in _CURED_ELSEWHERE)


def _field_in_event(field: str) -> str:
    matched = _IN_EVENT.fullmatch(field)
    return re.split(r"[.\[/]", matched[1] if matched else field, maxsplit=1)[0]


def _response(status: int, answer: IO[bytes], retry_after: str | None, *, api_key: str) -> Response:
    try:
        body = answer.read(MAX_ANSWER_BYTES)
    except (OSError, HTTPException):
        body = b"(the response was incomplete)"
    body = without_key(body.decode("utf-8", errors="replace"), api_key).encode()
    return Response(status, body, _error(body), retry_after_seconds=_seconds(retry_after))


def _seconds(retry_after: str | None) -> float:
    plain = retry_after is not None and retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 7
    return float(retry_after or 0) if plain else 0


def _error(body: bytes) -> ApiError | None:
    """Parse an error body in the API's format; return None for any other body."""
    document = _document(body)
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return None
    if not isinstance(error.get("fields"), list):
        return None
    rows = [row for row in error["fields"] if isinstance(row, dict)]
    fields = tuple((str(row.get("field")), str(row.get("message"))) for row in rows)
    return ApiError(str(error.get("message")), fields)


def _has_receipts(body: bytes) -> bool:
    document = _document(body)
    return isinstance(document, dict) and ("events" in document or "id" in document)


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
