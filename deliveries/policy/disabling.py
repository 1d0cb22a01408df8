"""Decide when a webhook has failed for too long: pure, called by the review."""

from datetime import datetime
from typing import Literal

Reason = Literal["failing", "too_many_failures", "gone"]


def should_disable(
    *,
    auto_disable: bool,
    gone: bool,
    gave_up_since: datetime | None,
    last_success_at: datetime | None,
    failure_count: int,
    failures_allowed: int,
) -> Reason | None:
    """Return why a webhook must be disabled, or None to leave it enabled.

    ``gave_up_since`` is the time of the first attempt of the latest delivery that exhausted a schedule with retries.
    One success since then proves the receiver alive, so that a short outage never disables a healthy webhook.
    ``failures_allowed`` is the number of failed attempts in a row at which the operator disables it; 0 is no limit.
    """
    if gone:
        return "gone"
    if not auto_disable:
        return None
    if failures_allowed and failure_count >= failures_allowed:
        return "too_many_failures"
    if gave_up_since is not None and (last_success_at is None or last_success_at < gave_up_since):
        return "failing"
    return None
