"""Polling webhooks: events fetched in order by cursor, a committed position for each consumer; nothing is lost."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta
from time import monotonic
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from deliveries import pipeline, polling, redelivery
from deliveries.formats import FORMATS
from deliveries.maintenance import invariants, leases
from deliveries.models import AuditEntry, Delivery, Event, PollConsumer, PollEntry, PollQueue, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import kinds, secrets
from hookhub import replays
from hookhub.api import polling as doors
from hookhub.forwarding.one_file import one_file
from hookhub.http import long_polls
from hookhub.models import ApiKey, Scope
from hookhub.receiving import verify
from tests.admin_pages import act, errors_of, page, page_of
from tests.api import Caller, faults
from tests.integration.test_admin_webhooks import as_sent
from tests.integration.test_portal_webhooks import send
from tests.portal import shown, token_of, visitor
from tests.story import Forge, deliver_due, prune_old

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
SECRET = "whsec_" + "5" * 48


@pytest.fixture
def caller(forge: Forge) -> Caller:
    return Caller.of(forge.organization)


def make(caller: Caller, **fields: Any) -> str:
    """Create a polling webhook and return its address."""
    answer = caller.post(
        "/v1/webhooks", {"kind": "poll", "events": ["push"], "secret": SECRET, "format": "standard-webhooks"} | fields
    )
    assert answer.status_code == 201, answer.content
    return f"/v1/webhooks/{answer.json()['id']}"


def publish(forge: Forge, *numbers: int, event_type: str = "push") -> None:
    for number in numbers:
        forge.accept(event_type=event_type, data={"n": number}, now=timezone.now())


def poll(caller: Caller, address: str, **query: object) -> Any:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    answer = caller.get(f"{address}/poll?{asked}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def numbers_in(page: Any) -> list[int]:
    return [json.loads(each["body"])["data"]["n"] for each in page["events"]]


def commit(caller: Caller, address: str, name: str, cursor: object) -> Any:
    return caller.send("PUT", f"{address}/consumers/{name}", {"cursor": cursor})


def all_is_well() -> bool:
    return all(each.verdict == "ok" for each in invariants.check_all(now=timezone.now(), grace=timedelta(0)))


def test_events_come_in_order_and_signed_as_a_webhook_with_a_url_gets_them(caller: Caller, forge: Forge) -> None:
    address = make(caller, format="standard-webhooks", headers={"X-Team": "blue"})
    publish(forge, 1, 2, 3)
    publish(forge, 9, event_type="ping.other")

    first = poll(caller, address, limit=2)
    second = poll(caller, address, cursor=first["cursor"])

    assert (numbers_in(first), first["has_more"], first["expired"]) == ([1, 2], True, 0)
    assert (numbers_in(second), second["has_more"]) == ([3], False)
    event = first["events"][0]
    assert event["headers"]["X-Team"] == "blue"
    assert event["headers"]["webhook-id"] == event["id"]
    assert verify(event["body"].encode(), event["headers"], secrets=SECRET).id == event["id"]
    assert poll(caller, address, limit=1)["events"][0]["id"] == event["id"]
    assert poll(caller, address, cursor=second["cursor"]) == {
        "events": [], "cursor": second["cursor"], "has_more": False, "expired": 0,
    }  # fmt: skip
    assert not Delivery.objects.exists()
    assert all_is_well()


def test_a_webhook_beside_it_gets_its_deliveries(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    forge.webhook(now=timezone.now())

    publish(forge, 1, 2)

    assert numbers_in(poll(caller, address)) == [1, 2]
    assert Delivery.objects.count() == 2
    assert all_is_well()


def test_a_second_fan_out_of_the_same_event_changes_nothing(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    publish(forge, 1)
    event = Event.objects.get()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO hookhub_outbox VALUES (%s, %s)", [event.repository_id, event.pk])

    pipeline.fan_out(now=timezone.now())

    assert numbers_in(poll(caller, address)) == [1]


def test_a_filter_applies(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    Webhook.objects.update(payload_filter={"n": 2})

    publish(forge, 1, 2, 3)

    assert numbers_in(poll(caller, address)) == [2]
    assert all_is_well()


@pytest.mark.parametrize(("act", "event_type"), [("ping", "ping"), ("test", "push")])
def test_what_is_sent_to_it_alone_is_fetched_and_nothing_is_delivered(
    caller: Caller, sender: Sender, act: str, event_type: str
) -> None:
    address = make(caller)

    answer = caller.post(f"{address}/{act}")
    pipeline.fan_out(now=timezone.now())
    assert deliver_due(sender, now=timezone.now()) == set()

    assert (answer.status_code, answer.json()["state"], answer.json()["due_at"]) == (202, "pending", None)
    fetched = poll(caller, address)["events"]
    assert [(each["id"], each["type"]) for each in fetched] == [(answer.json()["id"], event_type)]
    assert Delivery.objects.count() == 0
    assert all_is_well()


def test_people_who_test_it_are_led_to_it(caller: Caller, admin_client: Client) -> None:
    address = make(caller)
    webhook = Webhook.objects.get()
    browser = visitor(caller, role="manage")
    asked = {"type": "ping", "payload": json.dumps(redelivery.data_of_ping(webhook)), "send": "1"}

    token = token_of(shown(browser, "/portal/"))
    sent = browser.post(f"/portal/webhooks/{webhook.uid}/test", {**asked, "form_token": token})
    told = act(admin_client, "/admin/deliveries/webhook/", "ping", webhook)

    assert (sent.status_code, sent["Location"]) == (302, f"/portal/webhooks/{webhook.uid}")
    assert told == [f"Ping put into the queue of {webhook}."]
    assert [each["type"] for each in poll(caller, address)["events"]] == ["ping", "ping"]


def test_each_consumer_has_its_own_position(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    publish(forge, 1, 2, 3)

    page = poll(caller, address, consumer="billing", limit=2)
    made = commit(caller, address, "billing", page["cursor"])

    assert (made.status_code, made.json()["name"], made.json()["behind"]) == (200, "billing", 1)
    assert numbers_in(poll(caller, address, consumer="billing")) == [3]
    assert numbers_in(poll(caller, address, consumer="search")) == [1, 2, 3]
    assert [(each["name"], each["behind"]) for each in caller.get(f"{address}/consumers").json()["consumers"]] == [
        ("billing", 1)
    ]
    # Back, to process some of them again.
    assert commit(caller, address, "billing", page["events"][0]["cursor"]).json()["behind"] == 2
    assert numbers_in(poll(caller, address, consumer="billing")) == [2, 3]
    assert caller.delete(f"{address}/consumers/billing").status_code == 204
    assert caller.delete(f"{address}/consumers/billing").status_code == 404
    assert numbers_in(poll(caller, address, consumer="billing")) == [1, 2, 3]


def test_latest_begins_with_what_comes_from_now_on(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    publish(forge, 1, 2)

    page = poll(caller, address, cursor="latest")
    publish(forge, 3)

    assert page["events"] == []
    assert numbers_in(poll(caller, address, cursor=page["cursor"])) == [3]


def test_an_event_that_is_committed_late_comes_after_those_that_were_read(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    early = timezone.now() - timedelta(minutes=5)
    publish(forge, 1)
    page = poll(caller, address)
    # The transaction of its publisher was open all the time, so its id is lower than that of the event read.
    forge.accept(data={"n": 2}, now=early)

    assert min(Event.objects.values_list("id", flat=True)) == Event.objects.get(accepted_at=early).pk
    assert numbers_in(poll(caller, address, cursor=page["cursor"])) == [2]
    assert numbers_in(poll(caller, address)) == [1, 2]


def test_what_retention_deleted_unread_is_counted(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    publish(forge, 1, 2, 3)
    poll(caller, address)
    PollEntry.objects.filter(position__lte=2).delete()

    page = poll(caller, address)

    assert (numbers_in(page), page["expired"]) == ([3], 2)
    PollEntry.objects.all().delete()
    emptied = poll(caller, address)
    assert (emptied["events"], emptied["expired"]) == ([], 3)
    publish(forge, 4)
    assert numbers_in(poll(caller, address, cursor=emptied["cursor"])) == [4]


def test_retention_deletes_entries_with_their_events(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    old = timezone.now() - settings.HOOKHUB_RETENTION - HOUR
    Webhook.objects.update(created_at=old - HOUR, changed_at=old - HOUR)
    forge.accept(data={"n": 1}, now=old)
    publish(forge, 2)
    assert numbers_in(poll(caller, address)) == [1, 2]

    prune_old(now=timezone.now())

    assert numbers_in(poll(caller, address)) == [2]
    assert Event.objects.count() == PollEntry.objects.count() == 1
    assert all_is_well()


def test_events_that_retention_deletes_before_anybody_reads_are_counted_too(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    old = timezone.now() - settings.HOOKHUB_RETENTION - HOUR
    Webhook.objects.update(created_at=old - HOUR, changed_at=old - HOUR)
    other = forge.webhook(now=old - HOUR)
    for number in (1, 2, 3):
        forge.accept(data={"n": number}, now=old)
    read = poll(caller, address, limit=1)
    # One goes with its delivery, the others for themselves.
    Delivery.objects.filter(webhook=other).exclude(event=Event.objects.order_by("pk")[1].pk).delete()
    finished = {"state": "delivered", "finish_reason": "delivered", "finished_at": old}
    Delivery.objects.update(**finished, due_at=None, attempts_made=1)
    PollEntry.objects.filter(event__in=Event.objects.order_by("pk")[1:]).update(position=None)
    PollQueue.objects.update(last_position=1)

    prune_old(now=timezone.now())
    publish(forge, 4)

    page = poll(caller, address, cursor=read["cursor"])
    assert (numbers_in(page), page["expired"]) == ([4], 2)
    assert numbers_in(poll(caller, address, cursor=page["cursor"])) == []


def test_a_deleted_webhook_goes_with_its_queue_once_its_entries_are_gone(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    publish(forge, 1)
    commit(caller, address, "one", poll(caller, address)["cursor"])
    assert caller.delete(address).status_code == 204
    assert caller.get(f"{address}/poll").status_code == 404

    later = timezone.now() + settings.HOOKHUB_RETENTION + HOUR
    prune_old(now=later)

    for model in (Webhook, PollEntry, PollQueue, PollConsumer, Event):
        assert not model.objects.exists(), model


def test_what_it_never_got_is_put_into_its_queue_once(caller: Caller, forge: Forge) -> None:
    past = timezone.now() - HOUR
    forge.accept(data={"n": 1}, now=past)
    forge.accept(data={"n": 2}, now=past)
    address = make(caller)
    after = (past - HOUR).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert caller.get(f"{address}/replay-missing?after={after}").json()["events"] == 2

    for _ in range(2):
        assert caller.post(f"{address}/replay-missing", {"after": after}).status_code == 202
        replays.run_replays(now=timezone.now())

    assert numbers_in(poll(caller, address)) == [1, 2]
    assert caller.get(f"{address}/replay-missing?after={after}").json()["events"] == 0
    assert not Delivery.objects.exists()
    assert all_is_well()


def test_a_disabled_one_gets_no_new_events_and_can_be_read(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    publish(forge, 1)
    caller.post(f"{address}/disable")
    publish(forge, 2)

    assert numbers_in(poll(caller, address)) == [1]
    assert all_is_well()


def test_a_page_ends_before_it_is_too_large_but_never_before_its_first_event(
    caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MAX_PAGE_BYTES", 10)
    address = make(caller)
    publish(forge, 1, 2, 3)

    seen, cursor = [], {}
    for _ in range(2):
        page = poll(caller, address, **cursor)
        seen.append((numbers_in(page), page["has_more"]))
        cursor = {"cursor": page["cursor"]}

    assert seen == [([1, 2], True), ([3], False)]


def test_more_entries_than_one_read_numbers_are_all_read(
    caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MAX_NUMBERED", 2)
    address = make(caller)
    publish(forge, *range(5))

    seen, query = [], {}
    while True:
        page = poll(caller, address, **query)
        seen += numbers_in(page)
        query = {"cursor": page["cursor"]}
        if not page["has_more"]:
            break

    assert seen == [0, 1, 2, 3, 4]


def test_an_event_that_cannot_be_rendered_does_not_block_those_after_it(
    caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = make(caller)
    publish(forge, 1, 2)
    render = polling.attempting.render

    def fails_once(claim: Any, **how: Any) -> Any:
        if b'"n":1' in claim.payload.replace(b" ", b""):
            raise RuntimeError("no")
        return render(claim, **how)

    monkeypatch.setattr(polling.attempting, "render", fails_once)

    first, second = poll(caller, address)["events"]

    assert (first["headers"], first["body"], first["error"]) == (None, None, "The request could not be built: no")
    assert second["error"] is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kind": "pull"}, "kind"),
        ({"kind": None}, "kind"),
        ({"kind": ["poll"]}, "kind"),
        ({"kind": "poll", "url": "https://example.com/"}, "url"),
        ({"kind": "poll", "timeout": 5}, "timeout"),
        ({"kind": "poll", "verify": "challenge"}, "verify"),
        ({"kind": "poll", "max_in_flight": 3}, "max_in_flight"),
        ({"kind": "poll", "rate_limit": {"requests": 1, "per": 1}}, "rate_limit"),
        ({"kind": "poll", "events": None}, "events"),
        ({"kind": "push"}, "url"),
        ({}, "url"),
    ],
)
def test_a_new_webhook_has_the_fields_of_its_kind(caller: Caller, fields: dict[str, Any], named: str) -> None:
    answer = caller.post("/v1/webhooks", {"events": ["push"]} | fields)

    assert answer.status_code == 422
    assert named in faults(answer)
    assert not Webhook.objects.exists()


def test_a_client_may_send_back_what_it_read(caller: Caller) -> None:
    address = make(caller, name="before")
    shown = caller.get(address).json()
    assert (shown["kind"], shown["url"], shown["status"]) == ("poll", None, "active")

    fields = {name: shown[name] for name in ("kind", *kinds.ABOUT_SENDING)}
    answer = caller.patch(address, fields | {"name": "after"})

    assert (answer.status_code, answer.json()["name"]) == (200, "after")
    assert faults(caller.patch(address, {"kind": "push"})) == {"kind": "cannot be changed; create another webhook"}
    assert set(faults(caller.patch(address, {"url": "https://example.com/", "timeout": 3}))) == {"url", "timeout"}
    assert set(faults(caller.patch(address, {"rate_limit": {"requests": 1, "per": 1}}))) == {"rate_limit"}
    assert caller.patch(address, {"format": "github"}).status_code == 200
    assert caller.post(f"{address}/verify").status_code == 422


def test_it_has_no_url_in_any_format(caller: Caller, settings: Settings) -> None:
    made = [caller.post("/v1/webhooks", {"kind": "poll", "events": ["push"], "format": slug}) for slug in FORMATS]
    settings.HOOKHUB_ENCRYPTION_KEYS = (Fernet.generate_key().decode(), *settings.HOOKHUB_ENCRYPTION_KEYS)

    assert sum(secrets.reencrypt_all()) == len(FORMATS)

    assert sum(secrets.reencrypt_all()) == 0
    for address in [f"/v1/webhooks/{each.json()['id']}" for each in made]:
        changed = [caller.patch(address, {"format": slug}) for slug in FORMATS]
        assert [(each.status_code, each.json()["url"]) for each in changed] == [(200, None)] * len(FORMATS)
        assert caller.delete(address).status_code == 204
    assert set(Webhook.objects.values_list("stored_url", "sealed_url")) == {("", None)}


def test_an_organization_that_has_urls_verified_may_have_it(caller: Caller, forge: Forge) -> None:
    forge.organization.verify_webhooks = True
    forge.organization.save()
    address = make(caller)

    publish(forge, 1)

    assert numbers_in(poll(caller, address)) == [1]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("cursor=x", "cursor"),
        ("cursor=" + "A" * 22, "cursor"),
        ("cursor=%2B" + "A" * 21, "cursor"),
        ("cursor=", "cursor"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("wait=31", "wait"),
        ("wait=-1", "wait"),
        ("wait=1.5", "wait"),
        ("consumer=a%20b", "consumer"),
        ("consumer=" + "a" * 101, "consumer"),
        ("after=1", "after"),
    ],
)
def test_bad_queries_are_named(caller: Caller, query: str, named: str) -> None:
    answer = caller.get(f"{make(caller)}/poll?{query}")

    assert answer.status_code == 422
    assert set(faults(answer)) == {named}


def test_a_cursor_of_another_webhook_or_ahead_of_the_queue_is_refused(caller: Caller, forge: Forge) -> None:
    one, other = make(caller), make(caller)
    publish(forge, 1, 2)
    cursor = poll(caller, one)["cursor"]

    assert set(faults(caller.get(f"{other}/poll?cursor={cursor}"))) == {"cursor"}
    assert set(faults(commit(caller, other, "one", cursor))) == {"cursor"}
    # As after the database was restored from a backup.
    PollQueue.objects.update(last_position=1)
    assert set(faults(caller.get(f"{one}/poll?cursor={cursor}&wait=30"))) == {"cursor"}
    assert set(faults(commit(caller, one, "one", cursor))) == {"cursor"}
    assert not PollConsumer.objects.exists()


@pytest.mark.parametrize(
    "fields", [{}, {"cursor": None}, {"cursor": 5}, {"position": 1, "cursor": "x"}, {"cursor": ""}]
)
def test_a_commit_without_a_cursor_is_refused(caller: Caller, fields: dict[str, Any]) -> None:
    address = make(caller)

    assert caller.send("PUT", f"{address}/consumers/one", fields).status_code == 422
    assert commit(caller, address, "a b", "x").status_code == 422
    assert not PollConsumer.objects.exists()


@pytest.mark.parametrize("cursor", ["", "latest", None])
def test_a_refused_commit_says_how_to_go_on_or_start_anew(caller: Caller, cursor: str | None) -> None:
    address = make(caller)

    refused = caller.send("PUT", f"{address}/consumers/one", {"cursor": cursor})

    assert faults(refused)["cursor"].endswith("send the one returned with events, or delete the consumer to start anew")


def test_a_webhook_has_so_many_consumers(caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "MAX_CONSUMERS", 2)
    address = make(caller)
    cursor = poll(caller, address)["cursor"]

    assert [commit(caller, address, name, cursor).status_code for name in ("a", "b", "c", "a")] == [200, 200, 409, 200]


def test_a_webhook_with_a_url_has_no_queue(caller: Caller, forge: Forge) -> None:
    webhook = forge.webhook(now=timezone.now())

    for path in ("poll", "consumers"):
        assert caller.get(f"/v1/webhooks/{webhook.uid}/{path}").status_code == 422
    assert commit(caller, f"/v1/webhooks/{webhook.uid}", "one", "x").status_code == 422


def test_another_tenants_webhook_is_not_found(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    stranger = Caller.of(Forge.make(forge.receiver, "globex").organization)

    assert stranger.get(f"{address}/poll").status_code == 404
    assert stranger.get(f"{address}/consumers").status_code == 404
    assert commit(stranger, address, "one", "x").status_code == 404
    assert stranger.delete(f"{address}/consumers/one").status_code == 404


def test_reading_is_enough_to_consume_and_publishing_is_not(caller: Caller, forge: Forge) -> None:
    address = make(caller, headers={"X-Token": "s3cret"})
    publish(forge, 1)
    reader, publisher = (
        Caller(ApiKey.issue(organization=forge.organization, scope=scope, now=timezone.now())[1])
        for scope in (Scope.READ, Scope.PUBLISH)
    )

    page = poll(reader, address, consumer="one")
    assert [each["events"][0]["headers"]["X-Token"] for each in (page, poll(caller, address))] == ["********", "s3cret"]
    assert commit(reader, address, "one", page["cursor"]).status_code == 200
    assert publisher.get(f"{address}/poll").status_code == 403
    assert commit(publisher, address, "one", page["cursor"]).status_code == 403


def test_a_webhook_made_for_a_time_is_deleted_after_it(caller: Caller, forge: Forge) -> None:
    ends = timezone.now() + HOUR
    make(caller, expires_at=ends.isoformat())
    stays = make(caller)

    leases.end_expired(now=ends + timedelta(seconds=1))

    assert [str(each.uid) for each in Webhook.objects.kept()] == [stays.rpartition("/")[2]]
    assert AuditEntry.objects.latest("id").action == "webhook.deleted"


def test_a_request_waits_for_the_next_event(caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    address = make(caller)
    looks = []

    def meanwhile(_: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            publish(forge, 7)

    monkeypatch.setattr(long_polls, "sleep", meanwhile)

    assert numbers_in(poll(caller, address, wait=30)) == [7]
    assert len(looks) == 3
    assert doors.ROOM_IN_THREADS._waiting == []


def test_a_request_that_has_waited_for_long_enough_is_answered(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    address = make(caller)
    monkeypatch.setattr(long_polls, "sleep", lambda _: monkeypatch.setattr(long_polls.Wait, "is_over", True))

    assert poll(caller, address, wait=30)["events"] == []
    assert doors.ROOM_IN_THREADS._waiting == []


def test_a_request_without_room_to_wait_is_answered_at_once(
    caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = make(caller)
    monkeypatch.setattr(long_polls, "sleep", lambda _: pytest.fail("it waits"))
    room = doors.ROOM_IN_THREADS
    places = [room.enter(forge.organization.pk, patience=HOUR) for _ in range(room.of_organization)]

    assert poll(caller, address, wait=30)["events"] == []
    for place in places:
        assert place is not None
        place.end()


def test_of_a_server_that_waits_in_threads_few_are_taken_and_not_for_long(
    caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = make(caller)
    beside = []

    def meanwhile(_: float) -> None:
        [first] = doors.ROOM_IN_THREADS._waiting
        assert first.deadline - monotonic() <= long_polls.LONGEST_IN_A_THREAD.total_seconds()
        # While one waits, another is answered at once.
        beside.append(poll(caller, address, wait=30)["events"])
        monkeypatch.setattr(first, "deadline", 0.0)

    monkeypatch.setattr(long_polls, "sleep", meanwhile)

    assert poll(caller, address, wait=30)["events"] == []
    assert beside == [[]]


CHANGES: dict[str, tuple[Callable[[Caller, str], object], int]] = {
    "deleted": (lambda caller, address: caller.delete(address), 404),
    "of a revoked key": (lambda *_: ApiKey.objects.update(revoked_at=timezone.now()), 401),
    "of an expired key": (lambda *_: ApiKey.objects.update(expires_at=timezone.now()), 401),
    "of a key that may only publish now": (lambda *_: ApiKey.objects.update(scope=Scope.PUBLISH), 403),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_request_that_waits_gets_what_it_would_get_now(
    caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    address = make(caller)
    change, status = CHANGES[what]

    def meanwhile(_: float) -> None:
        change(caller, address)
        publish(forge, 7)

    monkeypatch.setattr(long_polls, "sleep", meanwhile)

    answer = caller.get(f"{address}/poll?wait=30")

    assert (answer.status_code, answer["Content-Type"]) == (status, "application/json")
    assert set(answer.json()) == {"error"}
    assert ("WWW-Authenticate" in answer) is (status == 401)
    assert doors.ROOM_IN_THREADS._waiting == []


def test_an_event_that_came_while_its_request_waits_is_signed_with_the_secret_of_now(
    caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, other = make(caller), "whsec_" + "6" * 48

    def meanwhile(_: float) -> None:
        assert caller.post(f"{address}/rotate-secret", {"secret": other, "overlap": 0}).status_code == 200
        publish(forge, 7)

    monkeypatch.setattr(long_polls, "sleep", meanwhile)

    [event] = poll(caller, address, wait=30)["events"]

    assert verify(event["body"].encode(), event["headers"], secrets=other).id == event["id"]


def test_a_request_that_waits_hears_of_a_deletion_although_nothing_comes(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = make(caller)
    looks: list[int] = []

    def meanwhile(_: float) -> None:
        assert not looks
        looks.append(1)
        caller.delete(address)

    monkeypatch.setattr(long_polls, "sleep", meanwhile)

    assert caller.get(f"{address}/poll?wait=30").status_code == 404


def test_beginning_with_the_latest_numbers_a_long_queue_in_several_requests(
    caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MAX_NUMBERED", 2)
    monkeypatch.setattr(polling, "MAX_BATCHES_NUMBERED", 2)
    address = make(caller)
    publish(forge, *range(9))

    answers = [caller.get(f"{address}/poll?cursor=latest") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert (answers[0]["Retry-After"], answers[0].json()["error"]["code"]) == ("1", "unavailable")
    publish(forge, 9)
    assert numbers_in(poll(caller, address, cursor=answers[-1].json()["cursor"])) == [9]


@pytest.mark.parametrize("with_entries", [True, False], ids=["events alone", "events and entries"])
def test_what_was_deleted_between_the_events_of_a_page_is_counted(
    caller: Caller, forge: Forge, with_entries: bool
) -> None:
    address = make(caller)
    publish(forge, *range(1, 8))
    ids = [each["event"] for each in poll(caller, address)["events"]]
    gone = [ids[0], ids[2], ids[3], ids[6]]
    Event.objects.filter(id__in=gone).delete()
    if not with_entries:
        PollEntry.objects.filter(event_id__in=gone).delete()

    pages = [poll(caller, address, limit=5 if with_entries else 2)]
    while pages[-1]["has_more"]:
        pages.append(poll(caller, address, cursor=pages[-1]["cursor"]))

    assert [number for page in pages for number in numbers_in(page)] == [2, 5, 6]
    assert (numbers_in(pages[0]), pages[0]["expired"]) == ([2, 5], 3)
    assert sum(page["expired"] for page in pages) == len(gone)
    assert poll(caller, address, cursor=pages[-1]["cursor"])["expired"] == 0


def test_a_request_does_not_wait_while_all_that_came_is_expired(
    caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = make(caller)
    publish(forge, 1, 2, 3)
    Event.objects.all().delete()
    monkeypatch.setattr(long_polls, "sleep", lambda _: pytest.fail("it waits"))

    page = poll(caller, address, wait=30, limit=2)

    assert (page["events"], page["expired"], page["has_more"]) == ([], 2, True)


WAITING = "SELECT FROM pg_locks WHERE NOT granted"


@contextmanager
def holding_the_queue() -> Iterator["psycopg.Connection[Any]"]:
    """Let another transaction hold the lock with which a queue is numbered."""
    with psycopg.connect(**connection.get_connection_params() | {"cursor_factory": psycopg.Cursor}) as link:
        link.execute("SELECT FROM hookhub_poll_queue FOR UPDATE")
        yield link
        link.rollback()


@pytest.mark.django_db(transaction=True)
def test_a_reader_does_not_wait_for_another_that_numbers(
    caller: Caller, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = make(caller)
    publish(forge, 1)

    with holding_the_queue():
        page = poll(caller, address)

    assert (page["events"], page["has_more"]) == ([], True)

    holding = holding_the_queue()
    holding.__enter__()
    # It gets the event once the other has unlocked the queue.
    monkeypatch.setattr(long_polls, "sleep", lambda _: holding.__exit__(None, None, None))
    assert numbers_in(poll(caller, address, wait=30)) == [1]
    assert numbers_in(poll(caller, address, cursor=page["cursor"])) == [1]


@pytest.mark.django_db(transaction=True)
def test_what_another_reader_numbers_is_not_new_to_one_that_begins_with_the_latest(
    caller: Caller, forge: Forge
) -> None:
    address = make(caller)
    publish(forge, 1)
    pages: list[Any] = []

    def read_latest() -> None:
        try:
            pages.append(poll(Caller(caller.key), address, cursor="latest"))
        finally:
            connection.close()

    reader = threading.Thread(target=read_latest)
    with holding_the_queue() as link:
        reader.start()
        # Until it waits for the lock, or has an answer.
        while reader.is_alive() and not link.execute(WAITING).fetchall():
            reader.join(0.02)
        link.execute("UPDATE hookhub_poll_entry SET position = 1")
        link.execute("UPDATE hookhub_poll_queue SET last_position = 1")
        link.commit()
    reader.join(60)

    publish(forge, 2)
    assert numbers_in(poll(caller, address, cursor=pages[0]["cursor"])) == [2]


@pytest.mark.django_db(transaction=True)
def test_readers_at_once_see_the_same_events_in_the_same_order(caller: Caller, forge: Forge) -> None:
    address = make(caller)
    count, readers = 60, 4
    seen: list[list[int]] = [[] for _ in range(readers)]

    def read(into: list[int]) -> None:
        cursor: dict[str, object] = {}
        try:
            own = Caller(caller.key)
            while len(into) < count:
                page = poll(own, address, limit=7, **cursor)
                into += numbers_in(page)
                cursor = {"cursor": page["cursor"]}
        finally:
            connection.close()

    threads = [threading.Thread(target=read, args=(into,), daemon=True) for into in seen]
    for thread in threads:
        thread.start()
    for start in range(0, count, 6):
        publish(forge, *range(start, start + 6))
    for thread in threads:
        thread.join(60)

    assert sorted(seen[0]) == list(range(count))
    assert all(each == seen[0] for each in seen)
    positions = list(PollEntry.objects.order_by("position").values_list("position", flat=True))
    assert positions == list(range(1, count + 1))


def test_the_portal_shows_its_consumers_and_changes_its_settings(caller: Caller, forge: Forge) -> None:
    address = make(caller, name="orders")
    publish(forge, 1, 2)
    commit(caller, address, "billing", poll(caller, address, limit=1)["cursor"])
    browser = visitor(caller, role="manage")
    path = f"/portal/webhooks/{address.rpartition('/')[2]}"

    assert "1 event to process" in " ".join(shown(browser, path).split())
    settings_page = shown(browser, f"{path}/settings")
    assert 'name="url"' not in settings_page
    assert 'name="timeout"' not in settings_page
    answer = send(browser, f"{path}/settings", name=["renamed"])

    assert answer.status_code == 302, answer.content.decode()
    assert Webhook.objects.get().name == "renamed"
    assert "renamed" in shown(browser, "/portal/")


def test_the_admin_shows_its_consumers_and_changes_its_events(
    caller: Caller, forge: Forge, admin_client: Client
) -> None:
    address = make(caller)
    publish(forge, 1, 2)
    commit(caller, address, "billing", poll(caller, address, limit=1)["cursor"])
    webhook = Webhook.objects.get()

    assert "billing: 1 events to process" in page(admin_client, page_of(webhook))
    assert str(webhook) in page(admin_client, "/admin/deliveries/webhook/")
    answer = admin_client.post(page_of(webhook), as_sent(admin_client, webhook, events="tag_push"))

    assert answer.status_code == 302, errors_of(answer)
    webhook.refresh_from_db()
    assert webhook.events == ["tag_push"]
    assert admin_client.post(f"{page_of(webhook)}", as_sent(admin_client, webhook, name="named")).status_code == 302


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"url": None}, "HOOKHUB_URL"),
        ({"api_key": ""}, "HOOKHUB_API_KEY"),
        ({"url": "ftp://example.com"}, "--url"),
        ({"forward": "localhost:3000"}, "--forward"),
        ({"since": "1w"}, "'1w' is not a time"),
        ({"secret": ["a", "b"]}, "one secret"),
    ],
)
def test_listen_says_what_forwarding_needs(
    arguments: dict[str, Any], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOOKHUB_URL", "HOOKHUB_API_KEY", "HOOKHUB_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)
    usual = {"forward": "http://127.0.0.1:9/", "url": "http://127.0.0.1:9", "api_key": "hh_x"}

    with pytest.raises(CommandError, match=re.escape(error)):
        call_command("listen", **usual | arguments)


def test_the_program_for_developers_is_served(client: Client) -> None:
    answer = client.get("/listen.py")

    assert answer.content.decode() == one_file()
    assert client.post("/listen.py").status_code == 405
