"""Limits of rates and counts: which callers are rejected, for how long, and that others are not affected."""

import json
import threading
from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings
from redis import Redis
from redis.exceptions import ConnectionError as NoRedis
from redis.exceptions import TimeoutError as TooLate

from deliveries import rates
from deliveries.models import Event, Organization, Repository, Webhook
from deliveries.rates import Counters, Policy, TooMany
from deliveries.webhooks import changing, creating, lifecycle
from deliveries.webhooks.fields import InvalidFields
from hookhub.models import Scope
from tests.api import Caller, faults
from tests.story import ReadOnly

EVENT = {"type": "push", "data": 1}
NOON = 1_772_625_600.0
MINUTELY = Policy("test")


@pytest.fixture
def redis(settings: Settings) -> Any:
    with Redis.from_url(settings.REDIS_URL) as client:
        yield client
        for key in client.scan_iter("test-rates*"):
            client.delete(key)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start with empty counters."""
    monkeypatch.setattr(rates, "_counters", None)


def a_process(redis: Any) -> Counters:
    return Counters(lambda: redis, prefix="test-rates", in_background=False)


# Counting ------------------------------------------------------------------------------------------------------------


def test_two_processes_know_of_each_other_once_they_have_told_redis(redis: Any) -> None:
    one, two = a_process(redis), a_process(redis)
    one.spend(MINUTELY, "x", 7, now=NOON)
    two.spend(MINUTELY, "x", 2, now=NOON)
    assert (
        one.look(MINUTELY, "x", quota=10, now=NOON).remaining,
        two.look(MINUTELY, "x", quota=10, now=NOON).remaining,
    ) == (3, 8)

    assert one.sync()
    assert two.sync()

    assert two.look(MINUTELY, "x", quota=10, now=NOON).remaining == 1
    assert one.look(MINUTELY, "x", quota=10, now=NOON).remaining == 3
    one.spend(MINUTELY, "x", now=NOON)
    assert one.sync()
    assert one.look(MINUTELY, "x", quota=10, now=NOON).remaining == 0


def test_what_was_used_slides_out_of_the_next_window(redis: Any) -> None:
    process = a_process(redis)
    process.spend(MINUTELY, "x", 10, now=NOON)

    remaining = [
        process.look(MINUTELY, "x", quota=10, now=NOON + second).remaining for second in (0, 59, 60, 90, 119, 120, 600)
    ]

    assert remaining == [0, 0, 0, 5, 9, 10, 10]


@pytest.mark.parametrize(("used", "second"), [(10, 0), (10, 30), (25, 59), (10, 61), (13, 75), (1000, 5)])
def test_after_the_time_that_a_refusal_names_there_is_room(redis: Any, used: int, second: int) -> None:
    process = a_process(redis)
    process.spend(MINUTELY, "x", used, now=NOON)
    refused = process.look(MINUTELY, "x", quota=10, now=NOON + second)

    too_early = process.look(MINUTELY, "x", quota=10, now=NOON + second + refused.reset - 2)
    in_time = process.look(MINUTELY, "x", quota=10, now=NOON + second + refused.reset)

    assert (refused.remaining, too_early.remaining) == (0, 0)
    assert in_time.remaining >= 1


def test_without_redis_a_process_counts_for_itself_and_tells_redis_later(redis: Any) -> None:
    links: list[Any] = []

    def connect() -> Any:
        if not links:
            raise NoRedis("away")
        return links[0]

    process = Counters(connect, prefix="test-rates", in_background=False)
    process.spend(MINUTELY, "x", 4, now=NOON)
    assert not process.sync()
    process.spend(MINUTELY, "x", 4, now=NOON)
    assert process.look(MINUTELY, "x", quota=10, now=NOON).remaining == 2

    links.append(redis)
    assert process.sync()
    assert redis.hvals(f"test-rates:rate:test:x:{int(NOON // 60)}") == [b"8"]


class LateRedis:
    """Executes commands, but answers the first few times only after the client's timeout."""

    def __init__(self, redis: Any, *, late: int) -> None:
        self.redis = redis
        self.late = late

    def pipeline(self, **options: Any) -> Any:
        pipe = self.redis.pipeline(**options)
        execute = pipe.execute

        def execute_late() -> Any:
            answers = execute()
            self.late -= 1
            if self.late >= 0:
                raise TooLate("Timeout reading from socket")
            return answers

        pipe.execute = execute_late
        return pipe


