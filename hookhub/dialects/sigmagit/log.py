"""A webhook's log in Sigmagit's shape: one row per attempt, each with its event's payload byte for byte."""

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Length
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework import serializers

from deliveries.models import Attempt, Event, Webhook
from hookhub.dialects.sigmagit.showing import written
from hookhub.http.fields import DateTimeField

MAX_ROWS = 100
# A hundred payloads may be a hundred megabytes; at most this many bytes of them are in memory at once.
PAYLOADS_AT_ONCE = 4 * 1024 * 1024


class SigmagitAttemptSerializer(serializers.Serializer[Any]):
    """An attempt in a webhook's log."""

    id = serializers.UUIDField()
    webhookId = serializers.UUIDField()
    eventType = serializers.CharField()
    payload = serializers.JSONField(allow_null=True)
    statusCode = serializers.IntegerField(allow_null=True)
    response = serializers.CharField(help_text="Response body, or the error if there was no response.")
    deliveredAt = DateTimeField()


def answer_with_log(webhook: Webhook) -> HttpResponseBase:
    """Return the newest attempts, in one piece if they are small, or else as a stream."""
    attempts = newest(webhook)
    batches = list(in_batches(sizes_of(attempts)))
    rows = written_rows(webhook, attempts, batches)
    content = chain([b'{"data":['], rows, [b"]}"])
    if len(batches) <= 1:
        return HttpResponse(b"".join(content), content_type="application/json")
    return StreamingHttpResponse(content, content_type="application/json")


def newest(webhook: Webhook) -> list[dict[str, Any]]:
    """Return the newest attempts for a webhook as rows, with the ids and types of their events."""
    log = Attempt.objects.of_webhook(webhook.pk).order_by("-id")
    log_of_events = log.annotate(event_id=F("delivery__event_id"), event_type=F("delivery__event_type"))
    columns = ("id", "event_id", "event_type", "started_at", "duration", "status", "response_body", "error")
    return [dict(row) for row in log_of_events.values(*columns)[:MAX_ROWS]]


def sizes_of(attempts: Iterable[dict[str, Any]]) -> dict[UUID, int]:
    """Return the payload size in bytes by event id, in the order in which the attempts need the payloads."""
    needed = list(dict.fromkeys(attempt["event_id"] for attempt in attempts))
    known = dict(Event.objects.filter(id__in=needed).values_list("id", Length("payload")))
    return {event: known[event] for event in needed if event in known}


def in_batches(sizes: dict[UUID, int]) -> Iterator[list[UUID]]:
    """Yield batches of events whose payloads fit into memory together; a larger one is a batch by itself."""
    batch: list[UUID] = []
    taken = 0
    for event, size in sizes.items():
        if batch and taken + size > PAYLOADS_AT_ONCE:
            yield batch
            batch, taken = [], 0
        batch.append(event)
        taken += size
    if batch:
        yield batch


def written_rows(webhook: Webhook, attempts: list[dict[str, Any]], batches: list[list[UUID]]) -> Iterator[bytes]:
    """Yield the rows as items of a JSON array, with the payloads of one batch in memory at a time."""
    batch_of = {event: batch for batch in batches for event in batch}
    in_hand: list[UUID] = []
    payloads: dict[UUID, bytes] = {}
    for position, attempt in enumerate(attempts):
        # A payload that retention has deleted meanwhile is in no batch, or missing from its batch.
        batch = batch_of.get(attempt["event_id"], in_hand)
        if batch is not in_hand:
            found = Event.objects.filter(id__in=batch).values_list("id", "payload")
            in_hand, payloads = batch, {event: bytes(payload) for event, payload in found}
        yield (b"," if position else b"") + row(webhook, attempt, payloads.get(attempt["event_id"], b"null"))


def row(webhook: Webhook, attempt: dict[str, Any], payload: bytes) -> bytes:
    """Return an attempt as JSON, with its event's payload unchanged."""
    ended_at = attempt["started_at"] + (attempt["duration"] or timedelta(0))
    before = {"id": str(attempt["id"]), "webhookId": str(webhook.uid), "eventType": attempt["event_type"]}
    after = {"statusCode": attempt["status"], "response": response_text(attempt), "deliveredAt": written(ended_at)}
    return b'%s,"payload":%s,%s' % (json.dumps(before).encode()[:-1], payload, json.dumps(after).encode()[1:])


def response_text(attempt: dict[str, Any]) -> str:
    """Return the body of the receiver's response as text, or the error if there was no response."""
    if attempt["status"] is None:
        return str(attempt["error"])
    return bytes(attempt["response_body"]).decode("utf-8", "backslashreplace").replace("\0", "\\x00")
