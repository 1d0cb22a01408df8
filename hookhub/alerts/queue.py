"""The queue of alerts: each channel has a time at which its next alert is due; e-mails to owners have one each.

People are told of all that waits of one kind in one message, so that an outage of many webhooks is not as many e-mails.
Alerts are leased before they are sent, and recorded after. A process that dies in between lets them be sent again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import F, Min, Q, QuerySet

from deliveries.db.ids import first_id_at, uuid7s
from deliveries.db.lookups import find_one
from hookhub.models import Alert, AlertChannel, AlertKind

# How many e-mails of each kind, and how many requests, are sent in one batch.
MAX_MAILS, MAX_REQUESTS = 10, 32
# Longer than a batch may take: twenty e-mails to a mail server that takes ten seconds for each.
LEASE = timedelta(minutes=5)
# Between two alerts to one channel. Slack accepts about one message a second; and no tenant may fill a mailbox.
PACE, MAIL_PACE = timedelta(seconds=1), timedelta(seconds=15)
# After a failure the delay doubles, up to MAX_DELAY, until the alert is a day old.
MIN_DELAY, MAX_DELAY = timedelta(minutes=1), timedelta(minutes=10)
GIVE_UP_AFTER = timedelta(days=1)
MAX_ERROR = 500
# How many alerts one message tells of.
MAX_BUNDLED = 500
# What the owners are told by e-mail if no channel is.
OF_OWNERS = frozenset({AlertKind.DISABLED, AlertKind.LEASE_ENDING})


class Claim(NamedTuple):
    """Alerts of one kind to send now in one message, the oldest first; ``channel`` is None for an e-mail to the owners.

    A program gets each alert in a request of its own, and a test is always alone.
    """

    alerts: tuple[Alert, ...]
    channel: AlertChannel | None

    @property
    def alert(self) -> Alert:
        """Return the oldest of its alerts."""
        return self.alerts[0]


@dataclass(frozen=True, slots=True)
class Sent:
    """It was accepted."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """It will not be accepted."""

    error: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """It may be accepted later, not before ``after`` if that is set; it is given up a day after it was created.

    With ``is_kept`` it is not, because no alert at all can be sent at the moment.
    """

    error: str
    after: timedelta | None = None
    is_kept: bool = False


Result = Sent | Rejected | Postponed


def claim(*, now: datetime) -> list[Claim]:
    """Lease the next alerts of each channel that is due, and e-mails to owners, up to a batch of each."""
    by_mail = Q(type=AlertChannel.Type.EMAIL)
    with transaction.atomic():
        return [
            *_to_owners(MAX_MAILS, now=now),
            *_of_channels(by_mail, MAX_MAILS, now=now),
            *_of_channels(~by_mail, MAX_REQUESTS, now=now),
        ]


def _of_channels(types: Q, limit: int, *, now: datetime) -> list[Claim]:
    due = AlertChannel.objects.filter(types, due_at__lte=now).select_related("organization").order_by("due_at")
    channels = list(due.select_for_update(no_key=True, skip_locked=True, of=("self",))[:limit])
    claims = []
    for channel in channels:
        alerts = next_of(channel)
        channel.due_at = now + LEASE if alerts else None
        channel.save(update_fields=["due_at"])
        if alerts:
            claims.append(Claim(alerts, channel))
    return claims


def next_of(channel: AlertChannel) -> tuple[Alert, ...]:
    """Return the oldest alert that waits for a channel, with all of its kind that people are told of together."""
    pending = pending_of(channel)
    first = pending.first()
    if first is None:
        return ()
    if channel.type == AlertChannel.Type.WEBHOOK or first.kind == AlertKind.TEST:
        return (first,)
    return tuple(pending.filter(kind=first.kind)[:MAX_BUNDLED])


def _to_owners(limit: int, *, now: datetime) -> list[Claim]:
    pending = Alert.objects.filter(state=Alert.State.PENDING, channel=None, due_at__lte=now)
    due = pending.exclude(organization__in=_told_lately(now=now)) if pending.exists() else pending.none()
    claims: list[Claim] = []
    groups = due.order_by("organization", "kind").values_list("organization", "kind").annotate(since=Min("due_at"))
    for organization, kind, _ in groups.order_by("since")[:limit]:
        rows = due.filter(organization=organization, kind=kind).select_related("organization", "webhook").order_by("id")
        alerts = tuple(rows.select_for_update(no_key=True, skip_locked=True, of=("self",))[:MAX_BUNDLED])
        Alert.objects.filter(pk__in=[alert.pk for alert in alerts]).update(due_at=now + LEASE)
        claims += [Claim(alerts, None)] if alerts else []
    return claims


def _told_lately(*, now: datetime) -> list[int]:
    """Return the organizations whose owners have just had an e-mail: further ones wait, and are told together."""
    sent = Alert.objects.filter(state=Alert.State.SENT, channel=None, channel_type=Alert.OWNERS)
    lately = sent.filter(
        id__gte=first_id_at(now - GIVE_UP_AFTER), finished_at__gt=now - MAIL_PACE, finished_at__lte=now
    )
    return list(lately.order_by().values_list("organization", flat=True).distinct())


def pending_of(channel: AlertChannel) -> QuerySet[Alert]:
    """Return what waits to be sent to a channel, the oldest first; while it is paused, only tests."""
    pending = Alert.objects.filter(channel=channel, state=Alert.State.PENDING)
    if channel.paused_at is not None:
        pending = pending.filter(kind=AlertKind.TEST)
    return pending.select_related("organization", "webhook").order_by("id")


def wake(channels: Iterable[UUID], *, now: datetime) -> None:
    """Let channels send what waits, unless they are to wait themselves. Call it in the transaction that adds alerts.

    Every row is locked, also one that is due already: a worker that records the last alert of a channel waits for
    that, and then finds the new one.
    """
    locked = AlertChannel.objects.filter(pk__in=list(channels)).order_by("pk").select_for_update(no_key=True)
    for channel in locked:
        if channel.due_at is None:
            channel.due_at = next_at(channel, now=now)
            channel.save(update_fields=["due_at"])


def next_at(channel: AlertChannel, *, now: datetime) -> datetime:
    """Return when a channel may send its next alert, at its pace."""
    pace = MAIL_PACE if channel.type == AlertChannel.Type.EMAIL else PACE
    # A clock that was set back must not delay it for longer.
    return now if channel.last_sent_at is None else max(now, min(channel.last_sent_at, now) + pace)


def supersede(alerts: QuerySet[Alert], *, now: datetime) -> int:
    """Let pending alerts not be sent any more, because something newer is; return how many."""
    pending = alerts.filter(state=Alert.State.PENDING)
    return pending.update(state=Alert.State.SUPERSEDED, finished_at=now, due_at=None)


def record(claimed: Claim, result: Result, *, now: datetime) -> int:
    """Record what became of alerts, and when the channel's next is due; return how many are done with.

    A process whose lease has ended, because it was suspended, changes nothing of what another one has sent since.
    """
    error = "" if isinstance(result, Sent) else result.error[:MAX_ERROR]
    delays = {alert.pk: delay_of(alert, result, now=now) for alert in claimed.alerts}
    kept = {pk: delay for pk, delay in delays.items() if delay is not None}
    # Those of one message are tried again together.
    delay = max(kept.values(), default=None)
    with transaction.atomic():
        channel = None
        if claimed.channel is not None:
            # First the channel, as wherever both are locked.
            channel = find_one(AlertChannel.objects.select_for_update(no_key=True).filter(pk=claimed.channel.pk))
            if channel is not None and channel.due_at != claimed.channel.due_at:
                return _record_late(claimed, result, now=now)
        if delay is not None:
            due_at = now + delay if claimed.channel is None else None
            waiting = Alert.objects.filter(pk__in=list(kept), state=Alert.State.PENDING)
            waiting.update(attempts=F("attempts") + 1, error=error, due_at=due_at)
        state = Alert.State.SENT if isinstance(result, Sent) else Alert.State.FAILED
        # Also those that were superseded while they were sent, but none that another process has sent meanwhile.
        over = Alert.objects.filter(pk__in=delays.keys() - kept.keys()).exclude(state=Alert.State.SENT)
        over.update(state=state, attempts=F("attempts") + 1, error=error, finished_at=now, due_at=None)
        if state == Alert.State.FAILED and claimed.channel is not None:
            _notify_owners_instead([alert for alert in claimed.alerts if alert.pk not in kept], now=now)
        if channel is not None:
            # A mail server that is away says nothing about the channel.
            is_at_fault = bool(error) and not (isinstance(result, Postponed) and result.is_kept)
            channel.failing_since = (channel.failing_since or now) if is_at_fault else None
            _record_of_channel(channel, error, delay=delay, now=now)
    return len(delays) - len(kept)


def _record_late(claimed: Claim, result: Result, *, now: datetime) -> int:
    """Record only what was sent by a process that has lost its lease of the channel; another may be sending to it."""
    if not isinstance(result, Sent):
        return 0
    others = Alert.objects.filter(pk__in=[alert.pk for alert in claimed.alerts]).exclude(state=Alert.State.SENT)
    return others.update(state=Alert.State.SENT, attempts=F("attempts") + 1, error="", finished_at=now, due_at=None)


def _notify_owners_instead(failed: Sequence[Alert], *, now: datetime) -> None:
    """Queue e-mails to the owners in place of a channel's failed alerts that no other is told of; of one kind."""
    kind = failed[0].kind if failed else None
    if kind not in OF_OWNERS:
        return
    others = Alert.objects.filter(
        webhook__in=[alert.webhook_id for alert in failed], kind=kind, state__in=(Alert.State.PENDING, Alert.State.SENT)
    )
    known = set(others.values_list("webhook_id", "about"))
    missing = [alert for alert in failed if (alert.webhook_id, alert.about) not in known]
    ids = uuid7s(now, len(missing)) if missing else []
    Alert.objects.bulk_create(
        [
            Alert(
                id=alert_id, organization_id=alert.organization_id, webhook_id=alert.webhook_id,
                channel_type=Alert.OWNERS, kind=kind, about=alert.about, details=alert.details, due_at=now,
                created_at=now,
            )
            for alert_id, alert in zip(ids, missing, strict=True)
        ],
        ignore_conflicts=True,
    )  # fmt: skip


