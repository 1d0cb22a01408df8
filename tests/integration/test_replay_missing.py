"""Doors to what a webhook never got: `/v1/webhooks/{id}/replay-missing`, and the portal's page with its progress."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from deliveries import redelivery
from deliveries.models import AuditEntry, Delivery, Webhook
from deliveries.webhooks import lifecycle
from hookhub import replays
from hookhub.models import ApiKey, Replay, Scope
from hookhub.portal import access
from hookhub.portal.replay_pages import percent_done
from tests.api import Caller
from tests.portal import press, shown, token_of, visitor
from tests.story import Forge

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def webhook(forge: Forge) -> Webhook:
    """Return a webhook that missed three events of today and one of last week."""
    now = timezone.now()
    for age in (timedelta(days=6), 3 * HOUR, 2 * HOUR, HOUR):
        forge.accept(now=now - age)
    return forge.webhook(now=now - timedelta(minutes=1), name="late")


def progress_shown(browser: Client, address: str) -> str:
    """Return the page of a replay, which reloads itself where there are no scripts."""
    answer = browser.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def begin(hours: int) -> str:
    return (timezone.now() - hours * HOUR).isoformat()


def test_the_api_counts_and_delivers_and_shows_the_progress(caller: Caller, webhook: Webhook) -> None:
    address = f"/v1/webhooks/{webhook.uid}/replay-missing"

    counted = caller.get(f"{address}?after={begin(24).replace('+', '%2B')}")
    assert counted.json() == {"events": 3, "is_at_least": False}
    answer = caller.post(address, {"after": begin(24)})
    made = answer.json()
    assert (answer.status_code, answer["Location"]) == (202, f"/v1/replays/{made['id']}")
    assert (made["kind"], made["state"], made["total"], made["redelivered"]) == ("missing", "running", 3, 0)
    replays.run_replays(now=timezone.now())

    done = caller.get(f"/v1/replays/{made['id']}").json()
    assert (done["state"], done["examined"], done["redelivered"]) == ("finished", 3, 3)
    assert Delivery.objects.filter(webhook=webhook).count() == 3
    assert AuditEntry.objects.latest("id").action == "replay.started"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "after"),
        ({"after": "yesterday"}, "after"),
        ({"after": "2026-03-04T00:00:00Z", "before": "2026-03-03T00:00:00Z"}, "before"),
        ({"after": "2026-03-04T00:00:00Z", "type": "push"}, "type"),
        ({"after": None}, "after"),
        ({"after": 5}, "after"),
    ],
)
def test_bad_fields_are_named(caller: Caller, webhook: Webhook, fields: dict[str, Any], named: str) -> None:
    answer = caller.post(f"/v1/webhooks/{webhook.uid}/replay-missing", fields)

    assert answer.status_code == 422
    assert named in {each["field"] for each in answer.json()["error"]["fields"]}
    assert not Replay.objects.exists()


def test_a_webhook_that_is_not_active_gets_none(caller: Caller, webhook: Webhook) -> None:
    Webhook.objects.filter(pk=webhook.pk).update(disabled_at=timezone.now(), disabled_reason="by_owner")

    assert caller.post(f"/v1/webhooks/{webhook.uid}/replay-missing", {"after": begin(24)}).status_code == 409
    assert not Replay.objects.exists()


@pytest.mark.parametrize(("scope", "read", "write"), [(Scope.PUBLISH, 403, 403), (Scope.READ, 200, 403)])
def test_a_key_needs_the_scope(forge: Forge, webhook: Webhook, scope: Scope, read: int, write: int) -> None:
    _, key = ApiKey.issue(organization=forge.organization, scope=scope, now=timezone.now())
    address = f"/v1/webhooks/{webhook.uid}/replay-missing"

    assert Caller(key).get(f"{address}?after=2026-03-04T00:00:00Z").status_code == read
    assert Caller(key).post(address, {"after": begin(24)}).status_code == write
    assert not Replay.objects.exists()


def test_another_tenants_webhook_is_not_found(forge: Forge, webhook: Webhook) -> None:
    stranger = Caller.of(Forge.make(forge.receiver, "globex").organization)
    address = f"/v1/webhooks/{webhook.uid}/replay-missing"

    assert stranger.get(f"{address}?after=2026-03-04T00:00:00Z").status_code == 404
    assert stranger.post(address, {"after": begin(24)}).status_code == 404


def test_the_portal_says_how_many_sends_them_and_shows_the_progress(caller: Caller, webhook: Webhook) -> None:
    browser = visitor(caller, role="manage")
    address = f"/portal/webhooks/{webhook.uid}/never-sent"

    assert "3 events." in shown(browser, address)
    page = shown(browser, f"{address}?since=7d")
    assert "4 events." in page
    answer = browser.post(address, {"form_token": token_of(page), "since": "7d"})
    progress = answer["Location"]
    assert "0 events examined, 0 on their way." in progress_shown(browser, progress)
    replays.run_replays(now=timezone.now())

    assert "4 events examined, 4 on their way. Done." in progress_shown(browser, progress)
    assert "0 events." in shown(browser, f"{address}?since=7d")
    shown(browser, f"{address}?since=1y", status=404)


def test_the_portal_cancels_a_replay(forge: Forge, caller: Caller, webhook: Webhook) -> None:
    browser = visitor(caller, role="manage")
    address = f"/portal/webhooks/{webhook.uid}/never-sent"
    answer = browser.post(address, {"form_token": token_of(shown(browser, address)), "since": "24h"})
    page = progress_shown(browser, answer["Location"])
    reader = visitor(caller, role="read")
    cancel = f"{answer['Location']}/cancel"

    assert cancel not in progress_shown(reader, answer["Location"])
    assert reader.post(cancel, {"form_token": token_of(shown(reader, "/portal/"))}).status_code == 403
    narrow = visitor(caller, role="manage", scope={"webhooks": [str(forge.webhook(now=timezone.now()).uid)]})
    assert narrow.post(cancel, {"form_token": token_of(shown(narrow, "/portal/"))}).status_code == 404
    press(browser, page, cancel)

    assert "Cancelled." in progress_shown(browser, answer["Location"])
    replays.run_replays(now=timezone.now())
    assert not Delivery.objects.filter(webhook=webhook).exists()


def test_a_replay_that_ended_with_its_webhook_says_why(caller: Caller, webhook: Webhook) -> None:
    replay = replays.start_missing(webhook, after=timezone.now() - HOUR, before=timezone.now(), now=timezone.now())
    assert caller.get(f"/v1/replays/{replay.pk}").json()["cancel_reason"] is None
    lifecycle.disable(webhook.pk, now=timezone.now())

    replays.run_replays(now=timezone.now())

    shown_by_api = caller.get(f"/v1/replays/{replay.pk}").json()
    assert (shown_by_api["state"], shown_by_api["cancel_reason"]) == ("cancelled", "webhook_disabled")
    page = progress_shown(visitor(caller, role="manage"), f"/portal/replays/{replay.pk}")
    assert "Cancelled, because the webhook was disabled." in page


def test_a_redelivery_too_long_to_count_shows_at_least_how_many_and_its_progress_by_time(
    caller: Caller, forge: Forge, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "MAX_COUNTED", 2)
    forge.accept(3, now=timezone.now())
    now = timezone.now()
    answer = caller.post(
        "/v1/replays", {"webhook": str(webhook.uid), "after": (now - 4 * HOUR).isoformat(), "state": ["pending"]}
    ).json()

    assert (answer["total"], answer["total_is_at_least"]) == (2, True)
    replay = Replay.objects.get(pk=answer["id"])
    assert percent_done(replay) == 0
    replay.done_upto = replays.span_of(now - 2 * HOUR, now, now=now).after
    assert percent_done(replay) == 50
    page = progress_shown(visitor(caller, role="manage"), f"/portal/replays/{replay.pk}")
    assert "0 of at least 2 failed deliveries examined" in page


def test_a_session_that_may_only_look_sends_nothing(caller: Caller, webhook: Webhook) -> None:
    browser = visitor(caller, role="read")
    token = token_of(shown(browser, "/portal/"))
    address = f"/portal/webhooks/{webhook.uid}/never-sent"

    assert browser.get(address).status_code == 403
    assert browser.post(address, {"form_token": token, "since": "24h"}).status_code == 403
    assert "never-sent" not in shown(browser, f"/portal/webhooks/{webhook.uid}")
    assert not Replay.objects.exists()


def test_the_progress_of_a_long_period_is_told_by_time(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "MAX_COUNTED", 2)
    now = timezone.now()
    replay = replays.start_missing(webhook, after=now - 4 * HOUR, before=now, now=now)

    assert percent_done(replay) == 0
    replay.done_upto = replays.span_of(now - 2 * HOUR, now, now=now).after
    assert percent_done(replay) == 50
    replays.run_replays(now=now)
    replay.refresh_from_db()
    assert percent_done(replay) == 100


def test_progress_does_not_count_a_time_of_which_nothing_is_kept(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(replays, "MAX_COUNTED", 0)
    settings.HOOKHUB_RETENTION = 4 * HOUR
    now = timezone.now()

    replay = replays.start_missing(webhook, after=now - 40 * HOUR, before=now, now=now)

    assert percent_done(replay) == 0


def test_one_replay_too_many_is_refused_and_the_reason_said(
    caller: Caller, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MAX_RUNNING", 0)
    monkeypatch.setattr(access, "MAX_RUNNING", 0)
    browser = visitor(caller, role="manage")
    address = f"/portal/webhooks/{webhook.uid}"

    api = [
        caller.post(f"/v1/webhooks/{webhook.uid}/replay-missing", {"after": begin(1)}),
        caller.post("/v1/replays", {"state": "failed"}),
    ]
    token = token_of(shown(browser, f"{address}/never-sent"))
    pages = [
        browser.post(f"{address}/{what}", {"form_token": token, "since": "1h"})
        for what in ("never-sent", "redeliver-failed")
    ]

    assert [answer.status_code for answer in (*api, *pages)] == [409] * 4
    assert {answer.json()["error"]["code"] for answer in api} == {"conflict"}
    assert all("Nothing was started." in answer.content.decode() for answer in pages)
    assert Replay.objects.count() == 0
