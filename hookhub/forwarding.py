"""Forwards the events of a remote HookHub to a program on this machine, which cannot be reached from outside.

One file that needs `requests` and Python 3.9, and nothing else of HookHub's: run it as it is, or use
``manage.py listen --forward``. It creates a polling webhook for the time that it runs, fetches its events, and sends
each to the program as HookHub would, with the same headers, body and signature.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, TypeVar
from urllib.parse import urlsplit

import requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# How long a request of the poll may wait for an event.
WAIT_SECONDS = 25
TIMEOUT_SECONDS = 10
FORWARD_TIMEOUT_SECONDS = 30
# The webhook ends by itself so long after this program, or the machine that it runs on, has died.
LEASE = timedelta(minutes=10)
RENEW_EVERY = timedelta(minutes=3)
# Pauses between attempts while HookHub cannot be reached; the first one also if it does not let a request wait.
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 1.0, 15.0
# Another webhook gets the events from so long before this program had read all: one may have been stored, and not yet
# put into the queue. Those that it has forwarded are left out, as far as it remembers them.
OVERLAP = timedelta(minutes=1)
MAX_REMEMBERED = 10_000
Found = TypeVar("Found")
SPAN = re.compile(r"([0-9]{1,6})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Failed(Exception):
    """What went wrong and what to do, to be shown to the caller; the program cannot go on."""


class Gone(Exception):
    """The webhook is not there any more: it was deleted, or its lease has ended."""


@dataclass(frozen=True)
class Wanted:
    """What to forward, from where and where to. ``since`` is how far back the first events lie; None for new ones."""

    url: str
    api_key: str = field(repr=False)
    target: str
    events: Sequence[str] = ("*",)
    format: str | None = None
    secret: str | None = field(default=None, repr=False)
    organization: str | None = None
    repository: str | None = None
    since: timedelta | None = None
    as_json: bool = False


class Forwarder:
    """Forwards until ``stop`` is called; ``show`` gets each line of the output, ``tell`` those about the program."""

    def __init__(self, wanted: Wanted, *, show: Callable[[str], None], tell: Callable[[str], None]) -> None:
        self.wanted = wanted
        self.answers: Counter[str] = Counter()
        self._show, self._tell = show, tell
        self._stopping = threading.Event()
        self._api = requests.Session()
        self._api.headers["Authorization"] = f"Bearer {wanted.api_key}"
        self._local = requests.Session()
        # A proxy of the environment does not lead to this machine, and a .netrc would replace the event's headers.
        self._local.trust_env = False
        self._webhook: str | None = None
        # The replay that has not ended, as far as this program knows.
        self._replay_id: str | None = None
        self._renewed_at = 0.0
        # How far this machine's clock is ahead of HookHub's.
        self._ahead = timedelta(0)
        # The ids of the last events, in order.
        self._forwarded: dict[str, None] = {}

    def stop(self) -> None:
        """Let ``run`` return, at the latest when its current request has ended."""
        self._stopping.set()

    def run(self) -> None:
        """Forward until stopped, then delete the webhook. Raise Failed."""
        try:
            self._create()
            read_all_at = self._now_there()
            if self.wanted.since is not None:
                read_all_at -= self.wanted.since
                self._insist(partial(self._replay, read_all_at))
            self._tell(f"Forwarding to {self.wanted.target} (Ctrl-C to stop)")
            cursor: str | None = None
            while not self._stopping.is_set():
                try:
                    page = self._insist(partial(self._poll, cursor))
                    answered_at = self._now_there()
                    if page is not None:
                        cursor = self._forward_all(page, cursor)
                        if not page["has_more"] and not self._is_replaying():
                            read_all_at = answered_at
                except Gone:
                    self._tell("The webhook is gone: this machine slept, or it was deleted. Creating another.")
                    self._insist(self._create)
                    self._insist(partial(self._replay, read_all_at - OVERLAP))
                    cursor = None
        finally:
            self._delete()

    def summary(self) -> str:
        """Return a summary in one line."""
        counts = ", ".join(f"{count} × {what}" for what, count in sorted(self.answers.items()))
        return f"{sum(self.answers.values())} events forwarded{': ' if counts else ''}{counts}"

    def _create(self) -> None:
        wanted = self.wanted
        fields: dict[str, Any] = {
            "kind": "poll",
            "events": list(wanted.events),
            "name": f"listen on {socket.gethostname()}"[:200],
            "expires_at": (self._now_there() + LEASE).isoformat(),
        }
        optional = {
            "format": wanted.format,
            "secret": wanted.secret,
            "organization": wanted.organization,
            "repository": wanted.repository,
        }
        fields.update({name: value for name, value in optional.items() if value is not None})
        made = self._call("POST", "/v1/webhooks", fields)
        self._webhook, self._renewed_at = str(made["id"]), time.monotonic()
        if wanted.secret is None and made.get("secret"):
            self._tell(f"Events are signed with the secret {made['secret']}")

    def _replay(self, since: datetime) -> None:
        """Start to put the events from a time of HookHub's clock on into the queue, without those that are there."""
        # Asked for twice, if the answer was lost, it puts each of them there once.
        begun = self._call("POST", f"/v1/webhooks/{self._webhook}/replay-missing", {"after": since.isoformat()})
        self._replay_id = str(begun["id"]) if "id" in begun else None

    def _is_replaying(self) -> bool:
        """Return whether more of what was asked for may come into the queue, after all that was read from it.

        False only from the poll on that follows the end of the replay: that one reads the rest.
        """
        if self._replay_id is None:
            return False
        with suppress(requests.RequestException, _Unavailable):
            try:
                is_running = self._call("GET", f"/v1/replays/{self._replay_id}").get("state") == "running"
            except Gone:
                is_running = False
            if not is_running:
                self._replay_id = None
        return True

    def _poll(self, cursor: str | None) -> Mapping[str, Any]:
        self._renew()
        query = {"wait": str(WAIT_SECONDS), **({} if cursor is None else {"cursor": cursor})}
        asked_at = time.monotonic()
        page = self._call("GET", f"/v1/webhooks/{self._webhook}/poll", query=query)
        # So many requests wait that this one was answered at once.
        if not page["events"] and not page["has_more"] and time.monotonic() - asked_at < FIRST_PAUSE_SECONDS:
            self._stopping.wait(FIRST_PAUSE_SECONDS)
        return page

    def _insist(self, call: Callable[[], Found]) -> Found | None:
        """Return what a call does once HookHub can be reached; None if stopped before. Raise Gone and Failed."""
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            try:
                return call()
            except (requests.RequestException, _Unavailable) as error:
                self._tell(f"{_reason(error)}; trying again in {pause:g} s")
                self._stopping.wait(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
        return None

    def _now_there(self) -> datetime:
        """Return the time of HookHub's clock."""
        return datetime.now(timezone.utc) - self._ahead

    def _renew(self) -> None:
        if time.monotonic() - self._renewed_at < RENEW_EVERY.total_seconds():
            return
        ends = self._now_there() + LEASE
        self._call("PATCH", f"/v1/webhooks/{self._webhook}", {"expires_at": ends.isoformat()})
        self._renewed_at = time.monotonic()

    def _forward_all(self, page: Mapping[str, Any], cursor: str | None) -> str | None:
        """Forward the events of a page until stopped; return the cursor after the last one. Raise Gone and Failed."""
        for event in page["events"]:
            if self._stopping.is_set():
                return cursor
            # The program may be slow, or stand in a debugger.
            with suppress(requests.RequestException, _Unavailable):
                self._renew()
            if event["event"] not in self._forwarded:
                self._forward(event)
                self._remember(str(event["event"]))
            cursor = str(event["cursor"])
        return str(page["cursor"])

    def _remember(self, event_id: str) -> None:
        self._forwarded[event_id] = None
        if len(self._forwarded) > MAX_REMEMBERED:
            del self._forwarded[next(iter(self._forwarded))]

    def _forward(self, event: Mapping[str, Any]) -> None:
        started = time.monotonic()
        if event["headers"] is None:
            answered = str(event["error"])
        else:
            try:
                answer = self._local.post(
                    self.wanted.target,
                    data=event["body"].encode(),
                    headers=dict(event["headers"]),
                    timeout=FORWARD_TIMEOUT_SECONDS,
                    allow_redirects=False,
                )
                answered = str(answer.status_code)
            except requests.RequestException as error:
                answered = _reason(error)
        self.answers[answered] += 1
        milliseconds = round((time.monotonic() - started) * 1000)
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        if self.wanted.as_json:
            facts = {"at": now, "type": event["type"], "delivery": event["id"], "answered": answered}
            self._show(
                json.dumps({**facts, "milliseconds": milliseconds, "headers": event["headers"], "body": event["body"]})
            )
        else:
            self._show(f"{now}  {printable(event['type'])}  {event['id']}  {answered} in {milliseconds} ms")

    def _delete(self) -> None:
        if self._webhook is None:
            return
        try:
            self._call("DELETE", f"/v1/webhooks/{self._webhook}")
        except (requests.RequestException, Failed, Gone, _Unavailable):
            self._tell(f"The webhook {self._webhook} could not be deleted; it ends by itself in {LEASE}.")

    def _compare_clocks(self, date: str | None) -> None:
        with suppress(TypeError, ValueError):
            self._ahead = datetime.now(timezone.utc) - parsedate_to_datetime(date or "")

    def _call(
        self, method: str, path: str, body: object = None, *, query: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        """Return the JSON of an answer. Raise Failed, Gone, _Unavailable, and the errors of requests."""
        answer = self._api.request(
            method,
            self.wanted.url.rstrip("/") + path,
            params=query,
            json=body,
            headers={"HookHub-Dialect": "native"},
            timeout=(TIMEOUT_SECONDS, TIMEOUT_SECONDS + WAIT_SECONDS),
            allow_redirects=False,
        )
        self._compare_clocks(answer.headers.get("Date"))
        if answer.status_code >= 500 or answer.status_code == 429:
            raise _Unavailable(f"HookHub answered {answer.status_code}")
        if answer.status_code == 409:
            # Too many replays run; one of them may be that of a call whose answer was lost.
            raise _Unavailable(_refusal(answer))
        if answer.status_code == 404 and method != "POST":
            raise Gone
        if not answer.ok or answer.is_redirect:
            raise Failed(_refusal(answer))
        found = answer.json() if answer.content else {}
        if not isinstance(found, dict):
            raise Failed(f"{self.wanted.url} does not answer as HookHub does. Is the URL right?")
        return found


class _Unavailable(Exception):
    """HookHub is overloaded or restarts: the same call may succeed later."""


def _refusal(answer: requests.Response) -> str:
    """Return why HookHub refused a call, with the fields that it names."""
    try:
        error = answer.json()["error"]
        fields = "; ".join(f"{each['field']} {each['message']}" for each in error.get("fields", []))
        return f"HookHub answered {answer.status_code}: {printable(fields or error['message'])}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"The answer was {answer.status_code}, and not one of HookHub's. Is the URL right?"


def _reason(error: Exception) -> str:
    """Return why a request got no answer, in a few words."""
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS failed"
    if isinstance(error, requests.ConnectionError):
        return "connection refused" if "refused" in str(error) else "connection failed"
    return printable(str(error)) or type(error).__name__


def printable(text: str) -> str:
    """Escape control characters: an event may contain escape sequences for the terminal."""
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)


def span_of(text: str) -> timedelta:
    """Return the span that is written as 30s, 10m, 1h or 7d; raise ValueError."""
    found = SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time such as 30s, 10m, 1h or 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def require_address(text: str, name: str) -> str:
    """Return an HTTP URL; raise ValueError that names it."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{name} must be a URL that begins with http:// or https://")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the remote HookHub, as the program and ``manage.py listen`` have them."""
    parser.add_argument("--url", default=os.environ.get("HOOKHUB_URL"), help="HookHub's URL [HOOKHUB_URL]")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("HOOKHUB_API_KEY"),
        help="a key with the scope manage, which others can see in the process list [HOOKHUB_API_KEY]",
    )
    parser.add_argument("--events", default="*", help="the event types to forward, separated by commas [all]")
    parser.add_argument("--organization", help="the organization, if the key is for several")
    parser.add_argument("--repository", help="only events of this repository")
    parser.add_argument("--since", metavar="TIME", help="also events of the last 30s, 10m, 1h or 7d")


