"""Which webhooks an event matches, and that looking them up costs nothing for all the others."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliveries import pipeline, redelivery
from deliveries.db import sql
from deliveries.event_types.topics import topics_of
from deliveries.events import NewEvent
from deliveries.maintenance import invariants
from deliveries.models import Delivery, Organization, OutboxEntry, Repository, Webhook
from deliveries.pipeline.capacity import Capacity
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, lifecycle
from tests.receiver import Answer, Receiver
from tests.story import Forge, attempt_all, together

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


def receivers(*events: NewEvent, now: datetime) -> list[str]:
    """Accept and fan out events; return the names of the webhooks for which deliveries were created, in order."""
    ids = [receipt.id for receipt in pipeline.accept(events, now=now)]
    pipeline.fan_out(now=now)
    return sorted(Delivery.objects.filter(event__in=ids).values_list("webhook__name", flat=True))


def missing(now: datetime) -> dict[str, int]:
    """Return what ``check_ledger`` reports an hour later."""
    found = invariants.check_all(now=now + HOUR, settling=timedelta(0))
    return {result.check.name: result.count for result in found if result.verdict != "ok"}


# label: (a webhook's events, an event's type, its data, whether they match)
TOPICS = {
    "everything": (["*"], "push", {}, True),
    "the type": (["push"], "push", {}, True),
    "another type": (["pull"], "push", {}, False),
    "the beginning of the type": (["pus"], "push", {}, False),
    "the type in another case": (["PUSH"], "push", {}, False),
    "the family": (["repo"], "repo.sync.failed", {}, True),
    "the nearer family": (["repo.sync"], "repo.sync.failed", {}, True),
    "a type of the same family": (["repo.sync.done"], "repo.sync.failed", {}, False),
    "the action": (["issues.opened"], "issues", {"action": "opened"}, True),
    "another action": (["issues.closed"], "issues", {"action": "opened"}, False),
    "the type without the action": (["issues"], "issues", {"action": "opened"}, True),
    "one of many": ([*(f"type.{n}" for n in range(60)), "push"], "push", {}, True),
    "several topics at once": (["*", "repo", "repo.sync", "repo.sync.failed"], "repo.sync.failed", {}, True),
}


@pytest.mark.parametrize(("events", "event_type", "data", "matches"), TOPICS.values(), ids=TOPICS)
def test_an_event_goes_once_to_each_webhook_with_one_of_its_topics(
    forge: Forge, now: datetime, events: list[str], event_type: str, data: dict[str, str], *, matches: bool
) -> None:
    forge.webhook(name="wide", events=events, now=now)
    forge.webhook(name="near", events=events, repository=forge.repository, now=now)
    forge.webhook(name="other", events=["other"], now=now)

    assert receivers(forge.event(event_type, data, now=now), now=now) == (["near", "wide"] if matches else [])
    assert missing(now) == {}


def test_an_event_goes_to_the_webhooks_of_its_repository_and_of_the_organization(
    forge: Forge, receiver: Receiver, now: datetime
) -> None:
    elsewhere = forge.organization.repositories.create(name="gadgets")
    stranger = Forge.make(receiver, slug="stranger")
    forge.webhook(name="wide", now=now)
    forge.webhook(name="near", repository=forge.repository, now=now)
    forge.webhook(name="elsewhere", repository=elsewhere, now=now)
    stranger.webhook(name="strange", now=now)
    stranger.webhook(name="strange, near", repository=stranger.repository, now=now)
    event = forge.event(now=now)

    assert receivers(event, now=now) == ["near", "wide"]
    assert receivers(replace(event, repository_id=elsewhere.pk), now=now) == ["elsewhere", "wide"]
    assert receivers(replace(event, repository_id=None), now=now) == ["wide"]
    assert missing(now) == {}


def test_a_webhook_with_the_repository_of_another_organization_gets_none_of_its_events(
    forge: Forge, receiver: Receiver, now: datetime
) -> None:
    stranger = Forge.make(receiver, slug="stranger")
    misplaced = stranger.webhook(name="misplaced", now=now)

    # As nothing in HookHub would, but a manual change might.
    Webhook.objects.filter(pk=misplaced.pk).update(repository=forge.repository)

    assert receivers(forge.event(now=now), forge.event(now=now, webhook_id=misplaced.pk), now=now) == []
    assert missing(now) == {}


# label: (what happens to the webhook an hour before or after the event is accepted, whether it gets the event)
LIVES: dict[str, tuple[Callable[[int, datetime], object], bool, bool]] = {
    "disabled": (lambda pk, now: lifecycle.disable(pk, now=now), False, True),
    "deleted": (lambda pk, now: lifecycle.delete(pk, now=now), False, False),
}


@pytest.mark.parametrize("is_ping", [False, True], ids=["event", "ping"])
@pytest.mark.parametrize(("end", "gets_if_before", "gets_if_after"), LIVES.values(), ids=LIVES)
def test_a_webhook_that_ended_gets_only_events_accepted_before_it_was_disabled(
    forge: Forge,
    now: datetime,
    end: Callable[[int, datetime], object],
    *,
    gets_if_before: bool,
    gets_if_after: bool,
    is_ping: bool,
) -> None:
    ended = forge.webhook(name="ended", now=now - HOUR)
    one_of = {"webhook_id": ended.pk} if is_ping else {}
    pipeline.accept([forge.event(now=now, **one_of)], now=now)

    end(ended.pk, now + HOUR)
    pipeline.fan_out(now=now + HOUR)
    assert Delivery.objects.exists() is gets_if_after

    assert bool(receivers(forge.event(now=now, **one_of), now=now + 2 * HOUR)) is gets_if_before


def test_an_enabled_webhook_gets_events_again(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(name="back", now=now)
    lifecycle.disable(webhook.pk, now=now)
    assert receivers(forge.event(now=now), now=now) == []

    lifecycle.enable(webhook.pk, release_held=False, now=now)

    assert receivers(forge.event(now=now), now=now) == ["back"]


def test_a_ping_goes_to_its_webhook_only_whatever_that_subscribes_to(forge: Forge, now: datetime) -> None:
    forge.webhook(name="other", events=["*", "ping"], now=now)
    hooks = [
        forge.webhook(name="pinged", events=["issues"], repository=repository, now=now)
        for repository in (None, forge.repository)
    ]

    for webhook in hooks:
        redelivery.ping(webhook, now=now)
    pipeline.fan_out(now=now)

    assert list(Delivery.objects.values_list("webhook", flat=True).order_by("webhook")) == [hook.pk for hook in hooks]


def test_a_changed_webhook_gets_what_it_subscribes_to_now(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(name="fickle", events=["push", "issues"], now=now)

    changing.change(webhook.pk, {"events": ["issues", "release"]}, now=now)

    assert receivers(forge.event("push", now=now), now=now) == []
    assert receivers(forge.event("issues", now=now), now=now) == ["fickle"]
    assert receivers(forge.event("release", now=now), now=now) == ["fickle"]


@pytest.mark.django_db(transaction=True)
def test_a_change_that_is_not_committed_has_no_effect_on_a_fan_out_and_does_not_delay_it(
    forge: Forge, now: datetime
) -> None:
    webhook = forge.webhook(name="fickle", events=["push"], now=now)
    is_changed, is_done = threading.Event(), threading.Event()

    def change() -> None:
        with transaction.atomic():
            changing.change(webhook.pk, {"events": ["issues"]}, now=now)
            is_changed.set()
            assert is_done.wait(30)

    def fan_out() -> list[list[str]]:
        assert is_changed.wait(30)
        try:
            return [receivers(forge.event(kind, now=now), now=now) for kind in ("push", "issues")]
        finally:
            is_done.set()

    assert together(change, fan_out)[1] == [["fickle"], []]
    assert [receivers(forge.event(kind, now=now), now=now) for kind in ("push", "issues")] == [[], ["fickle"]]


WORDS = ["a", "a.b", "a.b.c", "b", "b.c", "*"]


@dataclass(frozen=True)
class Subscription:
    """A webhook: its repository (None for all), its topics, and when it ended, in hours after noon."""

    repository: int | None
    events: tuple[str, ...]
    disabled: int | None
    is_deleted: bool


@dataclass(frozen=True)
class Publication:
    """An event: its repository (or None), its type, the place of its webhook, if it is for one, and when it came."""

    repository: int | None
    type: str
    only: int | None
    at: int

    def is_for(self, place: int, subscription: Subscription) -> bool:
        """Return whether the webhook in this place matches: the definition, in plain words."""
        covers = subscription.repository in {None, self.repository}
        is_active = subscription.disabled is None or subscription.disabled > self.at
        if self.only is not None:
            is_wanted = place == self.only
        else:
            is_wanted = bool(set(topics_of(self.type, None)) & set(subscription.events))
        return covers and is_active and not subscription.is_deleted and is_wanted


REPOSITORIES = st.sampled_from([None, 0, 1])
SUBSCRIPTIONS = st.builds(
    Subscription,
    repository=REPOSITORIES,
    events=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(tuple),
    disabled=st.sampled_from([None, None, None, 0, 1, 2]),
    is_deleted=st.sampled_from([False, False, False, True]),
)
PUBLICATIONS = st.builds(
    Publication,
    repository=REPOSITORIES,
    type=st.sampled_from(WORDS[:-1]),
    only=st.sampled_from([None, None, None, 0, 1]),
    at=st.integers(0, 2),
)


@given(
    subscriptions=st.lists(SUBSCRIPTIONS, min_size=2, max_size=6),
    publications=st.lists(PUBLICATIONS, min_size=1, max_size=6),
    prefers_indexes=st.booleans(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_matching_by_the_index_equals_its_definition(
    organization: Organization,
    subscriptions: list[Subscription],
    publications: list[Publication],
    *,
    prefers_indexes: bool,
) -> None:
    with transaction.atomic():
        sql.run(f"SET LOCAL enable_seqscan = {'off' if prefers_indexes else 'on'}", {})
        repositories = [Repository.objects.create(organization=organization, name=f"r{n}") for n in range(2)]
        hooks = [webhook_of(each, organization=organization, repositories=repositories) for each in subscriptions]
        expected = set()
        for publication in publications:
            moment = NOON + publication.at * HOUR
            repository = None if publication.repository is None else repositories[publication.repository].pk
            event = NewEvent(
                organization_id=organization.pk,
                repository_id=repository,
                webhook_id=None if publication.only is None else hooks[publication.only].pk,
                type=publication.type,
                topics=topics_of(publication.type, None),
                payload=b"{}",
                occurred_at=moment,
            )
            [accepted] = pipeline.accept([event], now=moment)
            expected |= {
                (accepted.id, webhook.pk)
                for place, webhook in enumerate(hooks)
                if publication.is_for(place, subscriptions[place])
            }

        pipeline.fan_out(now=NOON)

        assert set(Delivery.objects.values_list("event", "webhook")) == expected
        assert Delivery.objects.count() == len(expected)
        # The ledger restates the rule without the index.
        assert not missing(NOON + 2 * HOUR).keys() & {"events-without-delivery", "events-in-doubt"}
        transaction.set_rollback(True)


def webhook_of(subscription: Subscription, *, organization: Organization, repositories: list[Repository]) -> Webhook:
    """Create a webhook as described, without the checks of its fields."""
    ended = {}
    if subscription.disabled is not None:
        ended = {"disabled_at": NOON + subscription.disabled * HOUR, "disabled_reason": "by_owner"}
    if subscription.is_deleted:
        ended["deleted_at"] = NOON
    return Webhook.objects.create(
        organization=organization,
        repository=None if subscription.repository is None else repositories[subscription.repository],
        events=list(subscription.events),
        stored_url="http://127.0.0.1/",
        format="standard-webhooks",
        sealed_secrets=b"",
        created_at=NOON - HOUR,
        changed_at=NOON - HOUR,
        **ended,
    )


# Copies of a webhook that want none of the events: half of them of the event's repository, and some for each of many
# types.
ADD_OTHERS = """
INSERT INTO hookhub_webhook (
    uid, kind, name, organization_id, repository_id, url, events, format, content_type, sealed_secrets, verify_ssl,
    auto_disable, created_at, changed_at, failure_count, timeouts_in_a_row
)
SELECT gen_random_uuid(), w.kind, 'other', w.organization_id, CASE WHEN n %% 2 = 0 THEN %(repository)s::bigint END,
       w.url, ARRAY['other.' || n %% 50, 'other', 'release'], w.format, w.content_type, w.sealed_secrets, true,
       true, w.created_at, w.changed_at, 0, 0
