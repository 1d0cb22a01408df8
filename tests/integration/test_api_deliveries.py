"""The delivery log through the API, and redelivery: of one, of several, and by filter."""

from datetime import datetime, timedelta

import pytest

from deliveries.models import Delivery
from deliveries.sending.sender import Sender
from hookhub.models import Replay
from hookhub.replays import run_replays
from tests.api import Caller, faults
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db


def test_the_log_shows_every_attempt_with_request_and_answer(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now, headers={"X-Token": "very secret"})
    forge.receiver.answers["/"] = [Answer(500, {"X-Why": "no\xff"}, b"<b>\0\xff</b>"), Answer(200)]
    forge.accept(now=now)
    deliver_due(sender, now=now)
    deliver_due(sender, now=now + timedelta(minutes=2))

    [row] = caller.get("/v1/deliveries").json()["results"]
    detail = caller.get(f"/v1/deliveries/{row['id']}").json()

    assert (detail["state"], detail["attempts_made"], detail["failures"], detail["last_status"]) == (
        "delivered",
        2,
        1,
        200,
    )
    first, second = detail["attempts"]
    assert (first["number"], first["outcome"], first["status"], second["outcome"]) == (1, "failed", 500, "delivered")
    assert first["response"]["body"] == "<b>\\x00\\xff</b>"
    assert "X-Token: ********" in first["request"]["headers"]
    assert f"webhook-id: {row['id']}" in first["request"]["headers"]
    assert "very secret" not in str(detail)
    assert first["explanation"] == {
        "what_happened": "The receiver failed (500).",
        "what_to_do": "Look into its log at this time, mend it, then redeliver.",
    }
    assert (first["cause"], second["explanation"]) == (None, None)
    assert first["timing"]["connect"] > 0
    assert first["timing"]["tls"] is None
    assert 0 < second["timing"]["first_byte"] <= second["duration"]


