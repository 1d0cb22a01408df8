"""Decide when to announce that a webhook is failing, and when that it has recovered: pure, called by maintenance.

An incident begins with the first failure of a streak, and ends with the next success. What is announced of it is the
share that has been used up of what disables the webhook.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

# The percentages that are announced, each at most once for each incident.
LEVELS = (50, 70, 90)
# What is announced last: the webhook has been disabled.
DISABLED = 100
# For how long a webhook without an announced incident is watched after its first failure: one that keeps failing and
# succeeding must not be marked anew for each failure.
CALM = timedelta(minutes=1)


class Retried(NamedTuple):
    """A delivery that is being retried, with how many steps of its schedule it has used."""

    first_attempt_at: datetime
    due_at: datetime
    failures: int


class Progress(NamedTuple):
    """How much of what disables a webhook has been used up, and when it will be disabled; None if that is unknown."""

    percent: int
    disables_at: datetime | None


class Incident(NamedTuple):
    """What a webhook's row says of an incident.

    ``announced`` is the last percentage announced; None if there is nothing to recover from, and 0 if the webhook was
    enabled again since.
    """

    failing_since: datetime
    failure_count: int
    last_success_at: datetime | None
    announced: int | None
    announced_at: datetime | None

    @property
    def streak_since(self) -> datetime:
        """Return when the present streak of failures began, at the earliest."""
        return self.failing_since if self.last_success_at is None else max(self.failing_since, self.last_success_at)


@dataclass(frozen=True, slots=True)
class Failing:
    """Another level has been reached: announce it."""

    percent: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """There was a success since the last announcement: announce it, and forget the incident."""


@dataclass(frozen=True, slots=True)
class Over:
    """It failed for a moment, and nothing was announced: forget it."""


Step = Failing | Recovered | Over
NO_PROGRESS = Progress(0, None)


def decide(incident: Incident, *, percent: int, now: datetime) -> Step | None:
    """Return what to do about a failing webhook that has used up ``percent`` of what disables it; None for nothing."""
    if has_recovered(incident):
        return Recovered()
    if incident.failure_count == 0:
        # A clock that was set back must not keep a webhook marked.
        is_calm = not timedelta(0) <= now - incident.failing_since < CALM
        return Over() if incident.announced is None and is_calm else None
    level = level_of(percent)
    return Failing(level) if level > (incident.announced or 0) else None


def has_recovered(incident: Incident) -> bool:
    """Return whether there was a success since something was announced.

    Only a success resets the count of failures, or enabling the webhook, which sets ``announced`` to 0.
    """
    if incident.announced is None or incident.announced_at is None:
        return False
    if 0 < incident.announced < DISABLED and incident.failure_count == 0:
        return True
    return incident.last_success_at is not None and incident.last_success_at > incident.announced_at


def level_of(percent: int) -> int:
    """Return the highest level that a percentage has reached, or 0."""
    return max((level for level in LEVELS if level <= percent), default=0)


def level_after(announced: int | None) -> int | None:
    """Return the next level after what was announced, or None after the last."""
    return next((level for level in LEVELS if level > (announced or 0)), None)


def progress_by_count(failure_count: int, *, failures_allowed: int) -> Progress:
    """Return how much of the allowed failures in a row has been used up; ``failures_allowed`` of 0 is no limit."""
    return Progress(min(100 * failure_count // failures_allowed, 99), None) if failures_allowed else NO_PROGRESS


def progress_by_time(retried: Retried, *, schedule: Sequence[timedelta], now: datetime) -> Progress:
    """Return how much time has passed of that until a delivery has used up its schedule, Retry-After included."""
    disables_at = retried.due_at + sum(schedule[retried.failures :], timedelta(0))
    elapsed, left = now - retried.first_attempt_at, max(disables_at - now, timedelta(0))
    if elapsed <= timedelta(0):
        return NO_PROGRESS
    return Progress(min(100 * elapsed // (elapsed + left), 99), max(disables_at, now))


def may_reach(level: int, incident: Incident, *, schedule: Sequence[timedelta], now: datetime) -> bool:
    """Return whether the time since the streak began is enough for a level: a delivery's schedule is never shorter."""
    total = sum(schedule, timedelta(0))
    return bool(schedule) and (now - incident.streak_since) * 100 >= level * total
