"""The admin's pages of deliveries and events explain them, and act only through the engine."""

import re
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from freezegun import freeze_time

from deliveries import pipeline
from deliveries.db import sql
from deliveries.models import Attempt, Delivery, Event, Organization
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from deliveries.workers import Heartbeat
from tests.admin_pages import (
    ATTEMPTS,
    EVENTS,
    HOOKS,
    KEYS,
    LOG,
    act,
    in_every_state,
    messages_of,
    page,
    page_of,
    press,
)
from tests.receiver import Answer
from tests.story import Forge, deliver_due, the_delivery

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(admin_client: Client) -> Client:
    return admin_client


# Showing --------------------------------------------------------------------------------------------------------------

HOSTILE = b'<script>alert("x")</script>\x00\xff\x1b[31m\xe2\x80\xaegnp.exe'


def test_a_receivers_words_are_shown_as_text_with_nothing_hidden(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(500, {"X-Evil": "<img src=x onerror=alert(1)>"}, HOSTILE)
    forge.accept(now=now, data={"title": "</pre><script>alert(2)</script>"})
    deliver_due(sender, now=now)

    for address in (page_of(the_delivery()), LOG, ATTEMPTS, page_of(Event.objects.get()), HOOKS):
        content = page(operator, address)
        assert "<script>alert" not in content
        assert "<img src=x" not in content
        assert "\x00" not in content
        assert "\u202e" not in content
    shown = page(operator, page_of(the_delivery()))
    assert r"&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;\x00\xff\x1b[31m\u202egnp.exe" in shown
    assert "X-Evil: &lt;img src=x onerror=alert(1)&gt;" in shown


def test_a_deliverys_page_tells_its_whole_story(forge: Forge, operator: Client, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, headers={"X-Token": "s3cret-token"}, retry_schedule=[60])
    forge.receiver.answers["/"] = [Answer(503, {}, b"busy"), Answer(500, {}, b"x" * 20_000)]
    forge.accept(now=now, data={"title": "Zoë"})
    deliver_due(sender, now=now)
    deliver_due(sender, now=now + timedelta(minutes=2))

    shown = page(operator, page_of(the_delivery()))

    # Its failure has disabled the webhook.
    assert "Failed on attempt 2: retry schedule exhausted. It can be redelivered once the webhook is enabled." in shown
    assert shown.index('id="attempt-1"') < shown.index('id="attempt-2"')
    assert "2026-03-04 12:00:00 UTC" in shown
    assert "2026-03-04 12:02:00 UTC" in shown
    assert f"POST {forge.receiver.url('/')}" in shown
    assert "X-Token: ********" in shown
    assert "s3cret-token" not in shown
    assert "busy" in shown
    assert "The receiver is unavailable for now (503)." in shown
    assert "first byte" in shown
    assert "Truncated to 16384 bytes." in shown
    assert "&quot;title&quot;: &quot;Zoë&quot;" in shown
    assert r"{&quot;title&quot;: &quot;Zo\u00eb&quot;}" in shown


def test_an_attempt_without_an_answer_says_why(forge: Forge, operator: Client, sender: Sender, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.close()
    forge.accept(now=now)
    deliver_due(sender, now=now)
    attempt = Attempt.objects.get()

    shown = page(operator, page_of(the_delivery()))

    assert (attempt.status, attempt.outcome) == (None, "no_response")
    assert attempt.error in shown
    assert "127.0.0.1 refused the connection: nothing listens at this port." in shown
    assert "Check that the receiver runs" in shown
    assert '<span class="hh-status">No response</span>' in shown
    assert operator.get(page_of(attempt))["Location"] == f"{page_of(the_delivery())}#attempt-1"
    assert str(webhook) in shown


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("delivered", "Delivered on attempt 1."),
        ("failed", "Failed on attempt 1: retry schedule exhausted. It can be redelivered."),
        (
            "held",
            "Held because the webhook is disabled (by its owner). It can be redelivered once the webhook is enabled.",
        ),
        ("cancelled", "Cancelled. It can be redelivered."),
        ("sending", "A worker is sending this delivery."),
        ("pending", "Ready for 5 min. Waiting for a worker, or for other deliveries to the webhook to finish."),
    ],
)
def test_a_deliverys_page_says_why_it_is_where_it_is(
    forge: Forge, operator: Client, sender: Sender, now: datetime, state: str, sentence: str
) -> None:
    delivery = in_every_state(forge, sender, now=now)[state]

    with freeze_time(now + timedelta(minutes=5)):
        assert sentence in page(operator, page_of(delivery))


