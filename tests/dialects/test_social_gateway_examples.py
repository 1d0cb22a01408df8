"""Every example of SocialGateway's documentation: the request and the response that it shows, literally."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from freezegun import freeze_time
from pytest_django import Settings

from deliveries.models import Event, Organization, Repository, Webhook
from deliveries.webhooks import creating
from hookhub.models import ApiKey, Scope

pytestmark = pytest.mark.django_db

HOOKS = "/repos/octocat/Hello-World/hooks"
CREATED_AT = datetime(2011, 9, 6, 17, 26, 27, tzinfo=UTC)
UPDATED_AT = datetime(2011, 9, 6, 20, 39, 23, tzinfo=UTC)
# The documentation's examples show only these fields of a hook; the golden exchanges have those that GitHub added
# since.
DOCUMENTED = ("url", "updated_at", "created_at", "name", "events", "active", "config", "id")


class Documented:
    """api.socialgateway.net as documented, with octocat's repository Hello-World."""

    def __init__(self) -> None:
        self.organization = Organization.objects.create(slug="octocat")
        self.repository = Repository.objects.create(organization=self.organization, name="Hello-World")
        self.key = ApiKey.issue(organization=self.organization, scope=Scope.MANAGE, now=CREATED_AT)[1]

    def send(self, method: str, path: str, body: object = None) -> Any:
        return Client().generic(
            method, path, b"" if body is None else json.dumps(body).encode(), "application/json", secure=True,
            headers={"Authorization": f"token {self.key}", "Host": "api.socialgateway.net"},
        )  # fmt: skip

    def hook(self) -> Webhook:
        """Create the hook of the examples, with their times of creation and update."""
        wanted = {
            "url": "http://example.com", "content_type": "json", "events": ["push", "pull_request"],
            "format": "social-gateway", "secret": "",
        }  # fmt: skip
        made, _ = creating.create(wanted, organization=self.organization, repository=self.repository, now=CREATED_AT)
        Webhook.objects.filter(pk=made.pk).update(changed_at=UPDATED_AT)
        return made


@pytest.fixture
def documented(db: None, settings: Settings) -> Documented:
    # The documentation's own host, and more hooks with the same URL than the limits allow.
    settings.ALLOWED_HOSTS = ["api.socialgateway.net"]
    settings.HOOKHUB_WEBHOOKS_PER_URL = 0
    return Documented()


def example(number: int, *, updated_at: datetime = UPDATED_AT, created_at: datetime = CREATED_AT) -> dict[str, Any]:
    """Return the response that the documentation shows."""
    return {
        "url": f"https://api.socialgateway.net/repos/octocat/Hello-World/hooks/{number}",
        "updated_at": f"{updated_at:%Y-%m-%dT%H:%M:%SZ}",
        "created_at": f"{created_at:%Y-%m-%dT%H:%M:%SZ}",
        "name": "web",
        "events": ["push", "pull_request"],
        "active": True,
        # GitHub has since added the default of insecure_ssl to its responses.
        "config": {"url": "http://example.com/", "content_type": "json", "insecure_ssl": "0"},
        "id": number,
    }


def shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in DOCUMENTED}


def test_list_hooks(documented: Documented) -> None:
    made = [documented.hook().pk for _ in range(121)]

    answer = documented.send("GET", HOOKS)

    assert answer.status_code == 200
    assert answer.headers["Link"] == (
        f'<https://api.socialgateway.net{HOOKS}?page=2>; rel="next", '
        f'<https://api.socialgateway.net{HOOKS}?page=5>; rel="last"'
    )
    assert [shown(row) for row in answer.json()] == [example(number) for number in made[:30]]


def test_get_single_hook(documented: Documented) -> None:
    number = documented.hook().pk

    answer = documented.send("GET", f"{HOOKS}/{number}")

    assert (answer.status_code, shown(answer.json())) == (200, example(number))


def test_create_a_hook(documented: Documented) -> None:
    wanted = {
        "name": "web", "active": True, "events": ["push", "pull_request"],
        "config": {"url": "http://example.com/webhook", "content_type": "json"},
    }  # fmt: skip

    with freeze_time(CREATED_AT):
        answer = documented.send("POST", HOOKS, wanted)

    row = example(Webhook.objects.get().pk, updated_at=CREATED_AT)
    row["config"]["url"] = "http://example.com/webhook"
    assert (answer.status_code, shown(answer.json())) == (201, row)
    assert answer.headers["Location"] == row["url"]


def test_edit_a_hook(documented: Documented) -> None:
    hook = documented.hook()
    Webhook.objects.update(events=["push"])

    with freeze_time(UPDATED_AT):
        answer = documented.send("PATCH", f"{HOOKS}/{hook.pk}", {"active": True, "add_events": ["pull_request"]})

    assert (answer.status_code, shown(answer.json())) == (200, example(hook.pk))