def test_an_attempt_without_a_response_names_its_cause(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.receiver.close()
    forge.accept(now=now)
    deliver_due(sender, now=now)

    [row] = caller.get("/v1/deliveries").json()["results"]
    [attempt] = caller.get(f"/v1/deliveries/{row['id']}").json()["attempts"]

    assert (attempt["outcome"], attempt["cause"]) == ("no_response", "connection_refused")
    assert attempt["explanation"]["what_happened"] == "127.0.0.1 refused the connection: nothing listens at this port."
    assert attempt["timing"]["first_byte"] is None


def test_the_log_is_filtered_by_everything_it_promises(forge: Forge, caller: Caller, now: datetime) -> None:
    one, _ = forge.webhook(now=now), forge.webhook(now=now, events=["push"])
    [event] = forge.accept(now=now)
    forge.accept(now=now + timedelta(hours=1), event_type="star.added")
    Delivery.objects.filter(webhook=one, event=event).update(state="held", due_at=None)

    def count(query: str) -> int:
        return len(caller.get(f"/v1/deliveries?{query}").json()["results"])

    assert count("") == 3
    assert count(f"webhook={one.uid}") == 2
    assert count(f"event={event}") == 2
    assert count("repository=widgets") == 3
    assert count("state=held") == 1
    assert count("type=star.added") == 1
    assert count(f"after={(now + timedelta(minutes=1)).isoformat()}") == 1
    assert count(f"before={(now + timedelta(minutes=1)).isoformat()}") == 2
    assert count(f"webhook={one.uid}&state=pending&type=star.added") == 1
    assert count("state=held&state=pending") == 3


@pytest.mark.parametrize(
    ("query", "field"),
    [("webhook=x", "webhook"), ("event=1", "event"), ("state=lost", "state"), ("repository=no", "repository"),
     ("after=x", "after"), ("cursor=%00", "cursor"), ("cursor=cD1hYmM=", "cursor"), ("cursor=bz0tNQ==", "cursor"),
     ("cursor=cD0xNw==", "cursor"), ("cursor=AAAA", "cursor"), ("cursor=cg==", "cursor"), ("cursor=cj0y", "cursor"),
     ("limit=abc", "limit"), ("limit=0", "limit"), ("limit=1000", "limit"), ("stat=failed", "stat"),
     ("webhook=019cb8b8-1e00-753a-a23d-b63dc6d7ef09", "webhook")],
)  # fmt: skip
def test_an_invalid_filter_is_rejected(caller: Caller, query: str, field: str) -> None:
    answer = caller.get(f"/v1/deliveries?{query}")

    assert (answer.status_code, list(faults(answer))) == (422, [field])


def test_a_page_of_the_log_takes_as_many_queries_as_a_longer_one(
    forge: Forge, caller: Caller, now: datetime, django_assert_num_queries: object
) -> None:
    forge.webhook(now=now)
    forge.accept(60, now=now)
    caller.get("/v1/deliveries")

    for limit in (1, 50):
        with django_assert_num_queries(2):  # type: ignore[operator]  # a context manager: the key, and the page
            assert len(caller.get(f"/v1/deliveries?limit={limit}").json()["results"]) == limit


def test_redelivering_keeps_the_id_and_restarts_the_schedule(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    delivery = Delivery.objects.get()

    answer = caller.post(f"/v1/deliveries/{delivery.id}/redeliver")
    deliver_due(sender, now=Delivery.objects.get().due_at)

    assert (answer.status_code, answer.json()["state"], answer.json()["redeliveries"]) == (202, "pending", 1)
    assert [request.headers["webhook-id"] for request in forge.receiver.received] == [str(delivery.id)] * 2
    assert Delivery.objects.get().attempts_made == 2


def test_an_impossible_action_on_a_delivery_is_a_conflict_with_the_reason(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    address = f"/v1/deliveries/{Delivery.objects.get().id}"

    too_late = caller.post(f"{address}/cancel")
    caller.post(f"/v1/webhooks/{webhook.uid}/disable")
    disabled = caller.post(f"{address}/redeliver")

    assert (too_late.status_code, disabled.status_code) == (409, 409)
    assert too_late.json()["error"]["message"] == (
        "A delivery in state delivered cannot be cancelled; its state must be one of: pending, held."
    )
    assert disabled.json()["error"]["message"] == "The webhook is disabled; enable it first."


def test_the_conflict_about_a_deleted_webhook_does_not_advise_enabling_it(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    caller.post(f"/v1/webhooks/{webhook.uid}/disable")
    caller.delete(f"/v1/webhooks/{webhook.uid}")

    answer = caller.post(f"/v1/deliveries/{Delivery.objects.get().id}/redeliver")

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert answer.json()["error"]["message"] == "The webhook is deleted, so its deliveries cannot be redelivered."
    assert (Delivery.objects.get().state, Delivery.objects.get().redeliveries) == ("delivered", 0)


def test_a_pending_delivery_is_cancelled(forge: Forge, caller: Caller, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)

    answer = caller.post(f"/v1/deliveries/{Delivery.objects.get().id}/cancel")
    deliver_due(sender, now=now)

    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert forge.receiver.received == []


def test_a_replay_redelivers_what_its_filter_selects_and_reports_progress(
    forge: Forge, caller: Caller, sender: Sender, now: datetime
) -> None:
    one, other = forge.webhook(now=now), forge.webhook(now=now)
    forge.accept(5, now=now)
    deliver_due(sender, now=now)

    started = caller.post("/v1/replays", {"webhook": str(one.uid), "state": ["delivered", "failed"]})
    run_replays(now=now + timedelta(days=365))
    job = caller.get(f"/v1/replays/{started.json()['id']}").json()

    assert job["asked"] == {"webhook": str(one.uid), "state": ["delivered", "failed"]}
    assert (started.status_code, started.json()["state"], started.json()["total"]) == (202, "running", 5)
    assert (job["state"], job["examined"], job["redelivered"], job["finished_at"] is not None) == (
        "finished",
        5,
        5,
        True,
    )
    assert Delivery.objects.filter(webhook=one, state="pending").count() == 5
    assert Delivery.objects.filter(webhook=other, state="delivered").count() == 5


def test_a_replay_of_listed_deliveries_skips_those_of_other_organizations(
    forge: Forge, caller: Caller, other: Caller, sender: Sender, now: datetime
) -> None:
    forge.webhook(now=now)
    forge.accept(2, now=now)
    deliver_due(sender, now=now)
    ids = [str(delivery.id) for delivery in Delivery.objects.order_by("id")]

    theirs = other.post("/v1/replays", {"deliveries": ids}).json()
    mine = caller.post("/v1/replays", {"deliveries": ids[:1]}).json()

    assert (theirs["total"], mine["total"]) == (0, 1)


@pytest.mark.parametrize(
    ("fields", "field"),
    [({}, "body"), ({"webhook": None}, "webhook"), ({"state": []}, "state"), ({"after": ""}, "after"),
     ({"after": []}, "after"), ({"before": {"a": 1}}, "before"), ({"type": "\ud800"}, "request"),
     ({"deliveries": []}, "deliveries"), ({"deliveries": ["x"]}, "deliveries[0]"),
     ({"state": "gone"}, "state"),
     ({"after": 5}, "after"), ({"everything": True}, "everything"), ({"webhook": 5}, "webhook"), ({"type": 5}, "type")],
)  # fmt: skip
def test_an_invalid_replay_is_rejected(caller: Caller, fields: dict[str, object], field: str) -> None:
    answer = caller.post("/v1/replays", fields)

    assert (answer.status_code, list(faults(answer))) == (422, [field])
    assert not Replay.objects.exists()


def test_a_replay_can_be_cancelled(caller: Caller, now: datetime) -> None:
    job = caller.post("/v1/replays", {"state": "failed"}).json()

    assert caller.post(f"/v1/replays/{job['id']}/cancel").json()["state"] == "cancelled"
    assert run_replays(now=now) == 0


def test_replays_take_turns_so_that_a_long_one_does_not_block_the_others(
    forge: Forge, caller: Caller, sender: Sender, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hookhub.replays.BATCH", 1)
    monkeypatch.setattr("hookhub.replays.BATCHES_A_TICK", 4)
    forge.webhook(now=now)
    forge.accept(20, now=now)
    deliver_due(sender, now=now)
    jobs = [caller.post("/v1/replays", {"type": "push"}).json()["id"] for _ in range(2)]

    run_replays(now=now)

    assert [caller.get(f"/v1/replays/{job}").json()["examined"] for job in jobs] == [2, 2]
