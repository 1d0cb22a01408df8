"""Aggregate a batch of results into each webhook's health: pure counting."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from deliveries.db import arrays
from deliveries.pipeline.attempting import Result, schedule_of
from deliveries.policy.outcomes import Delivered, Gone, NoResponse, Refused
from deliveries.policy.retry import GiveUp

# The minimum interval between writes to the row of a healthy webhook.
MOMENT = timedelta(seconds=1)


@dataclass(slots=True)
class Health:
    """The results of one webhook in a batch.

    ``failures`` counts those since the last success, ``timeouts`` those since the last result that was no timeout.
    """

    webhook_id: int
    last_at: datetime
    last_status: str = ""
    succeeded: bool = False
    failures: int = 0
    timeouts: int = 0
    timed_out_only: bool = True
    success_at: datetime | None = None
    resting_until: datetime | None = None
    review_since: datetime | None = None
    gone_at: datetime | None = None
    durations: list[timedelta] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Add a result; call it in the order in which the attempts ended."""
        self.last_at = max(self.last_at, result.ended_at)
        self.last_status = status_of(result)
        self.durations.append(result.exchange.duration)
        is_timeout = False
        match result.outcome:
            case Delivered():
                self.succeeded, self.failures, self.success_at = True, 0, result.ended_at
            case Gone():
                self.failures += 1
                self.gone_at = result.started_at
            case Refused(_, patience, _):
                self.failures += 1
                if patience is not None:
                    self.resting_until = later(self.resting_until, result.ended_at + patience)
            case NoResponse(kind, _):
                self.failures += 1
                is_timeout = kind == "timeout"
        self.timeouts = self.timeouts + 1 if is_timeout else 0
        self.timed_out_only = self.timed_out_only and is_timeout
        # An empty schedule cannot be exhausted, and a rejected message was not retried. One bad minute or one bad
        # message must not disable a webhook.
        was_tried = not (isinstance(result.outcome, Refused) and result.outcome.is_final)
        if result.decision == GiveUp("exhausted") and was_tried and schedule_of(result.claim):
            self.review_since = later(self.review_since, result.claim.first_attempt_at)

    def pace(self) -> timedelta:
        """Return the mean duration of its attempts."""
        return sum(self.durations, timedelta(0)) / len(self.durations)

    def as_row(self) -> dict[str, Any]:
        """Return it as a mapping with the keys of COLUMNS."""
        return {
            "webhooks": self.webhook_id,
            "succeeded": self.succeeded,
            "failures": self.failures,
            "timeouts": self.timeouts,
            "timed_out_only": self.timed_out_only,
            "last_at": self.last_at,
            "last_status": self.last_status,
            "success_at": self.success_at,
            "resting": self.resting_until,
            "review": self.review_since,
            "gone": self.gone_at,
            "paces": self.pace(),
        }


# The encoder of each column of queue.UPDATE_HEALTH.
COLUMNS: Mapping[str, Callable[[Iterable[Any]], arrays.Array]] = {
    "webhooks": arrays.bigints,
    "succeeded": arrays.flags,
    "failures": arrays.bigints,
    "timeouts": arrays.bigints,
    "timed_out_only": arrays.flags,
    "last_at": arrays.moments,
    "last_status": arrays.texts,
    "success_at": arrays.moments,
    "resting": arrays.moments,
    "review": arrays.moments,
    "gone": arrays.moments,
    "paces": arrays.spans,
}


def health_of(results: Sequence[Result]) -> list[Health]:
    """Return one Health per webhook of the batch."""
    found: dict[int, Health] = {}
    for result in sorted(results, key=lambda result: result.ended_at):
        webhook_id = result.claim.to.webhook_id
        found.setdefault(webhook_id, Health(webhook_id, result.ended_at)).add(result)
    return list(found.values())


def status_of(result: Result) -> str:
    """Return an attempt's result as one word: the HTTP status, or the kind of failure if there was no response."""
    return result.outcome.kind if isinstance(result.outcome, NoResponse) else str(result.outcome.status)


def later(one: datetime | None, other: datetime) -> datetime:
    """Return the later of two times; None counts as earlier."""
    return other if one is None else max(one, other)