def test_what_a_slow_redis_is_told_again_counts_once(redis: Any) -> None:
    slow, other = a_process(LateRedis(redis, late=3)), a_process(redis)
    slow.spend(MINUTELY, "x", 4, now=NOON)

    assert [slow.sync() for _ in range(4)] == [False, False, False, True]

    other.spend(MINUTELY, "x", now=NOON)
    assert other.sync()
    assert slow.look(MINUTELY, "x", quota=10, now=NOON).remaining == 6
    assert other.look(MINUTELY, "x", quota=10, now=NOON).remaining == 5


def test_many_subjects_are_told_a_thousand_at_a_time(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MAX_SUBJECTS_IN_A_SYNC", 2)
    process = a_process(redis)
    for subject in "abc":
        process.spend(MINUTELY, subject, now=NOON)

    found = []
    for _ in range(2):
        assert process.sync()
        found.append(len(list(redis.scan_iter("test-rates:*"))))

    assert found == [2, 3]


def test_strangers_do_not_fill_the_memory(redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MAX_SUBJECTS", 3)
    process = a_process(redis)
    for subject in "abcd":
        process.spend(MINUTELY, subject, 5, now=NOON)

    assert [process.look(MINUTELY, subject, quota=10, now=NOON).remaining for subject in "abcd"] == [10, 5, 5, 5]


# Requests and events -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("setting", ["HOOKHUB_EVENTS_PER_KEY", "HOOKHUB_EVENTS_PER_ORGANIZATION"])
@pytest.mark.parametrize("accept", ["*/*", "application/json;q=1"], ids=["the fast path", "the long path"])
def test_events_beyond_the_limit_are_refused_and_a_batch_counts_each(
    organization: Organization, other: Caller, settings: Settings, setting: str, accept: str
) -> None:
    setattr(settings, setting, 3)
    publisher = Caller.of(organization, Scope.PUBLISH, accept=accept)

    answers = [publisher.post("/v1/events", body) for body in (EVENT, [EVENT, EVENT], EVENT)]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    policy = "events-of-key" if setting.endswith("KEY") else "events-of-organization"
    assert f'"{policy}";q=3;w=60' in answers[0].headers["RateLimit-Policy"]
    assert f'"{policy}";r=2;t=' in answers[0].headers["RateLimit"]
    refused = answers[2]
    assert (refused.json()["error"]["code"], refused.headers["RateLimit-Policy"]) == (
        "throttled",
        f'"{policy}";q=3;w=60',
    )
    assert refused.headers["RateLimit"] == f'"{policy}";r=0;t={refused.headers["Retry-After"]}'
    assert 1 <= int(refused.headers["Retry-After"]) <= 120
    assert Event.objects.count() == 3
    assert other.post("/v1/events", EVENT).status_code == 202


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("HOOKHUB_REQUESTS_PER_KEY", "/v1/webhooks"),
        ("HOOKHUB_REQUESTS_PER_ORGANIZATION", "/v1/webhooks"),
        ("HOOKHUB_REQUESTS_PER_KEY", "/repos/acme/widgets/hooks"),
        ("HOOKHUB_REQUESTS_PER_KEY", "/api/repositories/acme/widgets/webhooks"),
    ],
)
def test_requests_beyond_the_limit_are_refused_in_every_systems_own_shape(
    api: Caller, other: Caller, repository: Repository, settings: Settings, setting: str, address: str
) -> None:
    setattr(settings, setting, 2)

    answers = [api.get(address) for _ in range(3)]

    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    assert (answers[2].status_code, "Retry-After" in answers[2].headers) == (429, True)
    assert ";r=1;t=" in answers[0].headers["RateLimit"]
    assert other.get("/v1/webhooks").status_code == 200