def drop(claimed: Claim, *, now: datetime) -> int:
    """Let alerts that are no longer true not be sent; return how many."""
    with transaction.atomic():
        channel = None
        if claimed.channel is not None:
            channel = find_one(AlertChannel.objects.select_for_update(no_key=True).filter(pk=claimed.channel.pk))
        supersede(Alert.objects.filter(pk__in=[alert.pk for alert in claimed.alerts]), now=now)
        if channel is not None:
            channel.due_at = now if pending_of(channel).order_by().exists() else None
            channel.save(update_fields=["due_at"])
    return len(claimed.alerts)


def _record_of_channel(channel: AlertChannel, error: str, *, delay: timedelta | None, now: datetime) -> None:
    """Save when a locked channel sends its next alert, and how the last one went."""
    is_waiting = pending_of(channel).order_by().exists()
    channel.last_error = error
    if not error:
        channel.last_sent_at = now
    channel.due_at = (next_at(channel, now=now) if delay is None else now + delay) if is_waiting else None
    channel.save(update_fields=["due_at", "last_error", "failing_since", "last_sent_at"])


def delay_of(alert: Alert, result: Result, *, now: datetime) -> timedelta | None:
    """Return when to try an alert again, or None if it is done with, or given up."""
    if not isinstance(result, Postponed) or (not result.is_kept and now - alert.created_at >= GIVE_UP_AFTER):
        return None
    return max(delay_after(alert.attempts + 1), result.after or timedelta(0))


def delay_after(attempts: int) -> timedelta:
    """Return the delay after this many failed attempts."""
    doublings = min(attempts - 1, 10)
    return min(MIN_DELAY * (1 << doublings), MAX_DELAY)
