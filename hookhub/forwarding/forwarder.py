"""Fetches the events of a polling webhook, and sends each to a program on this machine."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Callable, TypeVar

import requests

from hookhub.forwarding.remote import WAIT_SECONDS, Failed, Gone, Remote, Session, Unavailable, printable, reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


@dataclass(frozen=True)
class Forwarding:
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

    def __init__(self, forwarding: Forwarding, *, show: Callable[[str], None], tell: Callable[[str], None]) -> None:
        self.forwarding = forwarding
        self.answers: Counter[str] = Counter()
        self._show, self._tell = show, tell
        self._stopping = threading.Event()
        self._remote = Remote(forwarding.url, forwarding.api_key)
        self._local = Session()
        # A proxy of the environment does not lead to this machine, and a .netrc would replace the event's headers.
        self._local.trust_env = False
        # HookHub itself keeps none from one delivery to the next.
        self._local.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._webhook: str | None = None
        # The replay that has not ended, as far as this program knows.
        self._replay_id: str | None = None
        self._renewed_at = 0.0
        # The ids of the last events, in order.
        self._forwarded: dict[str, None] = {}

    def stop(self) -> None:
        """Let ``run`` return, at the latest when its current request has ended."""
        self._stopping.set()

    def run(self) -> None:
        """Forward until stopped, then delete the webhook. Raise Failed."""
        try:
            self._create()
            read_all_at = self._remote.now()
            if self.forwarding.since is not None:
                read_all_at -= self.forwarding.since
                self._insist(partial(self._replay, read_all_at))
            self._tell(f"Forwarding to {self.forwarding.target} (Ctrl-C to stop)")
            cursor: str | None = None
            while not self._stopping.is_set():
                try:
                    page = self._insist(partial(self._poll, cursor))
                    answered_at = self._remote.now()
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
        forwarding = self.forwarding
        fields: dict[str, Any] = {
            "kind": "poll",
            "events": list(forwarding.events),
            "name": f"listen on {socket.gethostname()}"[:200],
            "expires_at": (self._remote.now() + LEASE).isoformat(),
        }
        optional = {
            "format": forwarding.format,
            "secret": forwarding.secret,
            "organization": forwarding.organization,
            "repository": forwarding.repository,
        }
        fields.update({name: value for name, value in optional.items() if value is not None})
        made = self._remote.call("POST", "/v1/webhooks", fields, members=("id",))
        self._webhook, self._renewed_at = str(made["id"]), time.monotonic()
        if forwarding.secret is None and made.get("secret"):
            self._tell(f"Events are signed with the secret {made['secret']}")

    def _replay(self, since: datetime) -> None:
        """Start to put the events from a time of HookHub's clock on into the queue, without those that are there."""
        # Asked for twice, if the answer was lost, it puts each of them there once.
        begun = self._remote.call("POST", f"/v1/webhooks/{self._webhook}/replay-missing", {"after": since.isoformat()})
        self._replay_id = str(begun["id"]) if "id" in begun else None

    def _is_replaying(self) -> bool:
        """Return whether more of what was asked for may come into the queue, after all that was read from it.

        False only from the poll on that follows the end of the replay: that one reads the rest.
        """
        if self._replay_id is None:
            return False
        with suppress(requests.RequestException, Unavailable):
            try:
                is_running = self._remote.call("GET", f"/v1/replays/{self._replay_id}").get("state") == "running"
            except Gone:
                is_running = False
            if not is_running:
                self._replay_id = None
        return True

    def _poll(self, cursor: str | None) -> Mapping[str, Any]:
        self._renew()
        query = {"wait": str(WAIT_SECONDS), **({} if cursor is None else {"cursor": cursor})}
        asked_at = time.monotonic()
        path = f"/v1/webhooks/{self._webhook}/poll"
        page = self._remote.call("GET", path, query=query, members=("events", "cursor", "has_more"))
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
            except (requests.RequestException, Unavailable) as error:
                self._tell(f"{reason(error)}; trying again in {pause:g} s")
                self._stopping.wait(pause)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
        return None

    def _renew(self) -> None:
        if time.monotonic() - self._renewed_at < RENEW_EVERY.total_seconds():
            return
        ends = self._remote.now() + LEASE
        self._remote.call("PATCH", f"/v1/webhooks/{self._webhook}", {"expires_at": ends.isoformat()})
        self._renewed_at = time.monotonic()

    def _forward_all(self, page: Mapping[str, Any], cursor: str | None) -> str | None:
        """Forward the events of a page until stopped; return the cursor after the last one. Raise Gone and Failed."""
        for event in page["events"]:
            if self._stopping.is_set():
                return cursor
            # The program may be slow, or stand in a debugger.
            with suppress(requests.RequestException, Unavailable):
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
                    self.forwarding.target,
                    data=event["body"].encode(),
                    headers=dict(event["headers"]),
                    timeout=FORWARD_TIMEOUT_SECONDS,
                    allow_redirects=False,
                )
                answered = str(answer.status_code)
            except requests.RequestException as error:
                answered = reason(error)
        self.answers[answered] += 1
        milliseconds = round((time.monotonic() - started) * 1000)
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        if self.forwarding.as_json:
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
            self._remote.call("DELETE", f"/v1/webhooks/{self._webhook}")
        except (requests.RequestException, Failed, Gone, Unavailable):
            self._tell(f"The webhook {self._webhook} could not be deleted; it ends by itself in {LEASE}.")
