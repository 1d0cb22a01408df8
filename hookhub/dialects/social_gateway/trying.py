"""Trying a hook: a ping, and the latest push once more."""

from datetime import datetime
from typing import Any

from django.db import transaction

from deliveries import audit, catalogue, compact_json, pipeline, replay
from deliveries.audited import webhook_target
from deliveries.events import NewEvent
from deliveries.models import Event, Repository, Webhook
from deliveries.topics import EVERYTHING, topics_of
from hookhub.dialects.social_gateway.services import CATALOGUE

PUSH = "push"
ZEN = "Nothing owed is forgotten."
# So far back in the organization's log a repository's latest push is looked for: far enough for a person who tries a
# hook, and never a walk through millions of rows.
EVENTS_LOOKED_AT = 10_000


def ping(webhook: Webhook, *, hook: dict[str, Any], repository: dict[str, Any], now: datetime) -> None:
    """Send a ping that shows the hook; to one that is not active nothing is sent."""
    if webhook.active:
        told = {"zen": ZEN, "hook_id": webhook.pk, "hook": hook, "repository": repository}
        replay.ping(webhook, data=told, now=now)


def test(webhook: Webhook, repository: Repository, *, now: datetime) -> None:
    """Send the latest push once more, to this hook alone; to one that asks for no pushes nothing is sent.

    Of a repository without a push it is the one that the documentation shows.
    """
    if not webhook.active or not {EVERYTHING, PUSH} & set(webhook.events):
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
    )
    with transaction.atomic():
        accepted = pipeline.accept([event], now=now)[0]
        after = {"event": accepted.id, "type": PUSH}
        audit.record("webhook.test_sent", target=webhook_target(webhook), after=after, now=now)


def latest_push(repository: Repository) -> bytes | None:
    """Give what was published about the latest push to a repository, or None."""
    recent = Event.objects.filter(organization_id=repository.organization_id).order_by("-id")[:EVENTS_LOOKED_AT]
    pushes = Event.objects.filter(id__in=recent.values("id"), repository=repository, type=PUSH, webhook=None).order_by(
        "-id"
    )
    payload = pushes.values_list("payload", flat=True).first()
    return None if payload is None else bytes(payload)
