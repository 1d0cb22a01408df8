"""One attempt, from the claim to its row in the attempt log: render, classify, convert to columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings

from deliveries import vault
from deliveries.db import arrays
from deliveries.formats import MASK, Format, Message, format_of
from deliveries.pipeline.claiming import Claim, Destination
from deliveries.policy import hops
from deliveries.policy.outcomes import Delivered, Gone, NoResponse, Outcome, Refused, judge
from deliveries.policy.retry import Decision, Finish, GiveUp, RetryAt, decide
from deliveries.sending.transfer import Exchange, Request


class Result(NamedTuple):
    """A finished attempt: the request sent, the response or its absence, and the delivery's next step."""

    claim: Claim
    request: Request
    started_at: datetime
    ended_at: datetime
    exchange: Exchange
    outcome: Outcome
    decision: Decision


def render(claimed: Claim, *, now: datetime) -> Request:
    """Return the request for one attempt; raises the format's errors, vault.Unreadable and vault.NoLiveSecret."""
    to = claimed.to
    wire_format = format_of(to.format)
    rendered = wire_format.render(
        Message(
            delivery_id=str(claimed.delivery_id),
            attempt=claimed.number,
            event_id=claimed.event_id,
            event_type=claimed.event_type,
            payload=claimed.payload,
            occurred_at=claimed.occurred_at,
            sent_at=now,
            organization=to.organization,
            repository=claimed.repository,
            webhook_id=to.webhook_uid,
            webhook_number=to.webhook_id,
            scope="organization" if to.repository_id is None else "repository",
            scope_number=to.repository_id or to.organization_id,
            content_type=to.content_type,
            secrets=signing_secrets(to, wire_format=wire_format, now=now),
        )
    )
    own = tuple(vault.open_headers(to.sealed_headers, of=to.webhook_uid).items())
    passed = (hops.HEADER, hops.after_this_one(claimed.hops, deployment=settings.HOOKHUB_DEPLOYMENT_ID))
    timeout = to.timeout or wire_format.policy.timeout or settings.HOOKHUB_TIMEOUT
    return Request(
        url=to.url if to.sealed_url is None else vault.open_url(to.sealed_url, of=to.webhook_uid),
        headers=(*rendered.headers, *own, passed),
        body=rendered.body,
        timeout=min(timeout, settings.HOOKHUB_MAX_TIMEOUT),
        verify_ssl=to.verify_ssl,
    )


def signing_secrets(to: Destination, *, wire_format: Format, now: datetime) -> tuple[str, ...]:
    """Return the secrets valid at ``now``, newest first; empty only if the format or the webhook uses no signature.

    Raises vault.Unreadable, and vault.NoLiveSecret because a webhook that signs must never send unsigned.
    """
    sealed, uid = to.sealed_secrets, to.webhook_uid
    if wire_format.signs == "never" or (wire_format.signs == "if asked" and not vault.open_secrets(sealed, of=uid)):
        return ()
    return tuple([secret.text for secret in vault.live_secrets(sealed, of=uid, now=now)])


def schedule_of(claimed: Claim) -> Sequence[timedelta]:
    """Return the retry schedule of a delivery: its webhook's, else its format's, else the deployment's."""
    if claimed.to.retry_schedule is not None:
        return claimed.to.retry_schedule
    promised = format_of(claimed.to.format).policy.retry_schedule
    if promised is not None:
        return promised
    schedule: tuple[timedelta, ...] = settings.HOOKHUB_RETRY_SCHEDULE
    return schedule


def build_result(
    claimed: Claim, request: Request, exchange: Exchange, *, started_at: datetime, now: datetime, jitter: float
) -> Result:
    """Classify the response and decide the next step; ``jitter`` is a random number from 0 to 1."""
    outcome: Outcome
    if isinstance(exchange.result, NoResponse):
        outcome = exchange.result
    else:
        outcome = judge(
            exchange.result.status,
            retry_after=exchange.result.header("retry-after"),
            body=exchange.result.body,
            wire_format=format_of(claimed.to.format),
            now=now,
        )
    decision = decide(outcome, failures=claimed.failures, schedule=schedule_of(claimed), now=now, jitter=jitter)
    return Result(claimed, request, started_at, now, exchange, outcome, decision)


# The encoder of each column of queue.RECORD_ATTEMPTS and queue.SETTLE.
COLUMNS: Mapping[str, Callable[[Iterable[Any]], arrays.Array]] = {
    "deliveries": arrays.uuids,
    "leases": arrays.uuids,
    "webhooks": arrays.bigints,
    "numbers": arrays.bigints,
    "states": arrays.texts,
    "endings": arrays.texts,
    "failures": arrays.bigints,
    "due": arrays.moments,
    "ended": arrays.moments,
    "ids": arrays.uuids,
    "started": arrays.moments,
    "durations": arrays.spans,
    "urls": arrays.texts,
    "request_headers": arrays.texts,
    "outcomes": arrays.texts,
    "statuses": arrays.bigints,
    "response_headers": arrays.texts,
    "response_bodies": arrays.byteas,
    "errors": arrays.texts,
}

# Written out: a renamed class must not change what is stored, logged and shown.
OUTCOMES: Mapping[type[Outcome], str] = {Delivered: "delivered", Refused: "refused", Gone: "gone", NoResponse: "lost"}


def to_columns(result: Result, *, attempt_id: UUID) -> dict[str, Any]:
    """Return a result as a mapping with the keys of COLUMNS."""
    state, ending, due_at = next_state(result.decision)
    reply = None if isinstance(result.exchange.result, NoResponse) else result.exchange.result
    lines = [f"{name}: {value}" for name, value in reply.headers] if reply else []
    return {
        "deliveries": result.claim.delivery_id,
        "leases": result.claim.lease,
        "webhooks": result.claim.to.webhook_id,
        "numbers": result.claim.number,
        "states": state,
        "endings": ending,
        "failures": result.claim.failures + (not isinstance(result.outcome, Delivered)),
        "due": due_at,
        "ended": result.ended_at,
        "ids": attempt_id,
        "started": result.started_at,
        "durations": result.exchange.duration,
        "urls": format_of(result.claim.to.format).show_url(result.request.url),
        "request_headers": shown_headers(result),
        "outcomes": OUTCOMES[type(result.outcome)],
        "statuses": reply.status if reply else None,
        "response_headers": pg_safe("\n".join(lines)),
        "response_bodies": reply.body if reply else b"",
        "errors": pg_safe(result.outcome.error) if isinstance(result.outcome, NoResponse) else "",
    }


def next_state(decision: Decision) -> tuple[str, str | None, datetime | None]:
    """Return the delivery's next state, its finish reason or None, and when it is due or None."""
    match decision:
        case Finish():
            return "delivered", "delivered", None
        case GiveUp(ending):
            return "failed", ending, None
        case RetryAt(due_at):
            return "pending", None, due_at


def shown_headers(result: Result) -> str:
    """Return the request's header lines for the attempt log, with the values of the webhook's custom headers masked."""
    known = format_of(result.claim.to.format).reserved_headers | {hops.HEADER.lower()}
    return "\n".join(f"{name}: {value if name.lower() in known else MASK}" for name, value in result.request.headers)


def pg_safe(text: str) -> str:
    """Return the text without NULs and with lone surrogates replaced: PostgreSQL would reject the whole batch."""
    return text.replace("\0", "").encode(errors="replace").decode()
