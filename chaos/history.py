"""The history of a scenario: what publishers, receiver, database and nemesis recorded, and how each is read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import psycopg

from chaos.workload.behaviour import SLOW_SECONDS
from chaos.workload.events import Outcome, Route

# What was interrupted: HookHub's own processes, a server, the connection to one, or the whole machine.
Kind = Literal["process", "database", "redis", "web", "receiver", "machine"]


class Published(NamedTuple):
    """One event as its publisher logged it; ``sha`` is the hash of the whole body that receivers must get."""

    key: str
    type: str
    sha: str
    route: Route
    at: float
    outcome: Outcome
    answered_at: float


class Arrival(NamedTuple):
    """One request as the receiver logged it before it answered; ``answer`` is the answer it was about to give."""

    at: float
    path: str
    delivery: str
    key: str
    sha: str
    signature: str
    answer: str

    @property
    def is_taken(self) -> bool:
        """Return whether it was answered with a complete 2xx."""
        return self.answer in {"200", "slow"}

    @property
    def answered_at(self) -> float:
        """Return when it was answered, if it was."""
        return self.at + (SLOW_SECONDS if self.answer.startswith("slow") else 0)


class Delivery(NamedTuple):
    """One delivery as the database has it."""

    id: str
    key: str
    path: str
    state: str
    finish_reason: str | None
    attempts_made: int
    has_lease: bool


class Attempt(NamedTuple):
    """One attempt as the database has it; ``ended_at`` is None when the outcome is unknown."""

    delivery: str
    number: int
    started_at: float
    ended_at: float | None
    outcome: str
    status: int | None

    @property
    def is_failure(self) -> bool:
        """Return whether it uses up a step of the schedule: it had another answer than a 2xx, or none."""
        return self.outcome in {"failed", "no_response"}


class Webhook(NamedTuple):
    """One webhook: its subscription, and whether its receiver always answers at once."""

    path: str
    topics: tuple[str, ...]
    schedule: tuple[float, ...]
    timeout: float
    is_healthy: bool
    disabled_at: float | None = None
    # Whether HookHub may disable it.
    auto_disable: bool = False


class Note(NamedTuple):
    """What a subscriber logged: a life that began, a request of its own and its answer, a question, or an update.

    ``mode`` is what was asked for, ``secret`` the number of a secret, ``signature`` that of the one which signed.
    """

    what: str
    path: str
    at: float
    kind: str = ""
    mode: str = ""
    secret: int | None = None
    lease: int = 0
    status: int = 0
    echoed: bool = False
    key: str = ""
    signature: str = ""
    answer: str = ""


class Seen(NamedTuple):
    """A subscription as it was seen in the database; ``at`` is after that had been committed.

    A subscriber whose subscription has ended may make another with the same callback, which is another ``webhook``.
    """

    webhook: int
    path: str
    at: float
    verified_at: float | None
    expires_at: float | None
    deleted_at: float | None


class Interruption(NamedTuple):
    """Something that may have cut requests short.

    ``leased`` are the deliveries that the halted processes had leased; None means that any delivery may be affected.
    """

    what: str
    at: float
    until: float
    leased: frozenset[str] | None
    is_kill: bool
    kind: Kind = "process"


@dataclass(frozen=True)
class History:
    """The whole history of one run; times are in seconds of the machine's clock."""

    published: Sequence[Published]
    arrivals: Sequence[Arrival]
    stored: Mapping[str, float]
    deliveries: Sequence[Delivery]
    attempts: Sequence[Attempt]
    webhooks: Sequence[Webhook]
    interruptions: Sequence[Interruption] = ()
    # When Redis lost all its data; for how many seconds an entry may wait there before a worker stores it.
    forgotten_at: Sequence[float] = ()
    stored_within: float = 0.0
    # Seconds of a lease; the violations that ``check_ledger`` found at the end.
    lease: float = 0.0
    ledger: Sequence[str] = ()
    # The longest allowed median in seconds from answer to arrival, if the scenario demands promptness.
    prompt_within: float | None = None
    late_allowed: float = 5.0
    # What subscribers logged, and what was seen of their subscriptions.
    notes: Sequence[Note] = ()
    seen: Sequence[Seen] = ()


