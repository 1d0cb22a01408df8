"""The lower baseline, as such services are often written: a Celery task per delivery, `requests`, and ORM saves.

`python -m bench.baseline_celery` enqueues a task for each pending delivery; `celery -A bench.baseline_celery worker`
runs them.
"""

import os
from datetime import UTC, datetime, timedelta

import django
import requests
from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hookhub.service.settings")
django.setup()

from django.conf import settings

from deliveries import pipeline, vault
from deliveries.formats import FORMATS, Message
from deliveries.models import Attempt, Delivery

# HookHub's own transport, which its settings have put in this place, carries wake-ups and no other messages.
TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = "kombu.transport.redis:Transport"
app = Celery("naive", broker=settings.CELERY_BROKER_URL)
app.conf.task_default_queue = f"{settings.HOOKHUB_QUEUE}-naive"
app.conf.task_ignore_result = True

session = requests.Session()


# Named explicitly, because the publisher imports this module under another name than the worker.
@app.task(name="naive.deliver")
def deliver(delivery_id: str) -> None:
    """Send one delivery and save the result."""
    delivery = Delivery.objects.select_related("event", "webhook", "organization", "repository").get(pk=delivery_id)
    webhook, event, now = delivery.webhook, delivery.event, datetime.now(UTC)
    message = Message(
        delivery_id=str(delivery.pk),
        attempt=delivery.attempts_made + 1,
        event_id=str(event.pk),
        event_type=event.type,
        payload=bytes(event.payload),
        occurred_at=event.occurred_at,
        sent_at=now,
        organization=delivery.organization.slug,
        repository=delivery.repository.name if delivery.repository else None,
        webhook_id=str(webhook.uid),
        webhook_number=webhook.pk,
        scope="repository" if webhook.repository_id else "organization",
        scope_number=webhook.repository_id or webhook.organization_id,
        content_type=webhook.content_type,
        secrets=tuple(secret.text for secret in vault.live_secrets(webhook.sealed_secrets, of=webhook.uid, now=now)),
    )
    rendered = FORMATS[webhook.format].render(message)
    answer = session.post(webhook.url, data=rendered.body, headers=dict(rendered.headers), timeout=15)
    ended = datetime.now(UTC)
    delivery.attempts_made += 1
    Attempt.objects.create(
        delivery=delivery,
        webhook=webhook,
        number=delivery.attempts_made,
        started_at=now,
        duration=ended - now,
        url=webhook.url,
        request_headers="\n".join(f"{name}: {value}" for name, value in rendered.headers),
        outcome="delivered" if answer.ok else "failed",
        status=answer.status_code,
        response_headers="\n".join(f"{name}: {value}" for name, value in answer.headers.items()),
        response_body=answer.content,
        error="",
    )
    delivery.last_status = answer.status_code
    if answer.status_code < 300:
        delivery.state, delivery.finish_reason, delivery.finished_at, delivery.due_at = (
            "delivered",
            "delivered",
            ended,
            None,
        )
    else:
        delivery.due_at = ended + timedelta(minutes=1)
    delivery.save()


def main() -> None:
    now = datetime.now(UTC)
    while pipeline.fan_out(now=now)[0]:
        pass
    waiting = Delivery.objects.filter(state="pending").order_by("id").values_list("id", flat=True)
    for delivery_id in waiting.iterator():
        deliver.delay(str(delivery_id))


if __name__ == "__main__":
    main()
