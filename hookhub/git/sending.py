"""One request to HookHub's API, and what its answer means for the events in it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import IO, Any, Union

MAX_ANSWER_BYTES = 65_536
# These speak about the events themselves: the same bytes will never be accepted. Every other refusal (a wrong key, a
# wrong address, a repository not yet created) is cured elsewhere, and must not cost the events that meet it.
_HOPELESS = frozenset({400, 409, 413, 415, 422})
_PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Accepted:
    """HookHub has the events."""


@dataclass(frozen=True)
class Hopeless:
    """HookHub will never take these bytes."""

    problem: str


@dataclass(frozen=True)
class Unavailable:
    """Nobody knows whether HookHub has the events; repeat in a while."""

    problem: str
    retry_after_seconds: float = 0


@dataclass(frozen=True)
class Misconfigured:
    """No repetition will help until somebody changes a setting."""

    problem: str


Answer = Union[Accepted, Hopeless, Unavailable, Misconfigured]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Take a redirect for what it is here, a wrong address: following it would turn POST into GET and leak the key."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def send(lines: bytes, *, url: str, api_key: str, timeout_seconds: float) -> Answer:
    """Post events, one JSON object a line, to the HookHub at ``url``."""
    request = urllib.request.Request(  # noqa: S310 - the address is the administrator's, checked when it was read.
        f"{url.rstrip('/')}/v1/events",
        data=lines,
        method="POST",
        headers={
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/x-ndjson",
            "Accept": "application/json",
            "User-Agent": "HookHub-post-receive/1",
        },
    )
    try:
        with _opener.open(request, timeout=timeout_seconds) as answer:
            status = answer.status
            answer.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return _judge(refusal.code, refusal.headers.get("Retry-After"), _message(refusal))
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return Unavailable(f"no answer from {url}: {reason}")
    if status != 202:
        return Misconfigured(f"{url} answers {status}, which HookHub never does: is this its address?")
    return Accepted()


def _judge(status: int, retry_after: str | None, message: str) -> Answer:
    problem = f"HookHub answered {status}: {message}"
    if status in _HOPELESS:
        return Hopeless(problem)
    if status >= 500 or status in _PASSING:
        return Unavailable(problem, retry_after_seconds=_seconds(retry_after))
    return Misconfigured(problem)


def _seconds(retry_after: str | None) -> float:
    plain = retry_after is not None and retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 7
    return float(retry_after or 0) if plain else 0


def _message(refusal: IO[bytes]) -> str:
    """Find the API's own sentence in an error body, or show the beginning of whatever else answered."""
    try:
        body = refusal.read(MAX_ANSWER_BYTES)
    except (OSError, HTTPException):
        return "(the answer broke off)"
    try:
        error: dict[str, Any] = json.loads(body)["error"]
        fields = "".join(f"; {each['field']}: {each['message']}" for each in error.get("fields") or ())
        return f"{error['message']}{fields}"
    except (ValueError, LookupError, TypeError, AttributeError):
        return repr(body[:200].decode("utf-8", errors="replace"))