def run(wanted: Wanted, *, show: Callable[[str], None], tell: Callable[[str], None]) -> None:
    """Forward until SIGINT or SIGTERM, then print a summary. Raise Failed."""
    forwarder = Forwarder(wanted, show=show, tell=tell)

    def stop(*_: object) -> None:
        # What waits for an event is interrupted; a second signal also interrupts the deletion of the webhook.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        forwarder.stop()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        forwarder.run()
    except KeyboardInterrupt:
        tell("")
    except requests.RequestException as error:
        raise Failed(f"{wanted.url}: {_reason(error)}") from error
    except _Unavailable as error:
        raise Failed(f"{wanted.url}: {error}. Try again in a moment.") from error
    except Gone as error:
        raise Failed(f"{wanted.url} has no such address. Is the URL right?") from error
    finally:
        tell(forwarder.summary())


def wanted_from(options: Mapping[str, Any], *, target: str, secret: str | None) -> Wanted:
    """Return what the options ask for; raise ValueError that names what is missing or invalid."""
    if not options["url"] or not options["api_key"]:
        raise ValueError("Specify --url and --api-key, or set HOOKHUB_URL and HOOKHUB_API_KEY.")
    return Wanted(
        url=require_address(options["url"], "--url"),
        api_key=options["api_key"],
        target=require_address(target, "--forward"),
        events=[part.strip() for part in options["events"].split(",") if part.strip()],
        format=options["format"],
        secret=secret,
        organization=options["organization"],
        repository=options["repository"],
        since=None if options["since"] is None else span_of(options["since"]),
        as_json=options["json"],
    )


def main() -> None:
    """Run as a program of its own."""
    parser = argparse.ArgumentParser(description="Forward the events of a HookHub to a program on this machine.")
    parser.add_argument("--forward", required=True, metavar="URL", help="where to send the events")
    add_arguments(parser)
    parser.add_argument(
        "--secret",
        default=os.environ.get("HOOKHUB_WEBHOOK_SECRET"),
        help="the secret to sign with, which others can see in the process list [HOOKHUB_WEBHOOK_SECRET; generated]",
    )
    parser.add_argument("--format", help="the wire format [the organization's]")
    parser.add_argument("--json", action="store_true", help="print one JSON object per event")
    options = vars(parser.parse_args())
    try:
        wanted = wanted_from(options, target=options["forward"], secret=options["secret"])
        run(
            wanted,
            show=lambda line: print(line, flush=True),
            tell=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except (ValueError, Failed) as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    main()
