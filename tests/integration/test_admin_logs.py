"""The admin's logs are paged by key, and narrowed by declared filters only."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone
from freezegun import freeze_time

from deliveries import redelivery
from deliveries.models import Delivery
from deliveries.pipeline import claiming
from deliveries.sending.sender import Sender
from hookhub.admin import keyset
from hookhub.admin.deliveries import DeliveryAdmin
from hookhub.admin.keyset import Order, read_page
from tests.admin_pages import (
    EVENTS,
    LOG,
    in_every_state,
    listed,
    messages_of,
)
from tests.receiver import Answer
from tests.story import Forge, deliver_due, the_delivery

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(admin_client: Client) -> Client:
    return admin_client


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
        ("?state=later", {"state": "pending", "readiness": 0}, ("due_at", "id")),
        ("?state=due", {"state": "pending", "readiness": 1}, ("webhook_id", "readiness", "due_at", "id")),
        ("?state=pending", {"state": "pending"}, ("-id",)),
        ("?state=cancelled", {"state": "cancelled"}, ("-id",)),
        ("?type=release", {"event_type": "release"}, ("-id",)),
        ("?state=later&type=release", {"state": "pending", "readiness": 0, "event_type": "release"}, ("due_at", "id")),
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
    Delivery.objects.filter(id__in=list(later)).update(readiness=Delivery.Readiness.SCHEDULED)
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
        ("before=1970-01-01T00:00%2B14:00", "Created before (UTC) must be 1970 or later."),
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
