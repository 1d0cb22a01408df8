"""Test deliveries of a hook: a ping, and the latest push."""

from datetime import datetime
from typing import Any

from django.db import transaction

from deliveries import audit, compact_json, pipeline, redelivery
from deliveries.audited import webhook_target
from deliveries.event_types import catalogue
from deliveries.event_types.topics import EVERYTHING, topics_of
from deliveries.events import NewEvent
from deliveries.models import Event, Repository, Webhook
from deliveries.policy import trace_context
from hookhub.dialects.social_gateway.hook_types import CATALOGUE

PUSH = "push"
ZEN = "Nothing is lost."
# How many of the organization's newest events are searched for the repository's latest push: enough for a person who
# tries a hook, and never a scan of millions of rows.
EVENTS_LOOKED_AT = 10_000


def ping(webhook: Webhook, *, hook: dict[str, Any], repository: dict[str, Any], now: datetime) -> None:
    """Send a ping that describes the hook; do nothing if the hook is not active."""
    if webhook.status(now=now) == Webhook.Status.ACTIVE:
        data = {"zen": ZEN, "hook_id": webhook.pk, "hook": hook, "repository": repository}
        redelivery.ping(webhook, data=data, now=now)


def test(webhook: Webhook, repository: Repository, *, now: datetime) -> None:
    """Send the latest push again, to this hook only; do nothing if it does not subscribe to pushes or is not active.

    If the repository has no push, send the example from the documentation.
    """
    if webhook.status(now=now) != Webhook.Status.ACTIVE or not {EVERYTHING, PUSH} & set(webhook.events):
        return
    payload = latest_push(repository) or compact_json.encode(catalogue.of(CATALOGUE).types[PUSH].example)
    event = NewEvent(
        organization_id=repository.organization_id,
        repository_id=repository.pk,
        type=PUSH,
        topics=topics_of(PUSH, None),
        payload=payload,
        occurred_at=now,
        webhook_id=webhook.pk,
        trace=trace_context.current(),
    )
    with transaction.atomic():
        accepted = pipeline.accept([event], now=now)[0]
        after = {"event": accepted.id, "type": PUSH}
        audit.record("webhook.test_sent", target=webhook_target(webhook), after=after, now=now)


def latest_push(repository: Repository) -> bytes | None:
    """Return the payload of the latest push to a repository, or None."""
    recent = Event.objects.filter(organization_id=repository.organization_id).order_by("-id")[:EVENTS_LOOKED_AT]
    pushes = Event.objects.filter(id__in=recent.values("id"), repository=repository, type=PUSH, webhook=None).order_by(
        "-id"
    )
    payload = pushes.values_list("payload", flat=True).first()
    return None if payload is None else bytes(payload)
