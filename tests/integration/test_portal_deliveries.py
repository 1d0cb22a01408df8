"""The portal's lists of deliveries: filters in the address, pages in both directions, and redelivery of a selection."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone
from django.utils.http import urlencode

from deliveries import log_search
from deliveries.models import AuditEntry, Delivery, Repository
from hookhub.portal import delivery_lists
from tests.api import Caller
from tests.portal import HOSTILE, shown, token_of, visitor
from tests.story import Forge

pytestmark = pytest.mark.django_db


def ids_on(page: str) -> list[str]:
    return re.findall(r'<a href="/portal/deliveries/([0-9a-f-]{36})"', page)


def link_on(page: str, text: str) -> str:
    """Return the address of the link with this text; "" if there is none."""
    found = re.search(rf'<a href="\?([^"]+)">{text}</a>', page)
    return "" if found is None else "?" + found[1].replace("&amp;", "&")


def test_the_deliveries_of_all_webhooks_of_a_session_are_in_one_list(
    forge: Forge, caller: Caller, now: datetime
) -> None:
    gadgets = Repository.objects.create(organization=forge.organization, name="gadgets")
    wide = forge.webhook(now=now, name="wide")
    narrow = forge.webhook(now=now, name="narrow", repository=forge.repository)
    forge.webhook(now=now, name="of gadgets", repository=gadgets)
    Forge.make(forge.receiver, "globex").webhook(now=now, name="stranger")
    forge.accept(2, now=now)

    everything = shown(visitor(caller), "/portal/deliveries")
    of_repository = shown(visitor(caller, scope={"repository": "widgets"}), "/portal/deliveries")
    one = shown(visitor(caller), f"/portal/deliveries?webhook={wide.uid}")

    assert len(ids_on(everything)) == 4
    assert {row.webhook_id for row in Delivery.objects.filter(pk__in=ids_on(of_repository))} == {narrow.pk}
    assert {row.webhook_id for row in Delivery.objects.filter(pk__in=ids_on(one))} == {wide.pk}
    assert "stranger" not in everything
    assert "of gadgets" not in of_repository
    assert "wide" not in of_repository


@pytest.mark.parametrize("is_one", [True, False])
def test_the_pages_lead_to_older_and_newer_ones_and_keep_the_filters(
    forge: Forge, caller: Caller, now: datetime, monkeypatch: pytest.MonkeyPatch, is_one: bool
) -> None:
    monkeypatch.setattr(delivery_lists, "ROWS", 2)
    webhook = forge.webhook(now=now)
    forge.accept(5, now=now)
    newest = [str(pk) for pk in Delivery.objects.order_by("-id").values_list("pk", flat=True)]
    base = f"/portal/webhooks/{webhook.uid}/deliveries" if is_one else "/portal/deliveries"
    browser = visitor(caller)

    pages = [shown(browser, f"{base}?state=pending&type=push")]
    assert link_on(pages[0], "Newer") == ""
    for link in ("Older", "Older", "Newer", "Newer"):
        address = link_on(pages[-1], link)
        assert "state=pending&type=push" in address
        pages.append(shown(browser, base + address))

    assert [ids_on(page) for page in pages] == [newest[:2], newest[2:4], newest[4:], newest[2:4], newest[:2]]
    assert link_on(pages[2], "Older") == ""
    assert link_on(pages[4], "Newer") == ""


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"state": "lost"}, "There is no such state."),
        ({"status": "40x"}, "It must be a status such as 404, or 4xx for all of them."),
        ({"status": "604"}, "It must be a status such as 404, or 4xx for all of them."),
        ({"after": "yesterday"}, "It must be a time, such as 2026-03-04T12:30."),
        ({"before": "2026-13-01"}, "It must be a time, such as 2026-03-04T12:30."),
        ({"before": "1969-01-01T00:00"}, "It is too long ago."),
        ({"after": "0001-01-01T00:00+23:59"}, "It is too long ago."),
        ({"after": "2026-03-05T00:00", "before": "2026-03-04T00:00"}, "It must be later than the beginning."),
        ({"webhook": "mine"}, "There is no such webhook."),
        ({"webhook": "00000000-0000-7000-8000-000000000000"}, "There is no such webhook."),
        ({"text": "x" * 256}, "It is too long."),
    ],
)
def test_a_filter_that_means_nothing_is_said_beside_its_field(
    forge: Forge, caller: Caller, now: datetime, query: dict[str, str], message: str
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)

    page = shown(visitor(caller), f"/portal/deliveries?{urlencode(query)}")

    assert message in page
    assert ids_on(page) == []


@pytest.mark.parametrize("query", [{"after": "9999-12-31T23:59-12:00"}, {"text": HOSTILE}, {"type": HOSTILE}])
def test_odd_filters_find_nothing_and_are_shown_as_text(
    forge: Forge, caller: Caller, now: datetime, query: dict[str, str]
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    page = shown(visitor(caller), f"/portal/deliveries?{urlencode(query)}")

    assert ids_on(page) == []
    assert HOSTILE not in page


def test_a_page_that_has_not_searched_everything_says_how_far_it_came(
    forge: Forge, caller: Caller, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_search, "MAX_READ", 2)
    monkeypatch.setattr(delivery_lists, "ROWS", 1)
    webhook = forge.webhook(now=now)
    forge.accept(3, now=now)
    oldest = Delivery.objects.earliest("id")
    Delivery.objects.filter(pk=oldest.pk).update(last_status=500)
    base, browser = f"/portal/webhooks/{webhook.uid}/deliveries", visitor(caller)

    first = shown(browser, f"{base}?status=5xx")
    second = shown(browser, base + link_on(first, "Search further"))

    assert ids_on(first) == []
    assert "Searched as far as 2026-03-04 12:00:00 UTC." in first
    assert ids_on(second) == [str(oldest.pk)]
    assert "Searched as far" not in second


def test_the_selected_deliveries_are_sent_again_and_the_others_named(
    forge: Forge, caller: Caller, now: datetime
) -> None:
    webhook, off = forge.webhook(now=now), forge.webhook(now=now, path="/off")
    other = Forge.make(forge.receiver, "globex")
    other.webhook(now=now)
    forge.accept(3, now=now)
    other.accept(now=now)
    foreign = Delivery.objects.get(organization=other.organization)
    wanted = list(Delivery.objects.filter(webhook=webhook))
    Delivery.objects.filter(pk=wanted[2].pk).update(
        state="sending", lease=UUID(int=1), leased_at=now, leased_until=now, due_at=None
    )
    off.__class__.objects.filter(pk=off.pk).update(disabled_at=now, disabled_reason="by_owner")
    of_disabled = Delivery.objects.filter(webhook=off).first()
    assert of_disabled is not None
    browser = visitor(caller, role="manage")
    token = token_of(shown(browser, "/portal/deliveries"))
    chosen = [str(row.pk) for row in (*wanted, of_disabled, foreign)]

    answer = browser.post(
        "/portal/deliveries/redeliver",
        {"form_token": token, "delivery": [*chosen, "nonsense"], "query": 'state=failed"><script>', "webhook": ""},
    )

    page = answer.content.decode()
    assert answer.status_code == 200
    assert "2 deliveries are sent again." in page
    assert "1 was left as it is: being sent." in page
    assert "1 was left as it is: of a disabled webhook." in page
    assert "1 was not found." in page
    assert '<a href="/portal/deliveries?state=failed&quot;&gt;&lt;script&gt;">' in page
    assert set(Delivery.objects.filter(redeliveries=1)) == set(wanted[:2])
    entry = AuditEntry.objects.latest("id")
    assert (entry.action, entry.actor_kind) == ("delivery.redelivered", "portal")


@pytest.mark.parametrize(
    ("role", "chosen", "status", "message"),
    [
        ("read", 1, 403, "This session may look only"),
        ("manage", 0, 200, "No delivery was selected."),
        ("manage", 101, 200, "At most 100 deliveries can be selected at a time."),
    ],
)
def test_a_selection_that_is_not_sent_again_changes_nothing(
    forge: Forge, caller: Caller, now: datetime, role: str, chosen: int, status: int, message: str
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    browser = visitor(caller, role=role)
    page = shown(browser, "/portal/deliveries")
    ids = ids_on(page) * chosen

    form: dict[str, Any] = {"form_token": token_of(page), "delivery": ids, "webhook": str(webhook.uid)}
    answer = browser.post("/portal/deliveries/redeliver", form)

    assert answer.status_code == status
    assert message in answer.content.decode()
    assert not Delivery.objects.filter(redeliveries__gt=0).exists()
    assert ("Redeliver selected" in page) == (role == "manage")


def test_a_form_of_another_site_redelivers_nothing(forge: Forge, caller: Caller, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    browser = visitor(caller, role="manage")
    ids = ids_on(shown(browser, "/portal/deliveries"))

    assert browser.post("/portal/deliveries/redeliver", {"delivery": ids}).status_code == 403
    assert not Delivery.objects.filter(redeliveries__gt=0).exists()


def test_the_lists_ask_as_few_questions_for_many_rows_as_for_one(
    forge: Forge, caller: Caller, django_assert_max_num_queries: Any
) -> None:
    now = timezone.now() - timedelta(minutes=1)
    for n in range(20):
        forge.webhook(now=now, path=f"/{n}")
    forge.accept(2, now=now)
    browser = visitor(caller)

    with django_assert_max_num_queries(5):
        page = shown(browser, "/portal/deliveries")
    assert len(ids_on(page)) == 40


def test_a_webhook_beyond_those_listed_can_be_chosen(
    forge: Forge, caller: Caller, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_lists, "MAX_WEBHOOKS", 1)
    hooks = [forge.webhook(now=now, path=f"/{n}", name=f"hook {n}", repository=forge.repository) for n in range(3)]
    forge.accept(now=now)
    browser = visitor(caller, scope={"repository": "widgets"})

    some = shown(browser, "/portal/deliveries")
    assert "webhooks that were delivered to last" in some
    assert len(ids_on(some)) == 1
    # A session of the whole organization sees the deliveries to all of them.
    assert len(ids_on(shown(visitor(caller), "/portal/deliveries"))) == 3
    for webhook in hooks:
        page = shown(browser, f"/portal/deliveries?webhook={webhook.uid}")
        assert f'<option value="{webhook.uid}" selected>{webhook.name}</option>' in page
        assert {row.webhook_id for row in Delivery.objects.filter(pk__in=ids_on(page))} == {webhook.pk}