@pytest.mark.django_db
def test_an_address_has_a_limit_that_published_events_do_not_use_up(
    organization: Organization, settings: Settings, fresh: None
) -> None:
    settings.HOOKHUB_REQUESTS_PER_ADDRESS = 3
    publisher = Caller.of(organization, Scope.PUBLISH, accept="*/*")
    stranger = {"Authorization": "Bearer hh_000000000000_wrong-wrong-wrong-wrong"}
    from_there = Client(REMOTE_ADDR="192.0.2.77")

    published = [publisher.client.post("/v1/events", json.dumps(EVENT), "application/json", headers=publisher.headers,
                                       REMOTE_ADDR="192.0.2.77").status_code for _ in range(5)]  # fmt: skip
    tried = [from_there.get("/v1/webhooks", headers=stranger).status_code for _ in range(5)]

    assert (published, tried) == ([202] * 5, [401, 401, 401, 429, 429])
    assert Client(REMOTE_ADDR="192.0.2.78").get("/v1/webhooks", headers=stranger).status_code == 401
    assert from_there.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_the_operator_gives_an_organization_limits_of_its_own(
    organization: Organization, api: Caller, operator: Caller, settings: Settings
) -> None:
    settings.HOOKHUB_REQUESTS_PER_ORGANIZATION = 1000
    limits = {"events_per_minute": 1, "webhooks": 0}

    assert api.patch("/v1/organizations/acme", {"limits": None}).status_code == 403
    assert operator.patch("/v1/organizations/acme", {"limits": {"events": 1}}).status_code == 422
    assert operator.patch("/v1/organizations/acme", {"limits": {"webhooks": -1}}).status_code == 422
    assert operator.patch("/v1/organizations/acme", {"limits": limits}).status_code == 200

    assert api.get("/v1/organizations/acme").json()["limits"] == limits
    assert [api.post("/v1/events", EVENT).status_code for _ in range(2)] == [202, 429]