FROM (SELECT * FROM hookhub_webhook LIMIT 1) AS w CROSS JOIN generate_series(1, %(count)s) AS n
"""

# Whatever the statistics say. The first is a new installation, the second one that was analyzed before it was used.
STATISTICS = {
    "no statistics": "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relname LIKE 'hookhub%'",
    "of empty tables": "UPDATE pg_class SET reltuples = 0, relpages = 0 WHERE relname LIKE 'hookhub%'",
    "fresh": "ANALYZE hookhub_webhook, hookhub_event, hookhub_outbox, hookhub_delivery",
}


def rows_read(table: str) -> int:
    """Return how many rows of a table this transaction has read."""
    counted = (
        "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables "
        "WHERE relname = %(table)s"
    )
    return int(sql.run(counted, {"table": table})[0][0])


# With few webhooks, the planner takes an index that finds all of them to be as good as one that finds a single row.
@pytest.mark.parametrize("others", [200, 10_000])
@pytest.mark.parametrize("prepare", STATISTICS.values(), ids=STATISTICS)
def test_an_event_reads_only_what_matches_it(forge: Forge, now: datetime, prepare: str, others: int) -> None:
    for repository in (None, forge.repository):
        forge.webhook(now=now, events=["push"], repository=repository)
    with connection.cursor() as cursor:
        cursor.execute(ADD_OTHERS, {"repository": forge.repository.pk, "count": others})
        cursor.execute(sql.PREFER_INDEXES.replace("false", "true"))
    pipeline.accept([forge.event(now=now) for _ in range(500)], now=now)
    with connection.cursor() as cursor:
        cursor.execute(prepare)
    before = {table: rows_read(table) for table in ("hookhub_webhook", "hookhub_event", "hookhub_outbox")}

    done = pipeline.fan_out(1, capacity=Capacity(10), now=now)

    read = {table: rows_read(table) - count for table, count in before.items()}
    assert (done.events, done.deliveries, len(done.claims)) == (1, 2, 2)
    assert OutboxEntry.objects.count() == 499
    # Each of the two webhooks is looked up a few times: to match, to see whether it can be sent to, and to lock it.
    assert read["hookhub_webhook"] <= 12, read
    assert read["hookhub_event"] <= 10, read
    assert read["hookhub_outbox"] <= 10, read


def test_only_the_beginning_of_an_incident_writes_an_index(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    counted = (
        "SELECT pg_stat_get_xact_tuples_updated(oid), pg_stat_get_xact_tuples_hot_updated(oid) "
        "FROM pg_class WHERE relname = 'hookhub_webhook'"
    )
    before = sql.run(counted, {})[0]

    for answer in (200, 500, 200, 500, 500):
        forge.receiver.answers["/"] = Answer(answer)
        now += HOUR
        pipeline.accept([forge.event(now=now)], now=now)
        claims = pipeline.fan_out(capacity=Capacity(1), now=now).claims
        pipeline.settle(attempt_all(claims, sender, now=now), now=now)

    updated, in_place = (after - earlier for after, earlier in zip(sql.run(counted, {})[0], before, strict=True))
    assert updated >= 5
    # The first failure puts the webhook among those that maintenance watches, until it has been well for a minute.
    assert in_place == updated - 1
