"""One request to HookHub's API, and what its answer means for the events in it."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any, Union

# The receipts of a full batch are a tenth of it.
MAX_ANSWER_BYTES = 1 << 20
# Shorter ones are no secrets, and would tear holes into sentences.
MIN_KEY = 8
_TOO_SLOW = 408
_PASSING = frozenset({_TOO_SLOW, 425, 429})
# A server that cuts off a slow request is seldom heard saying so. Less than this comes in time on any line.
MIN_SLOW_BYTES = 64 << 10
_TOO_LARGE = 413
_ACCEPTED = frozenset({200, 201, 202})
# In a batch, errors name a field by the event that it is in.
_IN_EVENT = re.compile(r"events\[\d+\]\.(.*)", re.DOTALL)
# Fields of an event that no other bytes would cure, nor need to: what they name can come to be.
_CURED_ELSEWHERE = frozenset({"organization", "repository"})
_OF_AN_EVENT = frozenset({"type", "data", "id", "timestamp", "request"})


@dataclass(frozen=True)
class Accepted:
    """HookHub has the events."""


@dataclass(frozen=True)
class Hopeless:
    """HookHub will never take these bytes."""

    problem: str


@dataclass(frozen=True)
class TooLarge:
    """HookHub, or a proxy before it, takes less at once."""

    problem: str


@dataclass(frozen=True)
class Unavailable:
    """Nobody knows whether HookHub has the events; repeat in a while, or in parts that a slow line can take."""

    problem: str
    retry_after_seconds: float = 0
    may_be_too_slow: bool = False


@dataclass(frozen=True)
class Misconfigured:
    """No repetition will help until somebody changes a setting, here or at HookHub."""

    problem: str


Answer = Union[Accepted, Hopeless, TooLarge, Unavailable, Misconfigured]


@dataclass(frozen=True)
class Refusal:
    """HookHub's own error body."""

    message: str
    fields: tuple[tuple[str, str], ...]

    @property
    def is_of_these_bytes(self) -> bool:
        """Return whether it is about what the events hold, and not about who sends them, where, or how."""
        return any(_is_content(name) for name, _ in self.fields)

    @property
    def names_repository(self) -> bool:
        """Return whether HookHub does not have the repository that the events are about."""
        return any(_field_in_event(name) == "repository" for name, _ in self.fields)

    @property
    def is_about_case(self) -> bool:
        """Return whether HookHub has a repository of this name, written in another case."""
        return any(" in case only" in message for _, message in self.fields)

    def __str__(self) -> str:
        """Return it in one line."""
        return "; ".join([self.message, *(f"{name}: {message}" for name, message in self.fields[:5])])


@dataclass(frozen=True)
class Response:
    """What came back: ``refusal`` is HookHub's own error, None when something else was said or answered."""

    status: int
    body: bytes
    refusal: Refusal | None
    retry_after_seconds: float = 0

    def __str__(self) -> str:
        """Return it in words."""
        if self.refusal is not None:
            return f"HookHub answered {self.status}: {self.refusal}"
        beginning = self.body[:200].decode("utf-8", errors="replace")
        return f"the answer was {self.status} and not in HookHub's form: {beginning!r}. Is this its address?"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Take a redirect for what it is here, a wrong address: following it would turn POST into GET and leak the key."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def send(lines: bytes, *, url: str, api_key: str, timeout_seconds: float) -> Answer:
    """Post events, one JSON object a line, to the HookHub at ``url``."""
    answer = post(
        "/v1/events", lines, "application/x-ndjson", url=url, api_key=api_key, timeout_seconds=timeout_seconds
    )
    return answer if isinstance(answer, Unavailable) else _judge(answer, url=url)


def post(
    path: str, body: bytes, content_type: str, *, url: str, api_key: str, timeout_seconds: float
) -> Response | Unavailable:
    """Make one request and return what came back, in which the key is not repeated."""
    request = urllib.request.Request(  # noqa: S310 - the address is the administrator's, checked when it was read.
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
        except urllib.error.HTTPError as refused:
            with refused:
                return _response(refused.code, refused, refused.headers.get("Retry-After"), api_key=api_key)
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        is_cut = isinstance(reason, (BrokenPipeError, ConnectionResetError)) and len(body) > MIN_SLOW_BYTES
        return Unavailable(without_key(f"no answer from {url}: {reason}", api_key), may_be_too_slow=is_cut)


def without_key(text: str, api_key: str) -> str:
    """Return a text in which the key is not shown: a server may send back what it was sent, and so may an exception."""
    return text.replace(api_key, "[the API key]") if len(api_key) >= MIN_KEY else text


def _judge(answer: Response, *, url: str) -> Answer:
    problem = str(answer)
    if answer.status in _ACCEPTED:
        return Accepted() if answer.status == 202 and _has_receipts(answer.body) else Misconfigured(f"{url}: {problem}")
    if answer.status >= 500 or answer.status in _PASSING:
        is_slow = answer.status == _TOO_SLOW
        return Unavailable(problem, retry_after_seconds=answer.retry_after_seconds, may_be_too_slow=is_slow)
    if answer.refusal is not None and answer.refusal.is_of_these_bytes:
        return Hopeless(problem)
    if answer.status == _TOO_LARGE:
        return TooLarge(problem)
    if answer.refusal is not None and answer.refusal.names_repository:
        return Misconfigured(f"{problem}. Create the repository, then push again or run the hook with --flush")
    return Misconfigured(problem)


def _is_content(field: str) -> bool:
    inner = _field_in_event(field)
    # What is in an event and is unknown here, such as a field that a later HookHub takes, is content too.
    is_in_event = _IN_EVENT.fullmatch(field) is not None
    return inner in _OF_AN_EVENT or (is_in_event and inner not in _CURED_ELSEWHERE)


def _field_in_event(field: str) -> str:
    matched = _IN_EVENT.fullmatch(field)
    return re.split(r"[.\[/]", matched[1] if matched else field, maxsplit=1)[0]


def _response(status: int, answer: IO[bytes], retry_after: str | None, *, api_key: str) -> Response:
    try:
        body = answer.read(MAX_ANSWER_BYTES)
    except (OSError, HTTPException):
        body = b"(the answer broke off)"
    body = without_key(body.decode("utf-8", errors="replace"), api_key).encode()
    return Response(status, body, _refusal(body), retry_after_seconds=_seconds(retry_after))


def _seconds(retry_after: str | None) -> float:
    plain = retry_after is not None and retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 7
    return float(retry_after or 0) if plain else 0


def _refusal(body: bytes) -> Refusal | None:
    """Read an error body of HookHub's own form; None for every other."""
    document = _document(body)
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return None
    if not isinstance(error.get("fields"), list):
        return None
    rows = [row for row in error["fields"] if isinstance(row, dict)]
    fields = tuple((str(row.get("field")), str(row.get("message"))) for row in rows)
    return Refusal(str(error.get("message")), fields)


def _has_receipts(body: bytes) -> bool:
    document = _document(body)
    return isinstance(document, dict) and ("events" in document or "id" in document)


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
