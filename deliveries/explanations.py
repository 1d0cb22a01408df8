"""What a stored attempt tells its webhook's owner: why it did not deliver, what to do, and how long each phase took."""

from deliveries.formats import format_of
from deliveries.models import Attempt, Webhook
from deliveries.policy.explanations import Explanation, Facts, Translate, explain

# Among how many of a webhook's latest attempts its last failure is looked for.
LATEST = 50


def explanation_of(attempt: Attempt, *, wire_format: str, translate: Translate = str) -> Explanation | None:
    """Return what happened at an attempt and what to do about it, or None if it delivered."""
    facts = Facts(
        outcome=attempt.outcome,
        cause=attempt.cause,
        status=attempt.status,
        error=attempt.error,
        url=attempt.url,
        response_headers=attempt.response_headers,
        response_body=bytes(attempt.response_body),
        seconds=None if attempt.duration is None else attempt.duration.total_seconds(),
    )
    return explain(facts, wire_format=format_of(wire_format), translate=translate)


def last_failure_of(webhook: Webhook) -> Explanation | None:
    """Return the explanation of a webhook's latest attempt that did not deliver, or None if there is none."""
    latest = Attempt.objects.of_webhook(webhook.pk).order_by("-id")[:LATEST]
    return next((found for each in latest if (found := explanation_of(each, wire_format=webhook.format))), None)


def timing_of(attempt: Attempt) -> dict[str, float | None]:
    """Return how long each phase of an attempt took, in seconds; None for one that was not needed, or not completed."""
    return {
        "dns": in_seconds(attempt.dns_us),
        "connect": in_seconds(attempt.connect_us),
        "tls": in_seconds(attempt.tls_us),
        "first_byte": in_seconds(attempt.first_byte_us),
    }


def in_seconds(microseconds: int | None) -> float | None:
    """Return a number of microseconds in seconds; None stays None."""
    return None if microseconds is None else microseconds / 1_000_000