@pytest.mark.django_db
def test_a_request_that_one_limit_refuses_uses_up_no_other(
    organization: Organization, api: Caller, operator: Caller, settings: Settings
) -> None:
    settings.HOOKHUB_REQUESTS_PER_KEY, settings.HOOKHUB_REQUESTS_PER_ORGANIZATION = 3, 1

    refused = [api.get("/v1/webhooks").status_code for _ in range(4)]
    settings.HOOKHUB_REQUESTS_PER_ORGANIZATION = 100

    assert refused == [200, 429, 429, 429]
    assert [api.get("/v1/webhooks").status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.django_db
@pytest.mark.parametrize("accept", ["*/*", "application/json;q=1"], ids=["the fast path", "the long path"])
def test_events_that_are_not_stored_do_not_count(organization: Organization, settings: Settings, accept: str) -> None:
    settings.HOOKHUB_EVENTS_PER_KEY = 3
    publisher = Caller.of(organization, Scope.PUBLISH, accept=accept)
    keyed = {**EVENT, "id": "one"}

    assert publisher.post("/v1/events", keyed).status_code == 202
    assert [publisher.post("/v1/events", {**keyed, "data": 2}).status_code for _ in range(5)] == [409] * 5

    assert [publisher.post("/v1/events", EVENT).status_code for _ in range(3)] == [202, 202, 429]


@pytest.mark.django_db(transaction=True)
def test_who_publishes_while_the_database_is_away_is_not_refused_when_it_is_back(
    organization: Organization, settings: Settings, read_only: ReadOnly, fresh: None
) -> None:
    settings.HOOKHUB_REQUESTS_PER_ADDRESS, settings.HOOKHUB_EVENTS_PER_KEY = 3, 3
    publisher = Caller.of(organization, Scope.PUBLISH)

    read_only.on()
    meanwhile = [publisher.post("/v1/events", EVENT).status_code for _ in range(5)]
    read_only.off()
    connection.close()

    assert meanwhile == [503] * 5
    assert publisher.post("/v1/events", EVENT).status_code == 202
    assert Event.objects.count() == 1


# Webhooks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def make(organization: Organization, now: datetime) -> Any:
    def make_one(url: str = "http://127.0.0.1:9999/", **where: Any) -> Webhook:
        wanted = {"url": url, "events": ["*"]}
        return creating.create(wanted, **{"organization": organization, "repository": None, "now": now, **where})[0]

    return make_one


@pytest.mark.django_db
def test_an_organization_has_so_many_webhooks_and_no_more(make: Any, settings: Settings, now: datetime) -> None:
    settings.HOOKHUB_WEBHOOKS_PER_ORGANIZATION = 2
    first = make()
    make()

    with pytest.raises(InvalidFields, match="organization: has reached its limit of 2 webhooks"):
        make()

    lifecycle.delete(first.pk, now=now)
    make()
    make(organization=Organization.objects.create(slug="other"))


@pytest.mark.django_db
def test_a_url_has_so_many_webhooks_in_each_scope(
    make: Any, settings: Settings, repository: Repository, now: datetime
) -> None:
    settings.HOOKHUB_WEBHOOKS_PER_URL = 1
    make()
    moving = make("http://127.0.0.1:9999/other")

    with pytest.raises(InvalidFields, match="limit reached: the organization already has 1 webhook with this URL"):
        make()
    with pytest.raises(InvalidFields, match="already has 1 webhook with this URL"):
        changing.change(moving.pk, {"url": "http://127.0.0.1:9999/"}, now=now)

    make(repository=repository)
    changing.change(moving.pk, {"url": "http://127.0.0.1:9999/other", "name": "as it was"}, now=now)
    assert Webhook.objects.get(pk=moving.pk).url == "http://127.0.0.1:9999/other"


@pytest.mark.django_db
def test_a_host_has_so_many_webhooks_over_all_organizations(make: Any, settings: Settings) -> None:
    settings.HOOKHUB_WEBHOOKS_PER_HOST = 2
    make("http://127.0.0.1:9999/a")
    make("https://127.0.0.1:8443?b", organization=Organization.objects.create(slug="other"))

    with pytest.raises(InvalidFields, match="this host has 2 webhooks of all organizations"):
        make("http://127.0.0.1:9998/c", organization=Organization.objects.create(slug="third"))

    make("http://[::1]:9999/")
    make("http://127.0.0.2:9999/")


@pytest.mark.django_db
def test_webhooks_are_made_and_moved_so_fast_and_no_faster(
    make: Any, api: Caller, other: Caller, settings: Settings, now: datetime
) -> None:
    settings.HOOKHUB_WEBHOOK_CHANGES = 2
    webhook = make()
    changing.change(webhook.pk, {"name": "no new URL"}, now=now)
    changing.change(webhook.pk, {"url": "http://127.0.0.1:9999/x"}, now=now)

    with pytest.raises(TooMany):
        changing.change(webhook.pk, {"url": "http://127.0.0.1:9999/y"}, now=now)
    refused = api.post("/v1/webhooks", {"url": "http://127.0.0.1:9999/", "events": ["*"]})

    assert (refused.status_code, refused.headers["RateLimit-Policy"]) == (429, '"webhook-changes";q=2;w=60')
    assert [each.url for each in Webhook.objects.all()] == ["http://127.0.0.1:9999/x"]
    assert other.post("/v1/webhooks", {"url": "http://127.0.0.1:9999/", "events": ["*"]}).status_code == 201


@pytest.mark.django_db
def test_what_is_too_much_names_the_field(api: Caller, settings: Settings) -> None:
    settings.HOOKHUB_WEBHOOKS_PER_ORGANIZATION = 1
    wanted = {"url": "http://127.0.0.1:9999/", "events": ["*"]}

    answers = [api.post("/v1/webhooks", wanted) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 422]
    assert list(faults(answers[1])) == ["organization"]


def test_a_process_tells_redis_by_itself(redis: Any) -> None:
    told = threading.Event()

    def connect() -> Any:
        told.set()
        return redis

    Counters(connect, prefix="test-rates").spend(MINUTELY, "by-itself", now=NOON)

    assert told.wait(30)
