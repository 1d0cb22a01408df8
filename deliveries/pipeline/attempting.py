"""Attempt deliveries: render and start their requests, and make a result of each response or its absence."""

import json
import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from django.conf import settings

from deliveries import telemetry, vault
from deliveries.formats import Format, Message, format_of
from deliveries.pipeline.claims import Claim, Destination
from deliveries.policy import hops, trace_context
from deliveries.policy.outcomes import NoResponse, Outcome, classify
from deliveries.policy.retry import Decision, decide
from deliveries.proofs.handshake import ORIGIN_HEADER
from deliveries.sending.exchange import Exchange, Request
from deliveries.sending.sender import Sender

log = logging.getLogger("hookhub.pipeline")

NOTHING_RENDERED: Mapping[UUID, Request] = {}


class AttemptResult(NamedTuple):
    """A finished attempt: the request sent, the response or its absence, and the delivery's next step."""

    claim: Claim
    request: Request
    started_at: datetime
    ended_at: datetime
    exchange: Exchange
    outcome: Outcome
    decision: Decision


def render_ahead(claims: Sequence[Claim], *, now: datetime) -> dict[UUID, Request]:
    """Return the requests of claims that are still being committed, by delivery, for ``attempt``.

    Those that cannot be rendered are missing, so that ``attempt`` finds out why.
    """
    requests = {}
    for claim in claims:
        with suppress(Exception):
            requests[claim.delivery_id] = render(claim, now=now)
    return requests


def attempt(
    claims: Sequence[Claim], *, sender: Sender, rendered: Mapping[UUID, Request] = NOTHING_RENDERED, now: datetime
) -> list[AttemptResult]:
    """Render, sign and start the requests; return a result for each delivery that cannot be rendered.

    ``rendered`` has the requests of ``render_ahead``. The sender returns each request under the token (claim, request,
    start time). The error of a delivery that cannot be rendered is shown to the webhook's owner.
    """
    unsendable = []
    for claim in claims:
        try:
            request = rendered.get(claim.delivery_id) or render(claim, now=now)
            sender.start(request, token=(claim, request, now))
        except Exception as error:  # A bug in a format costs this delivery an attempt, but not the rest of the batch.
            log.exception(
                "Could not render delivery %s in format %s",
                claim.delivery_id,
                claim.destination.format,
                extra=log_fields(claim),
            )
            request = Request(url=claim.destination.url, headers=(), body=b"", timeout=timedelta(0))
            loss = NoResponse("unrenderable", f"The request could not be built: {error}", "unrenderable")
            unsendable.append(finish(claim, request, Exchange(timedelta(0), loss), started_at=now, now=now))
    return unsendable


def log_fields(claim: Claim) -> dict[str, object]:
    """Return the fields of a delivery for a log line in JSON."""
    destination = claim.destination
    fields: dict[str, object] = {
        "delivery": str(claim.delivery_id),
        "webhook": destination.webhook_id,
        "organization": destination.organization,
    }
    if claim.trace is not None:
        fields["trace"] = trace_context.trace_id_of(claim.trace)
    return fields


def finish(claim: Claim, request: Request, exchange: Exchange, *, started_at: datetime, now: datetime) -> AttemptResult:
    """Classify the response and decide the delivery's next state."""
    jitter = random.random()  # noqa: S311 - spreads retries, no security purpose
    return build_result(claim, request, exchange, started_at=started_at, now=now, jitter=jitter)