@pytest.mark.parametrize("word", ["tests", "test"])
def test_test_a_push_hook(documented: Documented, word: str) -> None:
    hook = documented.hook()

    answer = documented.send("POST", f"{HOOKS}/{hook.pk}/{word}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert [(event.type, event.webhook_id) for event in Event.objects.all()] == [("push", hook.pk)]


def test_a_hook_that_is_not_subscribed_to_push_is_not_tested(documented: Documented) -> None:
    hook = documented.hook()
    Webhook.objects.update(events=["issues"])

    answer = documented.send("POST", f"{HOOKS}/{hook.pk}/tests")

    assert (answer.status_code, answer.content, Event.objects.count()) == (204, b"", 0)


def test_ping_a_hook(documented: Documented) -> None:
    hook = documented.hook()

    answer = documented.send("POST", f"{HOOKS}/{hook.pk}/pings")

    assert (answer.status_code, answer.content) == (204, b"")
    assert [(event.type, event.webhook_id) for event in Event.objects.all()] == [("ping", hook.pk)]


def test_delete_a_hook(documented: Documented) -> None:
    hook = documented.hook()

    answer = documented.send("DELETE", f"{HOOKS}/{hook.pk}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert not Webhook.objects.kept().exists()
    assert documented.send("GET", f"{HOOKS}/{hook.pk}").status_code == 404


@pytest.mark.parametrize("value", [True, "1", 1])
def test_booleans_are_stored_as_one_and_zero(documented: Documented, value: object) -> None:
    config = {"url": "https://example.com/", "insecure_ssl": value}

    first = documented.send("POST", HOOKS, {"name": "web", "config": config}).json()
    second = documented.send("PATCH", f"{HOOKS}/{first['id']}", {"config": {**config, "insecure_ssl": False}}).json()

    assert (first["config"]["insecure_ssl"], second["config"]["insecure_ssl"]) == ("1", "0")
    assert Webhook.objects.get().verify_ssl is True


def test_defaults(documented: Documented) -> None:
    row = documented.send("POST", HOOKS, {"name": "web", "config": {"url": "https://example.com/"}}).json()

    assert (row["events"], row["active"], row["config"]) == (
        ["push"], True, {"url": "https://example.com/", "content_type": "form", "insecure_ssl": "0"},
    )  # fmt: skip


def test_a_service_has_at_most_one_configuration(documented: Documented) -> None:
    first = documented.send(
        "POST", HOOKS, {"name": "slack", "config": {"url": "https://hooks.slack.com/services/T0/B0/one"}}
    )
    second = documented.send(
        "POST", HOOKS,
        {"name": "slack", "config": {"url": "https://hooks.slack.com/services/T0/B0/two"}, "events": ["issues"]},
    )  # fmt: skip
    web = [documented.send("POST", HOOKS, {"name": "web", "config": {"url": f"https://example.com/{n}"}}) for n in "ab"]

    assert (first.status_code, second.status_code, second.json()["id"]) == (201, 201, first.json()["id"])
    assert len({answer.json()["id"] for answer in web}) == 2
    slack = Webhook.objects.get(format="slack")
    assert (slack.url, slack.events) == ("https://hooks.slack.com/services/T0/B0/two", ["issues"])
    assert second.json()["config"]["url"] == "https://hooks.slack.com/********"


def test_the_pages_of_a_list_lead_to_each_other(documented: Documented) -> None:
    for number in range(7):
        Webhook.objects.filter(pk=documented.hook().pk).update(stored_url=f"http://example.com/{number}")

    def rels(query: str) -> list[str]:
        link = documented.send("GET", f"{HOOKS}?{query}").headers.get("Link", "")
        return [part.replace(f"https://api.socialgateway.net{HOOKS}", "") for part in link.split(", ") if part]

    assert rels("per_page=3&page=2") == [
        '<?per_page=3&page=1>; rel="prev"', '<?per_page=3&page=3>; rel="next"', '<?per_page=3&page=3>; rel="last"',
        '<?per_page=3&page=1>; rel="first"',
    ]  # fmt: skip
    assert rels("per_page=3&page=3") == ['<?per_page=3&page=2>; rel="prev"', '<?per_page=3&page=1>; rel="first"']
    assert rels("per_page=100") == []
    assert rels("per_page=3&page=9") == ['<?per_page=3&page=3>; rel="prev"', '<?per_page=3&page=1>; rel="first"']
    assert documented.send("GET", f"{HOOKS}?per_page=3&page=9").json() == []


def test_a_page_has_at_most_a_hundred(documented: Documented) -> None:
    for _ in range(101):
        documented.hook()

    assert len(documented.send("GET", f"{HOOKS}?per_page=1000").json()) == 100
    assert len(documented.send("GET", f"{HOOKS}?per_page=0").json()) == 30


def test_times_are_written_to_the_second(documented: Documented) -> None:
    hook = documented.hook()
    Webhook.objects.update(created_at=CREATED_AT + timedelta(microseconds=999_999))

    assert documented.send("GET", f"{HOOKS}/{hook.pk}").json()["created_at"] == "2011-09-06T17:26:27Z"
