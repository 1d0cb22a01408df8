"""When a webhook has failed for too long: pure decisions, made by the review."""

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
    """Say why a webhook is to be disabled, or None to leave it be.

    ``gave_up_since`` is the first attempt of the latest delivery that used up a schedule with retries in it. One
    success since then shows the receiver alive, so that a short outage never disables a healthy webhook.
    ``failures_allowed`` is the operator's strict count of failed attempts in a row; 0 means there is none.
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