def render(claim: Claim, *, is_attempt: bool = True, now: datetime) -> Request:
    """Return the request for one attempt; raises the format's errors, vault.Unreadable and vault.NoLiveSecret.

    One that is not sent as an attempt has the publisher's trace, because there is no span of an attempt.
    """
    destination = claim.destination
    wire_format = format_of(destination.format)
    rendered = wire_format.render(
        Message(
            delivery_id=str(claim.delivery_id),
            attempt=claim.number,
            event_id=claim.event_id,
            event_type=claim.event_type,
            payload=claim.payload,
            occurred_at=claim.occurred_at,
            sent_at=now,
            organization=destination.organization,
            repository=claim.repository,
            webhook_id=destination.webhook_uid,
            webhook_number=destination.webhook_id,
            scope="organization" if destination.repository_id is None else "repository",
            scope_number=destination.repository_id or destination.organization_id,
            content_type=destination.content_type,
            secrets=signing_secrets(destination, wire_format=wire_format, now=now),
            subscription=None if destination.subscription is None else json.loads(destination.subscription),
        )
    )
    custom = tuple(vault.open_headers(destination.sealed_headers, of=destination.webhook_uid).items())
    hops_header = (hops.HEADER, hops.add_hop(claim.hops, deployment=settings.HOOKHUB_DEPLOYMENT_ID))
    origin = () if destination.request_origin is None else ((ORIGIN_HEADER, destination.request_origin),)
    timeout = destination.timeout or wire_format.policy.timeout or settings.HOOKHUB_TIMEOUT
    url = destination.url
    if destination.sealed_url is not None:
        url = vault.open_url(destination.sealed_url, of=destination.webhook_uid)
    return Request(
        url=url,
        headers=(*rendered.headers, *custom, *origin, hops_header, *trace_headers(claim, is_attempt=is_attempt)),
        body=rendered.body,
        timeout=min(timeout, settings.HOOKHUB_MAX_TIMEOUT),
        verify_ssl=destination.verify_ssl,
    )


def trace_headers(claim: Claim, *, is_attempt: bool = True) -> tuple[tuple[str, str], ...]:
    """Return the headers that carry the event's trace on; its parent is the attempt if that is traced."""
    if is_attempt and telemetry.tracer is not None:
        return telemetry.tracer.headers_of(claim)
    return trace_context.headers_of(claim.trace)


def signing_secrets(destination: Destination, *, wire_format: Format, now: datetime) -> tuple[str, ...]:
    """Return the secrets valid at ``now``, newest first; empty only if the format or the webhook uses no signature.

    Raises vault.Unreadable, and vault.NoLiveSecret because a webhook that signs must never send unsigned.
    """
    sealed, uid, policy = destination.sealed_secrets, destination.webhook_uid, wire_format.secret_policy
    if policy.allows_none and not (policy.allows_secret and vault.open_secrets(sealed, of=uid)):
        return ()
    return tuple([secret.text for secret in vault.live_secrets(sealed, of=uid, now=now)])


class Scheduled(Protocol):
    """The attributes of a webhook, or of a delivery's destination, that decide on the retry schedule."""

    @property
    def retry_schedule(self) -> Sequence[timedelta] | None:
        """Return its own schedule, or None."""

    @property
    def format(self) -> str:
        """Return the slug of its format."""


def schedule_of(destination: Scheduled) -> Sequence[timedelta]:
    """Return the retry schedule of deliveries to a webhook: its own, else its format's, else the deployment's."""
    if destination.retry_schedule is not None:
        return destination.retry_schedule
    of_format = format_of(destination.format).policy.retry_schedule
    if of_format is not None:
        return of_format
    of_deployment: tuple[timedelta, ...] = settings.HOOKHUB_RETRY_SCHEDULE
    return of_deployment


def build_result(
    claim: Claim, request: Request, exchange: Exchange, *, started_at: datetime, now: datetime, jitter: float
) -> AttemptResult:
    """Classify the response and decide the next step; ``jitter`` is a random number from 0 to 1."""
    outcome: Outcome
    response = exchange.result
    if isinstance(response, NoResponse):
        outcome = response
    else:
        outcome = classify(
            response.status,
            retry_after=response.header("retry-after"),
            body=response.body,
            wire_format=format_of(claim.destination.format),
            now=now,
        )
    decision = decide(outcome, failures=claim.failures, schedule=schedule_of(claim.destination), now=now, jitter=jitter)
    return AttemptResult(claim, request, started_at, now, exchange, outcome, decision)
