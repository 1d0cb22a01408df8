"""The operator's pages read few rows, show untrusted bytes as text, and act only through the engine."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from freezegun import freeze_time

from deliveries import pipeline, redelivery, vault
from deliveries.db import sql
from deliveries.models import Attempt, Delivery, Event, Organization, Repository, Webhook
from deliveries.pipeline import claiming
from deliveries.plain_text import printable
from deliveries.redelivery import Selection
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from deliveries.workers import Heartbeat
from hookhub import replays
from hookhub.admin import keyset
from hookhub.admin.deliveries import DeliveryAdmin
from hookhub.admin.formatting import pretty, relative, span
from hookhub.admin.keyset import Order, read_page
from hookhub.models import ApiKey, Membership, Scope, digest
from tests.api import Caller
from tests.receiver import Answer
from tests.story import Forge, deliver_due, the_delivery

pytestmark = pytest.mark.django_db

LOG = "/admin/deliveries/delivery/"
EVENTS = "/admin/deliveries/event/"
ATTEMPTS = "/admin/deliveries/attempt/"
HOOKS = "/admin/deliveries/webhook/"
KEYS = "/admin/hookhub/apikey/"
LOG_TABLES = ("deliveries_delivery", "deliveries_event", "deliveries_attempt")


@pytest.fixture
def operator(db: None, client: Client) -> Client:
    client.force_login(User.objects.create_superuser("op", "op@example.com", "op-password-1"))
    return client


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer
    return answer.content.decode()


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


# Access ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["/admin/", LOG, EVENTS, ATTEMPTS, HOOKS, KEYS, "/admin/hookhub/replay/"])
def test_who_is_not_staff_is_sent_to_the_login(client: Client, address: str) -> None:
    client.force_login(User.objects.create_user("zoe", "zoe@example.com", "zoe-password-1"))

    answer = client.get(address)

    assert (answer.status_code, answer["Location"]) == (302, f"/admin/login/?next={address}")


def test_staff_who_may_only_look_can_neither_act_nor_add(
    forge: Forge, client: Client, sender: Sender, now: datetime
) -> None:
    failed = in_every_state(forge, sender, now=now)["failed"]
    person = User.objects.create_user("eve", password="eve-password-1", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    Membership.objects.create(user=person, organization=failed.organization)
    client.force_login(person)

    detail = page(client, page_of(failed))
    hook = page(client, page_of(failed.webhook))

    assert 'value="redeliver"' not in detail
    assert ("Rotate" in hook, 'name="url"' in hook) == (False, False)
    assert client.post(f"{LOG}{failed.pk}/act/", {"action": "redeliver"}).status_code == 403
    assert client.post(f"{HOOKS}{failed.webhook_id}/act/", {"action": "disable"}).status_code == 403
    assert client.get(f"{HOOKS}add/").status_code == 403
    failed.refresh_from_db()
    assert (failed.state, failed.redeliveries, failed.webhook.disabled_at) == ("failed", 0, None)


def test_staff_without_the_right_to_see_the_log_are_shown_no_figures(client: Client) -> None:
    client.force_login(User.objects.create_user("eve", password="eve-password-1", is_staff=True))

    with CaptureQueriesContext(connection) as queries:
        content = page(client, "/admin/")

    assert "Scheduled" not in content
    assert [found["sql"] for found in queries if "deliveries_" in found["sql"]] == []


@pytest.mark.parametrize("model", ["delivery", "event", "attempt"])
def test_history_is_read_only(forge: Forge, operator: Client, sender: Sender, now: datetime, model: str) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    row = {"delivery": Delivery, "event": Event, "attempt": Attempt}[model].objects.get()
    before = (Event.objects.values().get(), Delivery.objects.values().get(), Attempt.objects.values().get())

    assert operator.get(f"/admin/deliveries/{model}/add/").status_code == 403
    assert operator.get(f"/admin/deliveries/{model}/{row.pk}/delete/").status_code == 403
    assert operator.post(f"/admin/deliveries/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    operator.post(page_of(row), {"state": "failed", "type": "other", "outcome": "lost"})
    operator.post(
        f"/admin/deliveries/{model}/", {"action": "delete_selected", "_selected_action": [row.pk], "post": "y"}
    )
    assert (Event.objects.values().get(), Delivery.objects.values().get(), Attempt.objects.values().get()) == before


# Reading few rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", [LOG, f"{LOG}?state=pending", f"{LOG}?type=push", EVENTS, ATTEMPTS, HOOKS, "/admin/"]
)
def test_the_number_of_queries_does_not_grow_with_the_rows(
    forge: Forge, operator: Client, sender: Sender, now: datetime, address: str
) -> None:
    forge.webhook(now=now, repository=forge.repository)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    forge.accept(now=now)
    page(operator, address)
    with CaptureQueriesContext(connection) as few:
        page(operator, address)

    for number in range(5):
        forge.webhook(now=now, path=f"/{number}", repository=forge.repository)
    forge.accept(6, now=now)
    deliver_due(sender, now=now)
    forge.accept(6, now=now)
    with CaptureQueriesContext(connection) as many:
        page(operator, address)

    assert len(many) == len(few)


def test_a_webhooks_page_costs_the_same_whatever_its_log(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    page(operator, page_of(webhook))
    with CaptureQueriesContext(connection) as few:
        page(operator, page_of(webhook))

    forge.accept(30, now=now)
    with CaptureQueriesContext(connection) as many:
        page(operator, page_of(webhook))

    assert len(many) == len(few)


@pytest.mark.parametrize(
    "query", ["", "?state=due", "?state=failed", "?type=push", "?period=24h", "?_facets=True", "?all=", "?q={id}"]
)
@pytest.mark.parametrize("log", [LOG, EVENTS, ATTEMPTS])
def test_no_list_of_the_log_is_counted_or_skipped_through(
    forge: Forge, operator: Client, sender: Sender, now: datetime, log: str, query: str
) -> None:
    forge.webhook(now=now)
    forge.accept(3, now=now)
    deliver_due(sender, now=now)
    delivery_id = Delivery.objects.values_list("id", flat=True)[0]

    with CaptureQueriesContext(connection) as queries:
        answer = operator.get(log + query.format(id=delivery_id))

    # A filter that the list does not offer is rejected before anything is read.
    assert answer.status_code == (
        400 if ("state" in query and log != LOG) or ("type" in query and log == ATTEMPTS) else 200
    )
    for found in queries:
        if any(f'FROM "{table}"' in found["sql"] for table in LOG_TABLES):
            assert "COUNT(" not in found["sql"]
            assert "LIKE" not in found["sql"]
            assert " LIMIT " in found["sql"]


def test_the_front_page_counts_no_further_than_ten_thousand(operator: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        page(operator, "/admin/")

    counts = [found["sql"] for found in queries if "COUNT(" in found["sql"]]
    assert len(counts) == 8
    assert all("LIMIT 10001)" in sql for sql in counts)


@pytest.mark.parametrize(
    "query",
    [
        "event_type__icontains=pu",
        "webhook__url__contains=x",
        "id__gt=00000000-0000-7000-8000-000000000000",
        "o=1",
    ],
)
def test_only_the_filters_on_the_page_reach_the_log(operator: Client, query: str) -> None:
    answer = operator.get(f"{LOG}?{query}")

    if query == "o=1":
        assert answer.status_code == 200
        assert answer.context["cl"].queryset.query.order_by == ("-id",)
    else:
        assert answer.status_code == 400


# Paging ---------------------------------------------------------------------------------------------------------------


def walk(client: Client, address: str) -> tuple[list[Any], list[Any]]:
    """Page to the end of a list and back; return the ids seen on the way forward and on the way back."""
    there, back = [], []
    answer = client.get(address)
    while True:
        changes = answer.context["cl"]
        there += [row.pk for row in changes.result_list]
        if changes.older_address is None:
            break
        answer = client.get(address.partition("?")[0] + changes.older_address)
    while changes.newer_address is not None:
        answer = client.get(address.partition("?")[0] + changes.newer_address)
        changes = answer.context["cl"]
        back = [row.pk for row in changes.result_list] + back
    return there, back


@pytest.mark.parametrize(
    ("query", "wanted", "order"),
    [
        ("", {}, ("-id",)),
        ("?state=later", {"state": "pending", "line": 0}, ("due_at", "id")),
        ("?state=due", {"state": "pending", "line": 1}, ("webhook_id", "line", "due_at", "id")),
        ("?state=pending", {"state": "pending"}, ("-id",)),
        ("?state=cancelled", {"state": "cancelled"}, ("-id",)),
        ("?type=release", {"event_type": "release"}, ("-id",)),
        ("?state=later&type=release", {"state": "pending", "line": 0, "event_type": "release"}, ("due_at", "id")),
        ("?webhook={uid}", {}, ("-id",)),
        ("?organization=acme&state=cancelled", {"state": "cancelled"}, ("-id",)),
    ],
)
def test_paging_reaches_every_row_exactly_once_there_and_back(
    forge: Forge, operator: Client, now: datetime, monkeypatch: pytest.MonkeyPatch, query: str, wanted: Any, order: Any
) -> None:
    # Pages of three rows; filters without an index scan seven rows each time.
    monkeypatch.setattr(keyset, "MAX_SCANNED", 7)
    monkeypatch.setattr(DeliveryAdmin, "list_per_page", 3)
    webhook = forge.webhook(now=now)
    for number in range(40):
        forge.accept(now=now + timedelta(seconds=number // 4), event_type="release" if number % 11 == 0 else "push")
    redelivery.cancel(Delivery.objects.order_by("id").values_list("id", flat=True)[5:40:8], now=now)
    later = Delivery.objects.order_by("id").values_list("id", flat=True)[:40:3]
    Delivery.objects.filter(id__in=list(later)).update(line=Delivery.Line.NONE)
    expected = list(Delivery.objects.filter(**wanted).order_by(*order).values_list("id", flat=True))
    assert expected

    there, back = walk(operator, LOG + query.format(uid=webhook.uid))

    assert there == expected
    # On the way back the last page is not repeated, and the first page may repeat some rows to be full.
    assert list(dict.fromkeys(back)) == expected[: len(dict.fromkeys(back))]
    assert len(expected) - len(dict.fromkeys(back)) <= 3


def test_rows_that_come_in_meanwhile_do_not_shift_the_next_page(
    forge: Forge, operator: Client, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeliveryAdmin, "list_per_page", 2)
    forge.webhook(now=now)
    forge.accept(4, now=now)
    third_and_fourth = list(Delivery.objects.order_by("-id").values_list("id", flat=True))[2:]
    older = operator.get(LOG).context["cl"].older_address

    forge.accept(5, now=now + timedelta(seconds=1))

    assert listed(operator, LOG + older) == third_and_fourth


def test_a_page_that_was_cut_says_so_and_where_to_go_on(
    forge: Forge, operator: Client, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyset, "MAX_SCANNED", 5)
    forge.webhook(now=now)
    forge.accept(now=now, event_type="release")
    forge.accept(8, now=now + timedelta(seconds=1))

    first = operator.get(f"{LOG}?type=release")
    second = operator.get(LOG + first.context["cl"].older_address)

    assert (first.context["cl"].result_list, "Only 5 entries were searched" in first.content.decode()) == ([], True)
    assert [row.event_type for row in second.context["cl"].result_list] == ["release"]


@pytest.mark.parametrize(
    "place", ["rubbish", "a~b", "~", "2026-03-04T12:00:00+00:00~01a1fc19-29dd-7007-8181-679d720e01b7"]
)
def test_a_place_that_cannot_be_read_leads_to_the_beginning(
    forge: Forge, operator: Client, now: datetime, place: str
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)

    answer = operator.get(LOG, {"older": place})

    assert len(answer.context["cl"].result_list) == 1
    assert "Invalid page link: its position " in messages_of(answer)[0]


def test_a_walk_by_two_columns_takes_rows_of_equal_first_column_by_the_second() -> None:
    order = Order(("due_at", "id"), descending=False)
    start = (datetime(2026, 3, 4, tzinfo=timezone.get_default_timezone()), uuid4())

    found = read_page(Delivery.objects.all(), order=order, start=start, backwards=False, size=2, served=None)

    assert (found.rows, found.older) == ([], None)
    assert str(order.reversed().after(start)).count("lt") == 3


# Searching and filtering ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["delivered", "failed", "held", "cancelled", "sending", "pending"])
def test_the_log_is_filtered_by_state(
    forge: Forge, operator: Client, sender: Sender, now: datetime, state: str
) -> None:
    made = in_every_state(forge, sender, now=now)

    assert listed(operator, f"{LOG}?state={state}") == [made[state].pk]
    assert listed(operator, f"{LOG}?state={state}&webhook={made[state].webhook.uid}") == [made[state].pk]
    assert (
        listed(operator, f"{LOG}?state={state}&webhook={made['failed' if state != 'failed' else 'held'].webhook.uid}")
        == []
    )


def test_the_log_is_filtered_by_webhook_organization_type_and_time(
    forge: Forge, operator: Client, now: datetime
) -> None:
    other = Forge.make(forge.receiver, "globex")
    hook = forge.webhook(now=now)
    other.webhook(now=now)
    forge.accept(now=now, event_type="push")
    forge.accept(now=now + timedelta(hours=2), event_type="release")
    other.accept(now=now + timedelta(hours=2), event_type="push")
    early, late = Delivery.objects.filter(webhook=hook).order_by("id").values_list("id", flat=True)
    theirs = Delivery.objects.get(organization=other.organization).pk

    with freeze_time(now + timedelta(hours=2, minutes=5)):
        assert listed(operator, f"{LOG}?webhook={hook.uid}") == [late, early]
        assert listed(operator, f"{LOG}?organization=globex") == [theirs]
        assert listed(operator, f"{LOG}?organization=globex&webhook={hook.uid}") == []
        assert listed(operator, f"{LOG}?type=push") == [theirs, early]
        assert listed(operator, f"{LOG}?period=1h") == [theirs, late]
        assert listed(operator, f"{LOG}?before=2026-03-04T13:00") == [early]
        assert listed(operator, f"{LOG}?after=2026-03-04T13:00&organization=acme") == [late]
        assert listed(operator, f"{LOG}?after=2026-03-04T12:00&before=2026-03-04T12:01") == [early]


def test_due_now_means_due_now(forge: Forge, operator: Client, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.receiver.answers["/"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now)

    with freeze_time(now + timedelta(seconds=30)):
        claiming.promote_due(now=now + timedelta(seconds=30))
        assert (listed(operator, f"{LOG}?state=due"), len(listed(operator, f"{LOG}?state=later"))) == ([], 1)
    with freeze_time(now + timedelta(seconds=70)):
        claiming.promote_due(now=now + timedelta(seconds=70))
        assert listed(operator, f"{LOG}?state=due") == [the_delivery().pk]
        assert listed(operator, f"{LOG}?state=later") == []


def test_a_delivery_is_found_by_its_id_and_by_its_events(forge: Forge, operator: Client, now: datetime) -> None:
    forge.webhook(now=now)
    forge.webhook(now=now, path="/other")
    [event] = forge.accept(now=now)
    forge.accept(now=now)
    one, two = Delivery.objects.filter(event=event).order_by("-id").values_list("id", flat=True)

    assert listed(operator, f"{LOG}?q={one}") == [one]
    assert listed(operator, f"{LOG}?q= {event} ") == [one, two]
    assert listed(operator, f"{LOG}?q={uuid4()}") == []
    assert listed(operator, f"{EVENTS}?q={event}") == [event]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("q=push", "Search: 'push' is not a valid ID."),
        ("webhook=7", "Webhook must be a UUID."),
        (
            "webhook=019cb8b8-1e00-7000-9128-8a0cae340c5c",
            "Webhook 019cb8b8-1e00-7000-9128-8a0cae340c5c does not exist.",
        ),
        ("organization=nobody", "Organization 'nobody' does not exist."),
        ("state=lost", "State must be one of: due, later, pending, sending, delivered, failed, held, cancelled."),
        ("period=year", "Created must be one of: 15m, 1h, 6h, 24h, 7d."),
        ("after=yesterday", "Created from (UTC) must be a time such as 2026-03-04T02:30."),
        ("before=0001-01-01T00:00", "Created before (UTC) must be 1970 or later."),
    ],
)
def test_a_filter_that_is_not_understood_is_named_and_finds_nothing(
    forge: Forge, operator: Client, now: datetime, query: str, message: str
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)

    answer = operator.get(f"{LOG}?{query}")

    [told] = messages_of(answer)
    assert told.startswith(message)
    assert answer.context["cl"].result_list == []


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

    assert (attempt.status, attempt.outcome) == (None, "lost")
    assert attempt.error in shown
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
        "Events awaiting fan-out": "1", "Failing webhooks": "1", "Disabled webhooks": "1",
    }  # fmt: skip
    verdict = "The oldest ready delivery is 5 min overdue, and the last attempt was 5 min ago."
    assert f"{verdict} Check that a worker is running." in shown


def test_figures_beyond_ten_thousand_are_given_up(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from hookhub.admin import formatting

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
    assert (failed.state, failed.ending, failed.redeliveries) == ("cancelled", "cancelled", 1)
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


# Webhooks -------------------------------------------------------------------------------------------------------------


def form(**fields: Any) -> dict[str, Any]:
    """Return what the browser sends for a new webhook, with default values except ``fields``."""
    usual = {
        "name": "", "events": "*", "format": "", "content_type": "", "headers": "", "verify_ssl": "on",
        "auto_disable": "on", "retry_schedule": "", "timeout": "", "max_in_flight": "", "repository": "",
    }  # fmt: skip
    return {name: value for name, value in (usual | fields).items() if value is not None}


def as_sent(client: Client, webhook: Webhook, **fields: Any) -> dict[str, Any]:
    """Return what the browser sends back for an existing webhook, with ``fields`` changed."""
    shown = client.get(page_of(webhook)).context["adminform"].form
    sent = {name: field.value() for name, field in ((name, shown[name]) for name in shown.fields)}
    return {name: value for name, value in (sent | fields).items() if value not in {None, False, ""}}


def errors_of(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return dict(answer.context["adminform"].form.errors)


def test_a_webhook_is_created_through_the_engine_and_its_secret_shown_once(forge: Forge, operator: Client) -> None:
    url = forge.receiver.url("/in")

    answer = operator.post(
        f"{HOOKS}add/",
        form(
            organization=forge.organization.pk, repository=forge.repository.pk, url=url, name="Mirror",
            events="push\nissues.opened", headers="X-Token: abc\nX-Other: d e", retry_schedule="60, 300", timeout="5",
            max_in_flight="3",
        ),
        follow=True,
    )  # fmt: skip

    webhook = Webhook.objects.get()
    secret = secret_in(messages_of(answer))
    assert [kept.text for kept in vault.secrets_of(webhook)] == [secret]
    assert vault.headers_of(webhook) == {"X-Token": "abc", "X-Other": "d e"}
    assert (webhook.organization, webhook.repository, webhook.url) == (forge.organization, forge.repository, url)
    assert (webhook.name, webhook.events, webhook.format) == ("Mirror", ["push", "issues.opened"], "standard-webhooks")
    assert webhook.retry_schedule == [timedelta(minutes=1), timedelta(minutes=5)]
    assert (webhook.timeout, webhook.max_in_flight) == (timedelta(seconds=5), 3)
    for address in (HOOKS, page_of(webhook), f"{HOOKS}{webhook.pk}/history/", "/admin/"):
        shown = page(operator, address)
        assert secret not in shown
        assert "abc" not in shown
    assert "X-Token: ********" in page(operator, page_of(webhook))
    assert "<dd>current</dd>" in page(operator, page_of(webhook))


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("url", "ftp://example.com/", "http"),
        ("events", "not a type!", "is not a valid event type"),
        ("headers", "Host: example.com", "it controls the connection"),
        ("headers", "no colon", "Enter one “Name: value” per line."),
        ("headers", "X-A: 1\nX-A: 2", "Duplicate header: X-A."),
        ("retry_schedule", "soon", "Enter delays in seconds, separated by commas, or “none”."),
        ("retry_schedule", "0.5", "each delay must be from 1 to 604800 seconds"),
        ("timeout", "3600", "must be a number of seconds from 1 to 30, or null for the default"),
        ("max_in_flight", "0", "must be an integer from 1 to 1000, or null for the default"),
        ("secret", "short", ""),
        ("content_type", "yaml", "Select a valid choice"),
        ("organization", "", "This field is required."),
    ],
)
def test_a_fault_in_a_new_webhook_stands_beside_its_field_and_nothing_is_created(
    forge: Forge, operator: Client, field: str, value: str, fault: str
) -> None:
    fields = {"organization": forge.organization.pk, "url": forge.receiver.url("/"), field: value}

    errors = errors_of(operator.post(f"{HOOKS}add/", form(**fields)))

    assert list(errors) == [field]
    assert fault in errors[field][0]
    assert not Webhook.objects.exists()


def test_a_webhook_cannot_be_given_another_organizations_repository(forge: Forge, operator: Client) -> None:
    theirs = Forge.make(forge.receiver, "globex").repository

    errors = errors_of(
        operator.post(
            f"{HOOKS}add/", form(organization=forge.organization.pk, repository=theirs.pk, url=forge.receiver.url("/"))
        )
    )

    assert errors == {"repository": ["Select a repository of acme."]}
    assert not Webhook.objects.exists()


def test_an_edit_changes_what_was_changed_and_nothing_else(forge: Forge, operator: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, headers={"X-Token": "abc"}, retry_schedule=[], timeout=7, max_in_flight=2)
    before = Webhook.objects.values().get()

    answer = operator.post(page_of(webhook), as_sent(operator, webhook, name="Renamed"), follow=True)

    after = Webhook.objects.values().get()
    assert {name for name in after if bytes_or(after[name]) != bytes_or(before[name])} == {"name", "changed_at"}
    assert after["name"] == "Renamed"
    assert [message for message in messages_of(answer) if "secret" in message] == []


def bytes_or(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def test_an_edit_that_moves_a_webhook_to_another_host_gives_it_a_new_secret(
    forge: Forge, operator: Client, now: datetime
) -> None:
    webhook = forge.webhook(now=now, headers={"X-Token": "abc"})
    [old] = vault.secrets_of(webhook)
    moved = forge.receiver.url("/").replace("127.0.0.1", "127.0.0.2")

    answer = operator.post(page_of(webhook), as_sent(operator, webhook, url=moved), follow=True)

    webhook.refresh_from_db()
    [new] = vault.secrets_of(webhook)
    assert (webhook.url, new.text == old.text, webhook.sealed_headers) == (moved, False, None)
    assert secret_in(messages_of(answer)) == new.text


def test_a_fault_in_an_edit_stands_beside_its_field_and_nothing_is_changed(
    forge: Forge, operator: Client, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    before = webhook.url

    errors = errors_of(operator.post(page_of(webhook), as_sent(operator, webhook, url="ftp://example.com/", name="x")))

    webhook.refresh_from_db()
    assert list(errors) == ["url"]
    assert (webhook.url, webhook.name) == (before, "")


def test_headers_are_taken_away_only_on_request(forge: Forge, operator: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, headers={"X-Token": "abc"})

    operator.post(page_of(webhook), as_sent(operator, webhook, drop_headers="on"))

    webhook.refresh_from_db()
    assert webhook.sealed_headers is None


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("", ["delivered", "failed", "held"]),
        ("active", ["delivered", "failed"]),
        ("failing", ["failed"]),
        ("resting", []),
        ("unused", ["held"]),
        ("disabled", ["held"]),
        ("deleted", ["gone"]),
    ],
)
def test_webhooks_are_filtered_by_condition(
    forge: Forge, operator: Client, sender: Sender, now: datetime, condition: str, names: list[str]
) -> None:
    made = in_every_state(forge, sender, now=now)
    for state in ("cancelled", "sending", "pending"):
        made[state].webhook.delete()
    gone = forge.webhook(now=now, name="gone")
    lifecycle.delete(gone.pk, now=now)

    answer = operator.get(f"{HOOKS}?condition={condition}")

    assert sorted(webhook.name for webhook in answer.context["cl"].result_list) == names


def test_webhooks_are_searched_by_name_url_and_id_and_filtered_by_organization_and_format(
    forge: Forge, operator: Client, now: datetime
) -> None:
    other = Forge.make(forge.receiver, "globex")
    one = forge.webhook(now=now, name="Chat bridge", path="/chat")
    two = other.webhook(now=now, name="Mirror", path="/mirror", format="coregit")

    assert listed(operator, f"{HOOKS}?q=bridge") == [one.pk]
    assert listed(operator, f"{HOOKS}?q=/mirror") == [two.pk]
    assert listed(operator, f"{HOOKS}?q={one.uid}") == [one.pk]
    assert listed(operator, f"{HOOKS}?organization=globex") == [two.pk]
    assert listed(operator, f"{HOOKS}?format=coregit") == [two.pk]


def test_the_list_of_webhooks_shows_their_health(forge: Forge, operator: Client, sender: Sender, now: datetime) -> None:
    in_every_state(forge, sender, now=now)

    shown = page(operator, HOOKS)

    for badge in ("Healthy", "Failing (1)", "Disabled: by its owner", "No deliveries yet"):
        assert badge in shown


def test_disabling_and_enabling_say_how_many_deliveries_that_holds_and_releases(
    forge: Forge, operator: Client, now: datetime
) -> None:
    one, two = forge.webhook(now=now, name="one"), forge.webhook(now=now, name="two", path="/two")
    forge.accept(2, now=now)

    assert act(operator, HOOKS, "disable", one, two) == ["2 webhooks disabled. 4 deliveries held."]
    assert act(operator, HOOKS, "disable", one) == ["Skipped: 1 not enabled."]
    assert act(operator, HOOKS, "enable", one) == ["one enabled."]
    assert act(operator, HOOKS, "enable", one) == ["Skipped: 1 already enabled."]
    assert act(operator, HOOKS, "enable_and_release", one, two) == ["2 webhooks enabled. 4 deliveries queued."]
    assert Delivery.objects.filter(state="pending").count() == 4
    assert Webhook.objects.kept().filter(disabled_at=None).count() == 2


def test_a_ping_is_sent_and_can_be_watched(forge: Forge, operator: Client, sender: Sender, now: datetime) -> None:
    webhook, off = forge.webhook(now=now, name="on"), forge.webhook(now=now, name="off", path="/off")
    lifecycle.disable(off.pk, now=now)

    told = act(operator, HOOKS, "ping", webhook, off)
    deliver_due(sender, now=timezone.now())

    assert told[0].startswith('Ping sent to on. <a href="/admin/deliveries/delivery/')
    assert told[1:] == ["Skipped: 1 not enabled."]
    assert [request.path for request in forge.receiver.received] == ["/"]
    assert (the_delivery().event_type, the_delivery().state) == ("ping", "delivered")


def test_a_rotated_secret_is_shown_once_and_the_old_one_signs_on_for_a_while(
    forge: Forge, operator: Client, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    [old] = vault.secrets_of(webhook)

    with freeze_time(now):
        told = press(operator, webhook, "rotate_secret")
        shown = page(operator, page_of(webhook))

    webhook.refresh_from_db()
    new = secret_in(told)
    assert [kept.text for kept in vault.secrets_of(webhook)] == [new, old.text]
    assert new not in shown
    assert "Active signing secrets (2)" in shown
    assert "current, previous (expires 2026-03-05 12:00:00 UTC)" in shown


@pytest.mark.parametrize("at_once", [False, True])
def test_deleting_a_webhook_keeps_its_log_and_cancels_what_it_is_owed(
    forge: Forge, operator: Client, sender: Sender, now: datetime, at_once: bool
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    forge.accept(2, now=now)

    if at_once:
        told = act(operator, HOOKS, "delete_selected", webhook, post="yes")
    else:
        assert "Its delivery log is kept" in page(operator, f"{HOOKS}{webhook.pk}/delete/")
        told = messages_of(operator.post(f"{HOOKS}{webhook.pk}/delete/", {"post": "yes"}, follow=True))

    webhook.refresh_from_db()
    assert told[0] == "2 deliveries cancelled."
    assert webhook.deleted_at is not None
    assert vault.secrets_of(webhook) == ()
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["cancelled", "cancelled", "delivered"]
    assert (Event.objects.count(), Attempt.objects.count()) == (3, 1)
    assert listed(operator, HOOKS) == []
    assert operator.post(f"{HOOKS}{webhook.pk}/delete/", {"post": "yes"}).status_code == 403
    assert 'value="enable' not in page(operator, page_of(webhook))


def test_a_webhooks_page_measures_its_latest_attempts(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(), Answer(), Answer(), Answer(500)]
    forge.accept(4, now=now)
    deliver_due(sender, now=now)
    forge.accept(now=now)

    with freeze_time(now):
        shown = page(operator, page_of(webhook))

    assert re.search(r"Success rate \(last 24 hours\)</dt><dd>75\.0% of 4 attempts</dd>", shown)
    assert re.search(r"Ready</dt><dd>1</dd>", shown)
    assert re.search(r"Scheduled</dt><dd>1</dd>", shown)
    assert shown.count('<code class="hh-id">') == 5


def test_a_webhooks_page_and_the_api_show_the_same_statistics(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(), Answer(500), Answer()]
    forge.accept(3, now=now)
    deliver_due(sender, now=now)
    # An even number of durations, far apart: the median is between two of them.
    for number, attempt in enumerate(Attempt.objects.order_by("id")[:2]):
        Attempt.objects.filter(pk=attempt.pk).update(duration=timedelta(milliseconds=40 + 960 * number))
    Attempt.objects.filter(pk=Attempt.objects.latest("id").pk).update(duration=None)

    with freeze_time(now):
        shown = page(operator, page_of(webhook))
        answer = Caller.of(forge.organization).get(f"/v1/webhooks/{webhook.uid}/stats").json()

    assert (answer["p50_ms"], answer["p95_ms"]) == (520, 952)
    assert "<dd>520 ms / 952 ms / 990 ms</dd>" in shown
    assert f"<dd>{answer['success_rate']:.1%} of {answer['attempts']} attempts</dd>" in shown


@pytest.mark.parametrize("model", ["organization", "repository", "apikey", "replay"])
def test_what_others_hang_on_cannot_be_deleted(forge: Forge, operator: Client, now: datetime, model: str) -> None:
    forge.webhook(now=now)
    key, _ = ApiKey.issue(organization=forge.organization, scope=Scope.READ, now=now)
    job = replays.start(forge.organization, selection=Selection(forge.organization.pk), now=now)
    row = {"organization": forge.organization, "repository": forge.repository, "apikey": key, "replay": job}[model]

    answer = operator.post(page_of(row).replace("/change/", "/delete/"), {"post": "yes"})

    assert answer.status_code == 403
    row.refresh_from_db()


# Organizations, keys, replays -----------------------------------------------------------------------------------------


def test_organizations_repositories_and_memberships_are_added(operator: Client) -> None:
    wanted = {"slug": "acme", "default_dialect": "codmir", "validate_events": "on"}
    operator.post("/admin/deliveries/organization/add/", wanted)
    acme = Organization.objects.get()
    operator.post("/admin/deliveries/repository/add/", {"organization": acme.pk, "name": "widgets"})
    operator.post(
        "/admin/hookhub/membership/add/", {"user": User.objects.get().pk, "organization": acme.pk, "role": "reader"}
    )
    refused = operator.post("/admin/deliveries/organization/add/", {**wanted, "slug": "a b"})

    assert (acme.default_dialect, acme.default_format, acme.validate_events) == ("codmir", None, True)
    assert Repository.objects.get().full_name == "acme/widgets"
    assert Membership.objects.get().scope == Scope.READ
    assert list(errors_of(refused)) == ["slug"]
    for name in ("deliveries/organization", "deliveries/repository", "hookhub/membership"):
        assert "acme" in page(operator, f"/admin/{name}/")


def test_a_keys_text_is_shown_once_and_the_key_can_be_revoked(forge: Forge, operator: Client, now: datetime) -> None:
    answer = operator.post(
        f"{KEYS}add/", {"name": "ci", "organization": forge.organization.pk, "scope": "manage"}, follow=True
    )
    [text] = re.findall(r"hh_[0-9a-f]+_[\w-]+", " ".join(messages_of(answer)))
    key = ApiKey.objects.get()
    secret = text.split("_", 2)[2]

    assert (key.name, key.organization, key.scope) == ("ci", forge.organization, "manage")
    assert bytes(key.secret_hash) == digest(secret)
    assert secret not in page(operator, KEYS) + page(operator, page_of(key)) + page(operator, "/admin/")
    assert "Never used" in page(operator, KEYS)
    assert press(operator, key, "revoke") == ["1 key revoked."]
    assert act(operator, KEYS, "revoke", key) == ["Skipped: 1 already revoked."]
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_a_key_can_be_renamed_and_nothing_more(forge: Forge, operator: Client, now: datetime) -> None:
    key, _ = ApiKey.issue(organization=forge.organization, scope=Scope.READ, name="old", now=now)

    operator.post(page_of(key), {"name": "new", "scope": "master", "organization": ""})

    key.refresh_from_db()
    assert (key.name, key.scope, key.organization) == ("new", "read", forge.organization)


def test_a_replay_shows_its_progress(forge: Forge, operator: Client, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(3, now=now)
    job = replays.start(
        forge.organization, selection=Selection(forge.organization.pk, event_type="push"), now=now + timedelta(hours=1)
    )
    replays.run_replays(now=now + timedelta(hours=1))

    assert "3 of 3" in page(operator, "/admin/hookhub/replay/")
    assert "&quot;event_type&quot;: &quot;push&quot;" in page(operator, page_of(job))
    assert operator.get("/admin/hookhub/replay/add/").status_code == 403


# The pure parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain\n\ttext", "plain\n\ttext"),
        (b"line\r\nline", "line\nline"),
        (b"\r", r"\r"),
        ("Zoë 🎉".encode(), "Zoë 🎉"),
        (b"\x00\x07\x1b[2J\x7f", r"\x00\x07\x1b[2J\x7f"),
        (b"\xff\xfe\xc3", r"\xff\xfe\xc3"),
        ("a\u202eb\u200bc\ufeff".encode(), r"a\u202eb\u200bc\ufeff"),
        ("\ud800", r"\ud800"),
    ],
)
def test_nothing_stays_hidden_in_what_is_shown(raw: bytes | str, shown: str) -> None:
    assert printable(raw) == shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"a":[1,"\xc3\xab"]}', '{\n  "a": [\n    1,\n    "ë"\n  ]\n}'),
        (b"not json", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
        (b"9" * 5000, None),
    ],
)
def test_json_is_set_out_for_reading_where_that_can_be_done(raw: bytes, shown: str | None) -> None:
    assert pretty(raw) == shown


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(microseconds=300), "<1 ms"),
        (timedelta(milliseconds=380), "380 ms"),
        (timedelta(seconds=90), "90 s"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=4, hours=23), "4 d"),
    ],
)
def test_a_span_is_given_in_one_unit(length: timedelta, shown: str) -> None:
    assert span(length) == shown


def test_a_moment_is_said_from_where_one_stands(now: datetime) -> None:
    assert relative(now - timedelta(minutes=5), now=now) == "5 min ago"
    assert relative(now + timedelta(hours=3), now=now) == "in 3 h"
    assert relative(now, now=now) == "now"


def test_a_webhook_of_a_format_that_only_another_version_knows_is_shown_and_kept_as_it_is(
    forge: Forge, operator: Client, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, path="/a/secret", name="")
    Webhook.objects.update(format="of-tomorrow")
    forge.accept(now=now)
    deliver_due(sender, now=now)
    delivery = Delivery.objects.get()

    for address in ("/admin/", HOOKS, f"{HOOKS}?q=secret", page_of(webhook), LOG, page_of(delivery)):
        assert "/a/secret" not in page(operator, address)
    assert "does not know the wire format" in page(operator, page_of(delivery))
    assert '<option value="of-tomorrow" selected>of-tomorrow (not supported by this version)' in page(
        operator, page_of(webhook)
    )
    assert listed(operator, f"{HOOKS}?q=secret") == []
    for action in ("ping", "send_test", "rotate_secret", "disable", "enable"):
        act(operator, HOOKS, action, webhook)
    webhook.refresh_from_db()
    assert (webhook.format, webhook.active) == ("of-tomorrow", True)
