"""Calls of a remote HookHub, and what can go wrong with them."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase

if TYPE_CHECKING:
    from collections.abc import Mapping

# Visible ASCII. Only the server can tell whether it is a valid key.
KEY = re.compile(r"[!-~]{1,1000}")

# How long a request of the poll may wait for an event.
WAIT_SECONDS = 25
TIMEOUT_SECONDS = 10


class Failed(Exception):
    """What went wrong and what to do, to be shown to the caller; the program cannot go on."""


class Gone(Exception):
    """The webhook is not there any more: it was deleted, or its lease has ended."""


class Unavailable(Exception):
    """HookHub is overloaded or restarts: the same call may succeed later."""


def clean_key(api_key: str) -> str:
    """Return a key without surrounding white space; raise ValueError, without quoting it, if it cannot be one."""
    # Read from a file, it ends in a line break. The errors of requests would show it with the whole header.
    key = api_key.strip()
    if not KEY.fullmatch(key):
        raise ValueError("--api-key contains white space, control characters or non-ASCII letters; copy it again")
    return key


class Session(requests.Session):
    """A session that ignores redirects: requests parses where they lead to even if it is not to follow them."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None, so that no malformed target raises an error."""


class _Bearer(AuthBase):
    """Sets the Authorization header, which requests would replace by what a .netrc or the URL says."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class Remote:
    """A HookHub to call with a key, and its clock."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url
        self._session = Session()
        self._session.auth = _Bearer(clean_key(api_key))
        # How far this machine's clock is ahead of HookHub's.
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """Return the time of HookHub's clock."""
        return datetime.now(timezone.utc) - self._ahead

    def _compare_clocks(self, date: str | None) -> None:
        # A date that is none raises the first two or the third, by the version of Python; a far one the last.
        with suppress(TypeError, ValueError, IndexError, OverflowError):
            self._ahead = datetime.now(timezone.utc) - parsedate_to_datetime(date or "")

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        members: tuple[str, ...] = (),
    ) -> Mapping[str, Any]:
        """Return the JSON object of an answer, which has these members.

        Raise Failed, Gone, Unavailable, and the errors of requests.
        """
        answer = self._session.request(
            method,
            self.url.rstrip("/") + path,
            params=query,
            json=body,
            headers={"HookHub-Dialect": "native"},
            timeout=(TIMEOUT_SECONDS, TIMEOUT_SECONDS + WAIT_SECONDS),
            allow_redirects=False,
        )
        self._compare_clocks(answer.headers.get("Date"))
        if answer.status_code >= 500 or answer.status_code == 429:
            raise Unavailable(f"HookHub answered {answer.status_code}")
        if answer.status_code == 409:
            # Too many replays run; one of them may be that of a call whose answer was lost.
            raise Unavailable(refusal(answer))
        if answer.status_code == 404 and method != "POST":
            raise Gone
        if answer.status_code >= 300:
            raise Failed(refusal(answer))
        try:
            found = answer.json() if answer.content else {}
        # JSON nested too deeply raises RecursionError instead of ValueError.
        except RecursionError:
            found = None
        if not isinstance(found, dict) or not found.keys() >= set(members):
            raise Failed(f"{self.url} does not answer as HookHub does. Is the URL right?")
        return found


def refusal(answer: requests.Response) -> str:
    """Return why HookHub refused a call, with the fields that it names."""
    try:
        error = answer.json()["error"]
        fields = "; ".join(f"{each['field']} {each['message']}" for each in error.get("fields", []))
        return f"HookHub answered {answer.status_code}: {printable(fields or error['message'])}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"The answer was {answer.status_code}, and not one of HookHub's. Is the URL right?"


def reason(error: Exception) -> str:
    """Return why a request got no answer, in a few words."""
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS failed"
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return "the answer is not JSON"
    if isinstance(error, requests.ConnectionError):
        return "connection refused" if "refused" in str(error) else "connection failed"
    return printable(str(error)) or type(error).__name__


def printable(text: str) -> str:
    """Escape control characters: an event may contain escape sequences for the terminal."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
