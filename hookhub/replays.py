"""Runs replays: redelivers what a filter selects, or delivers what a webhook never got, in batches.

Each batch and its progress are one transaction.
"""

import dataclasses
import logging
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.utils.dateparse import parse_datetime

from deliveries import audit, missing
from deliveries.db.ids import first_id_at
from deliveries.db.lookups import find_one
from deliveries.failpoints import hit
from deliveries.missing import Span
from deliveries.models import Event, Organization, Webhook
from deliveries.redelivery import Selected, Selection, count_selected, make_due, selected_after
from hookhub.audited import replay_target
from hookhub.models import Replay

log = logging.getLogger("hookhub.replays")

BATCH = 500
# The limits of one scheduler tick for all replays together. Those that can only wait take no batch from the others.
BATCHES_A_TICK = 10
WAITING_A_TICK = 100
# After this time no further batch begins: other maintenance tasks wait, and a filter may have to read large payloads.
TICK_BUDGET = timedelta(seconds=2)
# Of the events of a period, no more are counted beforehand.
MAX_COUNTED = 100_000
# How many that ended before the retention period one tick deletes.
PRUNE_BATCH = 1000
# Of one organization at a time. They take turns with all others, so that more would only delay everybody's.
MAX_RUNNING = 20


class Done(NamedTuple):
    """What a batch has done: how many deliveries it ``found``, and how many of them became due.

    One that found none has read a part of the log in a few milliseconds, and does not count as a batch of the tick.
    """

    found: int
    made_due: int = 0


class TooManyRunning(Exception):
    """The organization has as many running replays as it may have; nothing was started."""

    def __init__(self) -> None:
        super().__init__(f"{MAX_RUNNING} replays are running, the maximum; wait until one has ended, or cancel one")


def start(
    organization: Organization,
    *,
    selection: Selection,
    asked: Mapping[str, object] | None = None,
    now: datetime,
) -> Replay:
    """Create a replay, which the workers' scheduler runs; ``asked`` is the filter as the caller wrote it.

    Its ``total`` counts what a bounded part of the log has. Raise TooManyRunning.
    """
    counted = count_selected(selection)
    with transaction.atomic():
        _require_room(organization)
        replay = Replay.objects.create(
            organization=organization,
            asked=as_json(selection) if asked is None else dict(asked),
            selection=as_json(selection),
            total=counted.deliveries,
            total_is_at_least=counted.is_at_least,
            upto=first_id_at(now + timedelta(milliseconds=1)),
            created_at=now,
            touched_at=now,
        )
        after = {"filter": replay.asked, "total": replay.total}
        audit.record("replay.started", target=replay_target(replay), after=after, now=now)
    return replay


def start_missing(webhook: Webhook, *, after: datetime, before: datetime, now: datetime) -> Replay:
    """Create a replay of the events of a period that an active webhook never got; its ``total`` are all of the period.

    Nothing older than retention keeps is looked for. Raise TooManyRunning.
    """
    span = span_of(after, before, now=now)
    within = Event.objects.filter(organization=webhook.organization_id, id__gt=span.after, id__lte=span.upto)
    counted = within.order_by()[: MAX_COUNTED + 1].count()
    with transaction.atomic():
        _require_room(webhook.organization)
        replay = Replay.objects.create(
            organization=webhook.organization,
            kind=Replay.Kind.MISSING,
            asked={"webhook": str(webhook.uid), "after": after.isoformat(), "before": before.isoformat()},
            selection={"webhook_id": webhook.pk},
            total=min(counted, MAX_COUNTED),
            total_is_at_least=counted > MAX_COUNTED,
            done_upto=span.after,
            upto=span.upto,
            created_at=now,
            touched_at=now,
        )
        shown = {"kind": replay.kind, "filter": replay.asked}
        audit.record("replay.started", target=replay_target(replay), after=shown, now=now)
    return replay


def _require_room(organization: Organization) -> None:
    """Raise TooManyRunning if the organization has MAX_RUNNING replays; two requests at once get one last place."""
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    if Replay.objects.filter(organization=organization, state="running").count() >= MAX_RUNNING:
        raise TooManyRunning


def span_of(after: datetime, before: datetime, *, now: datetime) -> Span:
    """Return the events of a period, without those that retention may delete meanwhile."""
    return Span.of(max(after, now - settings.HOOKHUB_RETENTION), before, now=now)


def cancel(replay: Replay, *, now: datetime) -> bool:
    """Cancel a running replay; return whether it was running."""
    with transaction.atomic():
        running = find_one(Replay.objects.select_for_update(no_key=True).filter(pk=replay.pk, state="running"))
        if running is None:
            return False
        _cancel(running, Replay.CancelReason.REQUESTED, now=now)
    return True


def _cancel(replay: Replay, reason: Replay.CancelReason, *, now: datetime) -> None:
    """Cancel a locked replay, and record why."""
    replay.state, replay.cancel_reason, replay.finished_at = Replay.State.CANCELLED, reason, now
    replay.save(update_fields=["state", "cancel_reason", "finished_at"])
    after = {"state": replay.state, "cancel_reason": reason}
    audit.record("replay.cancelled", target=replay_target(replay), after=after, now=now)