def test_a_resting_webhook_explains_why_its_delivery_waits(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    Heartbeat("a worker").beat(now=sql.database_now())
    forge.webhook(now=now, name="Sleepy")
    forge.receiver.answers["/"] = Answer(503, {"Retry-After": "600"}, b"")
    forge.accept(now=now)
    deliver_due(sender, now=now)
    forge.accept(now=now)
    waiting = Delivery.objects.get(attempts_made=0)

    with freeze_time(now + timedelta(minutes=2)):
        shown, hooks, front = page(operator, page_of(waiting)), page(operator, HOOKS), page(operator, "/admin/")

    assert "Waiting because the webhook is backing off until 2026-03-04 12:10:00 UTC." in shown
    assert re.search(r"Backing off, next attempt in \d+ min", hooks)
    assert "The oldest ready delivery is 2 min overdue: its webhook is backing off." in front


def test_an_events_page_shows_its_payload_and_gives_the_exact_bytes(
    forge: Forge, operator: Client, now: datetime
) -> None:
    forge.webhook(now=now, name="Chat bridge")
    [event_id] = forge.accept(now=now, data={"a": [1, "<b>"]})

    shown = page(operator, f"{EVENTS}{event_id}/change/")
    saved = operator.get(f"{EVENTS}{event_id}/payload/")

    assert "&lt;b&gt;" in shown
    assert str(the_delivery().pk) in shown
    assert "Chat bridge" in shown
    assert saved.content == b'{"a": [1, "<b>"]}'
    assert (saved["Content-Type"], saved["X-Content-Type-Options"]) == ("application/octet-stream", "nosniff")
    assert saved["Content-Disposition"] == f'attachment; filename="{event_id}.json"'


@pytest.mark.parametrize("address", [LOG, EVENTS, ATTEMPTS, HOOKS, KEYS])
@pytest.mark.parametrize("object_id", ["rubbish", "00000000-0000-7000-8000-000000000000", "9999"])
def test_what_is_not_there_is_not_there(operator: Client, address: str, object_id: str) -> None:
    answer = operator.get(f"{address}{object_id}/change/")

    # Django's own pages redirect to the front page with a message.
    assert answer.status_code == (404 if address in {LOG, EVENTS, ATTEMPTS} else 302)


def test_the_front_page_shows_the_state_of_the_whole_system(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    Heartbeat("a worker").beat(now=sql.database_now())
    in_every_state(forge, sender, now=now)
    pipeline.accept([forge.event(now=now)], now=now)

    with freeze_time(now + timedelta(minutes=5)):
        answer = operator.get("/admin/")
        shown = answer.content.decode()

    numbers = {title: value for value, title in re.findall(r"<b>([\d,+]+)</b> ([^<]+)</a>", shown)}
    assert numbers == {
        "Ready": "1", "Sending": "1", "Scheduled": "0", "Held": "1", "Failed (last 24 hours)": "1",
        "Events awaiting fan-out": "1", "Failing webhooks": "1", "Unverified webhooks": "0", "Disabled webhooks": "1",
    }  # fmt: skip
    verdict = "The oldest ready delivery is 5 min overdue, and the last attempt was 5 min ago."
    assert f"{verdict} Check that a worker is running." in shown


def test_figures_beyond_ten_thousand_are_given_up(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from hookhub import formatting

    for slug in ("a", "b", "c"):
        Organization.objects.create(slug=slug)

    assert formatting.count_up_to(Organization.objects.all(), limit=2) == "2+"
    assert formatting.count_up_to(Organization.objects.all(), limit=3) == "3"
    assert formatting.at_most(10_001) == "10,000+"


# Acting on deliveries -------------------------------------------------------------------------------------------------


def test_sending_again_says_how_many_and_why_the_others_were_left_alone(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    made = in_every_state(forge, sender, now=now)
    of_disabled = made["delivered"]
    lifecycle.disable(of_disabled.webhook_id, now=now)

    told = act(operator, LOG, "redeliver", *made.values())

    assert told == [
        "3 deliveries queued for redelivery.",
        "Skipped: 1 being sent; 2 of a disabled webhook.",
    ]
    states = dict(Delivery.objects.values_list("event_type", "state"))
    assert states == {
        "delivered": "delivered", "failed": "pending", "held": "held", "cancelled": "pending", "sending": "sending",
        "pending": "pending",
    }  # fmt: skip
    assert {entry.change_message for entry in LogEntry.objects.all()} == {"Redelivered."}
    assert LogEntry.objects.count() == 3


def test_what_is_held_for_an_active_webhook_is_released_on_its_page(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    held = in_every_state(forge, sender, now=now)["held"]
    lifecycle.enable(held.webhook_id, release_held=False, now=now)

    assert "Send held deliveries" in page(operator, page_of(held.webhook))
    assert press(operator, held.webhook, "enable_and_release") == ["held enabled. 1 delivery queued."]
    held.refresh_from_db()
    assert held.state == "pending"


def test_what_is_held_for_an_active_webhook_can_be_sent_by_itself(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    held = in_every_state(forge, sender, now=now)["held"]
    lifecycle.enable(held.webhook_id, release_held=False, now=now)

    assert act(operator, LOG, "redeliver", held) == ["1 delivery queued for redelivery."]
    held.refresh_from_db()
    assert held.state == "pending"


def test_cancelling_asks_first_and_then_says_what_was_left_alone(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    made = in_every_state(forge, sender, now=now)
    chosen = [str(delivery.pk) for delivery in made.values()]

    asked = operator.post(LOG, {"action": "cancel", "_selected_action": chosen, "index": "0"})
    untouched = dict(Delivery.objects.values_list("event_type", "state"))
    confirmed = operator.post(LOG, {"action": "cancel", "_selected_action": chosen, "confirmed": "yes"}, follow=True)

    assert "<b>2</b> of 6 selected deliveries can be cancelled." in asked.content.decode()
    assert untouched == {state: state for state in made}
    assert messages_of(confirmed) == [
        "2 deliveries cancelled.",
        "Skipped: 1 already cancelled; 1 already delivered; 1 already failed; 1 being sent.",
    ]
    assert Delivery.objects.filter(state="cancelled").count() == 3


def test_one_delivery_is_sent_again_and_cancelled_by_its_own_buttons(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    failed = in_every_state(forge, sender, now=now)["failed"]

    assert press(operator, failed, "redeliver") == ["1 delivery queued for redelivery."]
    assert press(operator, failed, "cancel", confirmed="yes") == ["1 delivery cancelled."]

    failed.refresh_from_db()
    assert (failed.state, failed.finish_reason, failed.redeliveries) == ("cancelled", "cancelled", 1)
    assert operator.get(f"{LOG}{failed.pk}/act/").status_code == 405
    assert operator.post(f"{LOG}{failed.pk}/act/", {"action": "delete"}).status_code == 403
    assert operator.post(f"{LOG}{uuid4()}/act/", {"action": "redeliver"}).status_code == 404


def test_an_action_touches_what_was_selected_whatever_else_the_form_says(
    forge: Forge, operator: Client, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.accept(3, now=now)
    one = Delivery.objects.order_by("id")[0]

    # Django's own lists offer to select all pages.
    assert "Select all 3" not in page(operator, LOG)
    operator.post(
        LOG, {"action": "cancel", "_selected_action": [one.pk], "select_across": "1", "confirmed": "yes"}, follow=True
    )

    assert Delivery.objects.filter(state="cancelled").count() == 1
