"""Announce: decide which channels are told of a webhook, and queue an alert for each, once."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q

from deliveries import shutdown
from deliveries.db.ids import first_id_at, uuid7s
from deliveries.maintenance import incidents
from deliveries.maintenance.incidents import Announcement
from deliveries.models import Webhook
from hookhub.alerts import queue
from hookhub.models import Alert, AlertChannel, AlertKind

# How many webhooks of each kind are announced in one tick: as many as a message may tell of.
WEBHOOKS_PER_TICK = 500
OF_INCIDENTS = (AlertKind.FAILING, AlertKind.DISABLED, AlertKind.RECOVERED)


class News(NamedTuple):
    """What there is to tell of a webhook. ``about`` and ``percent`` make it unique among the alerts of its kind."""

    kind: AlertKind
    about: datetime
    details: Mapping[str, object]
    percent: int | None = None


def watch_webhooks(*, now: datetime) -> int:
    """Announce which webhooks keep failing, and which have recovered; return how many."""

    def queue_alerts(webhook: Webhook, announcement: Announcement) -> None:
        announce(webhook, news_of(webhook, announcement, now=now), now=now)

    return incidents.watch(queue_alerts, now=now)


def announce_disabled(*, now: datetime) -> int:
    """Announce which webhooks were disabled, the first one first; return how many."""

    def announce_one(webhook: Webhook) -> None:
        webhook.owner_notified_at = now
        webhook.save(update_fields=["owner_notified_at"])
        if (at := webhook.disabled_at) is not None:
            details = {"reason": webhook.disabled_reason, "failure_count": webhook.failure_count}
            announce(webhook, News(AlertKind.DISABLED, at, {**details, "disabled_at": at.isoformat()}), now=now)

    return _for_each(announce_one, order="disabled_at", disabled_at__isnull=False, owner_notified_at=None)


def announce_ending(*, now: datetime) -> int:
    """Announce which leases end soon, the first one first; return how many."""

    def announce_one(webhook: Webhook) -> None:
        webhook.expiry_mail_at = None
        webhook.save(update_fields=["expiry_mail_at"])
        if (at := webhook.expires_at) is not None:
            announce(webhook, News(AlertKind.LEASE_ENDING, at, {"expires_at": at.isoformat()}), now=now)

    return _for_each(announce_one, order="expiry_mail_at", expiry_mail_at__lte=now)


def _for_each(act: Callable[[Webhook], None], *, order: str, **conditions: object) -> int:
    """Call ``act`` with each webhook that meets the conditions, locked in a transaction of its own; return how many.

    One that another transaction has locked is left to the next tick.
    """
    due = Webhook.objects.kept().filter(**conditions).order_by(order)
    lockable = due.select_related("organization").select_for_update(no_key=True, skip_locked=True, of=("self",))
    count = 0
    for webhook_id in in_time(list(due.values_list("pk", flat=True)[:WEBHOOKS_PER_TICK])):
        with transaction.atomic():
            if (webhook := lockable.filter(pk=webhook_id).first()) is not None:
                act(webhook)
                count += 1
    return count


def in_time(webhooks: Iterable[int]) -> Iterator[int]:
    """Yield webhooks for as long as a tick may take, the first one in any case; the next tick finds the others."""
    over_at = time.monotonic() + incidents.TICK_BUDGET.total_seconds()
    for webhook_id in webhooks:
        yield webhook_id
        if time.monotonic() >= over_at or shutdown.is_requested():
            return


def news_of(webhook: Webhook, announcement: Announcement, *, now: datetime) -> News:
    """Return what to tell of a failing webhook, or of one that has recovered."""
    event = incidents.facts_of(webhook, announcement, now=now)
    if announcement.percent is None:
        return News(AlertKind.RECOVERED, announcement.failing_since, event)
    # It may fail again after it was enabled, without a success in between.
    about = max(announcement.failing_since, webhook.enabled_at or announcement.failing_since)
    return News(AlertKind.FAILING, about, event, announcement.percent)


def announce(webhook: Webhook, news: News, *, now: datetime) -> None:
    """Queue an alert for each channel that is to be told of a locked webhook, or for its organization's owners."""
    channels = channels_for(webhook, news)
    queue.wake([channel.pk for channel in channels], now=now)
    if news.kind in OF_INCIDENTS:
        # Of an incident only the latest is worth telling: what has waited so long is out of date.
        older = Alert.objects.filter(webhook=webhook, channel__in=channels, kind__in=OF_INCIDENTS)
        queue.supersede(older, now=now)
    recipients: list[AlertChannel | None] = [*channels]
    # If no channel works, the owners get an e-mail. That includes having no channel.
    if news.kind in queue.OF_OWNERS and all(channel.failing_since is not None for channel in channels):
        recipients.append(None)
    _create(webhook, news, recipients, now=now)


def channels_for(webhook: Webhook, news: News) -> list[AlertChannel]:
    """Return the channels that are told of a webhook, locked: one may be deleted or paused meanwhile."""
    found = (
        AlertChannel.objects.select_for_update(no_key=True)
        .filter(
            Q(repository=None) | Q(repository=webhook.repository_id),
            organization=webhook.organization_id,
            paused_at=None,
            kinds__contains=[news.kind],
        )
        .order_by("pk")
    )
    if news.percent is not None:
        found = found.filter(from_percent__lte=news.percent)
    channels = list(found)
    if news.kind == AlertKind.RECOVERED:
        # A channel without an alert of the incident gets none of its end, unless it asks for nothing else.
        alerted = set(
            Alert.objects.filter(
                webhook=webhook, id__gte=first_id_at(news.about), kind__in=[AlertKind.FAILING, AlertKind.DISABLED]
            ).values_list("channel_id", flat=True)
        )
        channels = [each for each in channels if each.pk in alerted or not set(each.kinds) & {"failing", "disabled"}]
    return channels


def _create(webhook: Webhook, news: News, recipients: Sequence[AlertChannel | None], *, now: datetime) -> None:
    ids = uuid7s(now, len(recipients)) if recipients else []
    alerts = [
        Alert(
            id=alert_id,
            organization_id=webhook.organization_id,
            webhook=webhook,
            channel=channel,
            channel_type=Alert.OWNERS if channel is None else channel.type,
            channel_name="" if channel is None else str(channel),
            kind=news.kind,
            percent=news.percent,
            about=news.about,
            details=dict(news.details),
            due_at=min(now, news.about) if channel is None else None,
            created_at=now,
        )
        for alert_id, channel in zip(ids, recipients, strict=True)
    ]
    # What was announced before stays as it is.
    Alert.objects.bulk_create(alerts, ignore_conflicts=True)