def run_replays(*, now: datetime) -> int:
    """Process the next batches of the running replays, in turn; return how many deliveries became due.

    Also delete replays that finished longer than HOOKHUB_RETENTION ago, up to PRUNE_BATCH of them.
    """
    made_due, batches, waiting = 0, 0, set[UUID]()
    over_at = time.monotonic() + TICK_BUDGET.total_seconds()
    while batches < BATCHES_A_TICK and len(waiting) < WAITING_A_TICK:
        running = Replay.objects.filter(state="running").order_by("touched_at", "id")
        replay, last = running.exclude(pk__in=waiting).first(), running.last()
        if replay is None or last is None:
            break
        # Move it behind all others first, so that it does not block them if this batch fails.
        Replay.objects.filter(pk=replay.pk).update(touched_at=max(now, last.touched_at) + timedelta(microseconds=1))
        try:
            done = _run_batch(replay.pk, now=now)
            hit("replay-done")
        except DatabaseError:
            log.exception("A batch of replay %s failed; will retry", replay.pk)
            connection.ensure_connection()
            done = Done(found=1)
        if done is None:
            waiting.add(replay.pk)
        elif done.found:
            made_due, batches = made_due + done.made_due, batches + 1
        if time.monotonic() >= over_at:
            break
    _prune(now=now)
    return made_due


def _prune(*, now: datetime) -> None:
    horizon = now - settings.HOOKHUB_RETENTION
    # By the order of the ids, which is that of time: there is no index of when they ended.
    old = Replay.objects.filter(id__lt=first_id_at(horizon), finished_at__lt=horizon).order_by("id")
    if ids := list(old.values_list("id", flat=True)[:PRUNE_BATCH]):
        Replay.objects.filter(id__in=ids).delete()


def _run_batch(replay_id: UUID, *, now: datetime) -> Done | None:
    """Process one batch of a replay and save its progress.

    Return None if it has to wait, or if another worker has locked it.
    """
    seen = find_one(Replay.objects.filter(pk=replay_id))
    # Before the transaction, whose other statements are to be planned as usual.
    selected = None if seen is None or seen.kind == Replay.Kind.MISSING else _next_of(seen)
    with transaction.atomic():
        running = Replay.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=replay_id, state="running")
        replay = find_one(running)
        if replay is None or seen is None or replay.done_upto != seen.done_upto:
            return None
        return _deliver_missing(replay, now=now) if selected is None else _redeliver(replay, selected, now=now)


def _next_of(replay: Replay) -> Selected:
    """Return what a replay selects next."""
    selection, end = selection_of(replay), replay.created_at + timedelta(milliseconds=1)
    bounded = dataclasses.replace(selection, before=min(selection.before or end, end))
    return selected_after(replay.done_upto, bounded, most=BATCH)


def _redeliver(replay: Replay, selected: Selected, *, now: datetime) -> Done:
    """Do one batch of a locked replay."""
    count = len(make_due(selected.ids, now=now)) if selected.ids else 0
    replay.examined += len(selected.ids)
    replay.redelivered += count
    replay.done_upto = selected.upto or replay.done_upto
    replay.total = max(replay.total, replay.examined)
    if selected.upto is None:
        # Deliveries that were deleted or changed state meanwhile are no longer selected, but the progress must still
        # reach the total.
        _finish(replay, now=now)
    replay.save()
    hit("replay-half-done")
    return Done(found=len(selected.ids), made_due=count)


def _deliver_missing(replay: Replay, *, now: datetime) -> Done | None:
    """Do one batch of a locked replay; cancel it if its webhook no longer gets events, which it may get later."""
    webhook = find_one(Webhook.objects.filter(pk__in=[selection_of(replay).webhook_id or 0]))
    status = Webhook.Status.DELETED if webhook is None else webhook.status(now=now)
    if webhook is None or status != Webhook.Status.ACTIVE:
        _cancel(replay, Replay.CancelReason(f"webhook_{status}"), now=now)
        return Done(found=1)
    batch = missing.deliver(webhook, Span(replay.done_upto or replay.upto, replay.upto), now=now)
    if batch is None:
        return None
    replay.examined += batch.examined
    replay.redelivered += batch.delivered
    replay.done_upto = batch.upto or replay.done_upto
    replay.total = max(replay.total, replay.examined)
    if batch.is_last:
        _finish(replay, now=now)
    replay.save()
    hit("replay-half-done")
    # It may examine many events that the webhook has got, which takes as long.
    return Done(found=1, made_due=batch.delivered)


def _finish(replay: Replay, *, now: datetime) -> None:
    replay.state, replay.finished_at = Replay.State.FINISHED, now
    replay.total, replay.total_is_at_least = replay.examined, False


def as_json(selection: Selection) -> dict[str, object]:
    """Return a selection as stored in the table, without the conditions that it does not use."""
    found: dict[str, object] = {
        "webhook_id": selection.webhook_id,
        "event_id": str(selection.event_id) if selection.event_id else None,
        "repository_id": selection.repository_id,
        "states": list(selection.states) or None,
        "event_type": selection.event_type,
        "after": selection.after.isoformat() if selection.after else None,
        "before": selection.before.isoformat() if selection.before else None,
        "ids": [str(delivery_id) for delivery_id in selection.ids] if selection.ids is not None else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def selection_of(replay: Replay) -> Selection:
    """Return the stored selection of a replay."""
    kept = replay.selection
    return Selection(
        organization_id=replay.organization_id,
        webhook_id=kept.get("webhook_id"),
        event_id=UUID(kept["event_id"]) if "event_id" in kept else None,
        repository_id=kept.get("repository_id"),
        states=tuple(kept.get("states", ())),
        event_type=kept.get("event_type"),
        after=parse_datetime(kept["after"]) if "after" in kept else None,
        before=parse_datetime(kept["before"]) if "before" in kept else None,
        ids=tuple(UUID(text) for text in kept["ids"]) if "ids" in kept else None,
    )
