"""Opens the pages of the admin, and presses their buttons."""

import re
from datetime import datetime
from html import unescape
from typing import Any

from django.test import Client
from django.urls import reverse

from deliveries import pipeline, redelivery
from deliveries.models import Delivery
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from tests.receiver import Answer
from tests.story import Forge, deliver_due

LOG = "/admin/deliveries/delivery/"
EVENTS = "/admin/deliveries/event/"
ATTEMPTS = "/admin/deliveries/attempt/"
HOOKS = "/admin/deliveries/webhook/"
KEYS = "/admin/hookhub/apikey/"
LOG_TABLES = ("hookhub_delivery", "hookhub_event", "hookhub_attempt")


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer
    return answer.content.decode()


def hidden_in(text: str) -> dict[str, list[str]]:
    """Return the values with which a form was loaded, as the browser sends them back."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(initial-\w+)"(?: value="([^"]*)")?', text):
        found.setdefault(name, []).append(unescape(value))
    return found


def act(client: Client, address: str, action: str, *chosen: Any, **more: str) -> list[str]:
    """Run an action of a list as its form does, and return the messages it shows."""
    answer = client.post(
        address,
        {"action": action, "_selected_action": [str(row.pk) for row in chosen], "index": "0", **more},
        follow=True,
    )
    assert answer.status_code == 200
    return messages_of(answer)


def press(client: Client, row: Any, action: str, **more: str) -> list[str]:
    """Press a button on an object's page, and return the messages it shows."""
    answer = client.post(
        f"{page_of(row)}act/".replace("/change/act/", "/act/"), {"action": action, **more}, follow=True
    )
    assert answer.status_code == 200
    return messages_of(answer)


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def listed(client: Client, address: str) -> list[Any]:
    answer = client.get(address)
    assert answer.status_code == 200
    return [row.pk for row in answer.context["cl"].result_list]


def secret_in(messages: list[str]) -> str:
    [secret] = re.findall(r"whsec_[A-Za-z0-9+/=_-]+", " ".join(messages))
    return str(secret)


def in_every_state(forge: Forge, sender: Sender, *, now: datetime) -> dict[str, Delivery]:
    """Return one delivery in each state, each of a separate webhook."""
    made = {}
    for state in ("delivered", "failed", "held", "cancelled", "sending", "pending"):
        webhook = forge.webhook(now=now, path=f"/{state}", name=state, events=[state], retry_schedule=[])
        forge.receiver.answers["/failed"] = Answer(500)
        forge.accept(now=now, event_type=state)
        delivery = Delivery.objects.get(webhook=webhook)
        if state in {"delivered", "failed"}:
            deliver_due(sender, now=now)
        elif state == "held":
            lifecycle.disable(webhook.pk, now=now)
        elif state == "cancelled":
            redelivery.cancel([delivery.pk], now=now)
        elif state == "sending":
            pipeline.claim(1, now=now)
        delivery.refresh_from_db()
        assert delivery.state == state
        made[state] = delivery
    return made


def errors_of(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return dict(answer.context["adminform"].form.errors)
