"""Attempt deliveries: render and start their requests, and make a result of each response or its absence."""

import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings

from deliveries import vault
from deliveries.formats import Format, Message, format_of
from deliveries.pipeline.claiming import Claim, Destination
from deliveries.policy import hops
from deliveries.policy.outcomes import NoResponse, Outcome, judge
from deliveries.policy.retry import Decision, decide
from deliveries.sending.sender import Sender
from deliveries.sending.transfer import Exchange, Request

log = logging.getLogger("hookhub.pipeline")


class Result(NamedTuple):
    """A finished attempt: the request sent, the response or its absence, and the delivery's next step."""

    claim: Claim
    request: Request
    started_at: datetime
    ended_at: datetime
    exchange: Exchange
    outcome: Outcome
    decision: Decision


def attempt(claims: Sequence[Claim], *, sender: Sender, now: datetime) -> list[Result]:
    """Render, sign and start the requests; the sender returns each under the token (claim, request, start time).

    Return a result for each delivery that cannot be rendered; its error is shown to the webhook's owner.
    """
    unsendable = []
    for claimed in claims:
        try:
            request = render(claimed, now=now)
            sender.start(request, token=(claimed, request, now))
        except Exception as error:  # A bug in a format costs this delivery an attempt, but not the rest of the batch.
            log.exception("Could not render delivery %s in format %s", claimed.delivery_id, claimed.to.format)
            request = Request(url=claimed.to.url, headers=(), body=b"", timeout=timedelta(0))
            lost = Exchange(timedelta(0), NoResponse("unrenderable", f"The request could not be built: {error}"))
            unsendable.append(finish(claimed, request, lost, started_at=now, now=now))
    return unsendable


def finish(claimed: Claim, request: Request, exchange: Exchange, *, started_at: datetime, now: datetime) -> Result:
    """Classify the response and decide the delivery's next state."""
    jitter = random.random()  # noqa: S311 - spreads retries, no security purpose
    return build_result(claimed, request, exchange, started_at=started_at, now=now, jitter=jitter)


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
    sealed, uid, policy = to.sealed_secrets, to.webhook_uid, wire_format.secret_policy
    if policy.allows_none and not (policy.allows_secret and vault.open_secrets(sealed, of=uid)):
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