class Breach(NamedTuple):
    """A violation of a rule of the checker, with the rule's number; 0 for problems of the harness."""

    rule: int
    what: str


def matches(topics: Sequence[str], event_type: str) -> bool:
    """Return whether a subscription to these topics matches an event type."""
    return any(topic in {"*", event_type} or event_type.startswith(f"{topic}.") for topic in topics)


def read_journal(lines: Iterable[str]) -> list[Published]:
    """Parse the publishers' log; an event without a second line was in progress when its publisher ended."""
    by_key: dict[str, dict[str, Any]] = {}
    for line in lines:
        entry = json.loads(line)
        by_key.setdefault(entry["key"], {}).update(entry)
    entries = ({"outcome": "unknown", "answered_at": entry["at"], **entry} for entry in by_key.values())
    return [Published(**{name: entry[name] for name in Published._fields}) for entry in entries]


def read_log(lines: Iterable[str]) -> list[Arrival]:
    """Parse the receiver's log, in order of arrival."""
    return [Arrival(**{name: entry[name] for name in Arrival._fields}) for entry in map(json.loads, lines)]


def read_notes(lines: Iterable[str]) -> list[Note]:
    """Parse the subscribers' log, in order of time."""
    return [Note(**json.loads(line)) for line in lines]


def read_of_subscriptions(connection: "psycopg.Connection[Any]") -> frozenset[str]:
    """Return the deliveries of webhooks that had to prove themselves, which have a rule of their own."""
    rows = connection.execute(
        "SELECT d.id::text FROM hookhub_delivery d JOIN hookhub_webhook w ON w.id = d.webhook_id"
        " WHERE w.proof IS NOT NULL"
    )
    return frozenset(id_ for (id_,) in rows.fetchall())


def lines_of(path: Path) -> list[str]:
    """Return a file's lines; none when the file does not exist."""
    return path.read_text().splitlines() if path.exists() else []


def complete_lines_of(path: Path) -> list[str]:
    """Return the lines of a file that another process may be writing, without a line that is not yet complete."""
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []


def read_stored(connection: "psycopg.Connection[Any]") -> dict[str, float]:
    """Return when the database accepted each event, by idempotency key."""
    rows = connection.execute(
        "SELECT idempotency_key, extract(epoch FROM accepted_at)::float8 FROM hookhub_event"
        " WHERE idempotency_key IS NOT NULL"
    )
    return dict(rows.fetchall())


def read_deliveries(connection: "psycopg.Connection[Any]") -> list[Delivery]:
    """Return all deliveries."""
    rows = connection.execute(
        "SELECT d.id::text, e.idempotency_key, w.url, d.state, d.finish_reason, d.attempts_made,"
        " num_nonnulls(d.lease, d.leased_at, d.leased_until) > 0"
        " FROM hookhub_delivery d JOIN hookhub_event e ON e.id = d.event_id"
        " JOIN hookhub_webhook w ON w.id = d.webhook_id ORDER BY d.id"
    ).fetchall()
    return [Delivery(row[0], row[1] or "", urlsplit(row[2]).path, *row[3:]) for row in rows]


def read_attempts(connection: "psycopg.Connection[Any]") -> list[Attempt]:
    """Return all attempts, ordered by delivery and number."""
    rows = connection.execute(
        "SELECT delivery_id::text, number, extract(epoch FROM started_at)::float8,"
        " extract(epoch FROM started_at + duration)::float8, outcome, status"
        " FROM hookhub_attempt ORDER BY delivery_id, number"
    )
    return [Attempt(*row) for row in rows.fetchall()]


def read_webhooks(connection: "psycopg.Connection[Any]", created: Sequence[Webhook]) -> list[Webhook]:
    """Return the webhooks as the scenario created them, with the time at which each was disabled."""
    rows = connection.execute("SELECT url, extract(epoch FROM disabled_at)::float8 FROM hookhub_webhook").fetchall()
    disabled_at = {urlsplit(url).path: at for url, at in rows}
    return [webhook._replace(disabled_at=disabled_at.get(webhook.path)) for webhook in created]
