"""What clients of GitHub's API require before they work."""

import time
from typing import Any

import pytest
from django.test import Client

from deliveries.models import Organization, Repository
from hookhub.models import Scope
from tests.api import Caller, faults
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db

# Every field that GitHub shows of an owner; octocrab's `models::UserProfile` requires all of them.
OCTOCRAB_AUTHOR = {
    "login", "id", "node_id", "avatar_url", "gravatar_id", "url", "html_url", "followers_url", "following_url",
    "gists_url", "starred_url", "subscriptions_url", "organizations_url", "repos_url", "events_url",
    "received_events_url", "type", "site_admin",
}  # fmt: skip
# Required by octocrab's `orgs::Organization`, and absent from users.
OCTOCRAB_ORGANIZATION = {
    "login", "id", "node_id", "url", "repos_url", "events_url", "hooks_url", "issues_url", "members_url",
    "public_members_url", "avatar_url",
}  # fmt: skip
# Required by octocrab's `hooks::Hook` in addition to `config`.
OCTOCRAB_HOOK = {"id", "type", "name", "active", "events", "config", "url", "deliveries_url"}
# hub4j's `GHApiInfo` does not accept a URL as an API without this.
HUB4J_ROOT = {"rate_limit_url"}
# The resources whose limits GitHub's clients read.
HUB4J_RESOURCES = {"core", "search", "graphql", "integration_manifest"}
LEFT = ("limit", "remaining", "used", "reset", "resource")
ROOTS = ("/api/v3", "/api/v3/")
PREFIXES = ("", "/api/v3")


def left_in(answer: Any) -> dict[str, str]:
    """Return the X-RateLimit headers of a response, by the last part of their names."""
    names = {name: f"X-RateLimit-{name.capitalize()}" for name in LEFT}
    return {name: answer.headers[header] for name, header in names.items() if header in answer.headers}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_repository_has_what_octocrab_and_github3_require(api: Caller, repository: Repository, prefix: str) -> None:
    shown = api.get(f"{prefix}/repos/acme/widgets").json()

    assert shown["owner"].keys() >= OCTOCRAB_AUTHOR
    assert shown["archive_url"] == f"http://testserver{prefix}/repos/acme/widgets/{{archive_format}}{{/ref}}"
    assert shown["node_id"] == "MDEwOlJlcG9zaXRvcnk" + shown["node_id"].removeprefix("MDEwOlJlcG9zaXRvcnk")
    assert {name for name in shown if name.endswith("_url")} >= {
        "assignees_url", "clone_url", "compare_url", "contents_url", "git_refs_url", "hooks_url", "issues_url",
        "keys_url", "milestones_url", "notifications_url", "pulls_url", "releases_url", "statuses_url", "trees_url",
    }  # fmt: skip
    # The owner's URL leads to the same account.
    account = api.get(shown["owner"]["url"].removeprefix("http://testserver")).json()
    assert (account["id"], account["login"]) == (shown["owner"]["id"], "acme")


def test_a_hook_has_what_octocrab_requires(api: Caller, repository: Repository, receiver: Receiver) -> None:
    made = api.post("/repos/acme/widgets/hooks", {"config": {"url": receiver.url()}}).json()

    assert made.keys() >= OCTOCRAB_HOOK


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_organization_has_the_addresses_that_only_organizations_have(
    api: Caller, repository: Repository, prefix: str
) -> None:
    there = f"http://testserver{prefix}/orgs/acme"
    shown = api.get(f"{prefix}/orgs/ACME").json()

    assert shown.keys() >= OCTOCRAB_ORGANIZATION
    assert (shown["url"], shown["hooks_url"], shown["type"]) == (there, f"{there}/hooks", "Organization")
    # For unset fields of an organization GitHub uses no null, except in the description.
    assert {name for name, value in shown.items() if value is None} == {"description", "archived_at"}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_owners_address_leads_to_the_full_account_that_github3_reads_there(
    api: Caller, repository: Repository, prefix: str
) -> None:
    owner = api.get(f"{prefix}/repos/acme/widgets").json()["owner"]

    assert owner["url"] == f"http://testserver{prefix}/users/acme"
    account = api.get(owner["url"].removeprefix("http://testserver")).json()
    assert account.items() >= owner.items()
    assert (account["public_repos"], account["bio"], account["name"]) == (0, None, "acme")


@pytest.mark.parametrize("root", ROOTS)
def test_the_root_of_the_api_answers_with_and_without_a_slash(api: Caller, root: str) -> None:
    answer = api.get(root)

    assert (answer.status_code, answer.json().keys() >= HUB4J_ROOT) == (200, True)
    assert answer.json()["rate_limit_url"] == "http://testserver/api/v3/rate_limit"
    refused = Client().get(root)
    assert (refused.status_code, refused.json()) == (401, {"message": "Requires authentication"})


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_key_is_the_account_of_its_organization(api: Caller, operator: Caller, prefix: str) -> None:
    shown = api.get(f"{prefix}/user").json()

    assert (shown["login"], shown["type"], shown.keys() >= OCTOCRAB_AUTHOR) == ("acme", "Organization", True)
    assert operator.get(f"{prefix}/user").json()["login"] == "operator"
    assert Caller("hh_000000000000_" + "a" * 43).get(f"{prefix}/user").status_code == 401


@pytest.mark.parametrize("prefix", PREFIXES)
def test_the_rate_limit_has_githubs_shape(api: Caller, prefix: str) -> None:
    shown = api.get(f"{prefix}/rate_limit").json()

    assert shown["resources"].keys() >= HUB4J_RESOURCES
    assert {"limit", "remaining", "used", "reset"} <= shown["resources"]["core"].keys()
    assert (shown["rate"]["limit"], shown["rate"]["remaining"]) == (6000, 5999)


def test_the_rate_limit_tells_what_is_left_of_the_keys_own(api: Caller, settings: Any) -> None:
    settings.HOOKHUB_REQUESTS_PER_KEY = 10
    for _ in range(3):
        api.get("/user")

    shown = api.get("/rate_limit").json()["rate"]

    # This request counts, too.
    assert (shown["limit"], shown["remaining"], shown["used"]) == (10, 6, 4)


def test_the_rate_limit_without_one_is_never_used_up(api: Caller, settings: Any) -> None:
    settings.HOOKHUB_REQUESTS_PER_KEY = settings.HOOKHUB_REQUESTS_PER_ORGANIZATION = 0

    shown = api.get("/rate_limit").json()["rate"]

    assert (shown["limit"], shown["remaining"], shown["used"]) == (5000, 5000, 0)


@pytest.mark.parametrize("path", ["/user", "/api/v3/rate_limit", "/api/v3", "/repos/acme/nowhere", "/repos/acme/x/y"])
def test_every_answer_says_how_many_requests_are_left(api: Caller, settings: Any, path: str) -> None:
    settings.HOOKHUB_REQUESTS_PER_KEY = 10
    api.get("/user")

    left = left_in(api.get(path))

    assert 0 <= int(left.pop("reset")) - time.time() <= 120
    assert left == {"limit": "10", "remaining": "8", "used": "2", "resource": "core"}


def test_without_a_limit_every_answer_says_that_all_requests_are_left(api: Caller, settings: Any) -> None:
    settings.HOOKHUB_REQUESTS_PER_KEY = settings.HOOKHUB_REQUESTS_PER_ORGANIZATION = 0

    left = left_in(api.get("/user"))

    assert (left["limit"], left["remaining"], left["used"]) == ("5000", "5000", "0")


def test_a_used_up_limit_is_one_to_githubs_clients(api: Caller, settings: Any) -> None:
    settings.HOOKHUB_REQUESTS_PER_KEY = 1
    api.get("/user")

    refused = api.get("/user")

    # go-github's RateLimitError and hub4j's handler read these.
    left = left_in(refused)
    assert (refused.status_code, left["limit"], left["remaining"], left["used"]) == (429, "1", "0", "1")
    assert abs(int(left["reset"]) - time.time() - int(refused.headers["Retry-After"])) <= 5


def test_a_stranger_is_not_told_of_a_limit(db: None) -> None:
    assert left_in(Client().get("/user")) == {}


@pytest.mark.parametrize(("scope", "may"), [(Scope.READ, False), (Scope.MANAGE, True), (Scope.MASTER, True)])
@pytest.mark.parametrize("dialect", ["social-gateway", "coregit"])
def test_a_repositorys_permissions_are_those_of_the_key(
    organization: Organization, repository: Repository, scope: Scope, dialect: str, may: bool
) -> None:
    Organization.objects.update(default_dialect=dialect)
    # In Coregit's dialect only a master key may manage webhooks.
    may = may and (dialect != "coregit" or scope is Scope.MASTER)

    shown = Caller.of(organization, scope).get("/repos/acme/widgets").json()["permissions"]

    assert shown == {"admin": may, "maintain": may, "push": may, "triage": may, "pull": True}


def test_the_command_line_learns_whose_token_it_has(api: Caller) -> None:
    asked = {"query": "query UserCurrent{viewer{login}}"}

    assert api.post("/api/graphql", asked).json() == {"data": {"viewer": {"login": "acme"}}}
    assert api.post("/api/graphql", {"query": "{repository{id}}"}).json()["errors"][0]["type"] == "NOT_IMPLEMENTED"
    assert Client().post("/api/graphql", asked, content_type="application/json").status_code == 401


NOWHERE: list[tuple[str, dict[str, str], Any]] = [
    ("/api/v3/search/code", {}, {"message": "Not Found"}),
    ("/api/v3/x", {}, {"message": "Not Found"}),
    ("/api/graphql/x", {}, {"message": "Not Found"}),
    ("/users/octocat/repos", {}, {"message": "Not Found"}),
    ("/gists", {}, {"message": "Not Found"}),
    ("/anything", {"Accept": "application/vnd.github+json"}, {"message": "Not Found"}),
    ("/api/nothing", {}, {"error": "Not found"}),
]


@pytest.mark.parametrize(("address", "headers", "wanted"), NOWHERE)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_address_that_leads_nowhere_is_answered_in_the_callers_shape(
    db: None, method: str, address: str, headers: dict[str, str], wanted: Any
) -> None:
    answer = Client().generic(method, address, headers=headers)

    assert (answer.status_code, answer.json()) == (404, wanted)


def test_hookhubs_own_addresses_keep_their_own_shape(db: None) -> None:
    headers = {"Accept": "application/vnd.github+json"}

    assert Client().get("/v1/nowhere", headers=headers).json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("caller", ["api", "operator"])
def test_a_path_names_owner_and_repository_in_any_case(
    request: pytest.FixtureRequest, caller: str, repository: Repository, receiver: Receiver
) -> None:
    someone: Caller = request.getfixturevalue(caller)

    shown = someone.get("/repos/ACME/Widgets")

    assert (shown.status_code, shown.json()["full_name"]) == (200, "acme/widgets")
    assert someone.post("/repos/Acme/WIDGETS/hooks", {"config": {"url": receiver.url()}}).status_code == 201
    assert someone.get("/repos/acme/widgets\u212a").status_code == 404


def test_a_name_that_differs_from_another_in_case_only_is_taken(
    api: Caller, operator: Caller, repository: Repository
) -> None:
    Repository.objects.create(organization=repository.organization, name="gadgets")
    refusals = [
        api.post("/v1/repositories", {"name": "Widgets"}),
        api.patch("/v1/repositories/gadgets", {"name": "WIDGETS"}),
        operator.post("/v1/organizations", {"slug": "ACME"}),
    ]

    assert [answer.status_code for answer in refusals] == [409, 409, 409]
    assert faults(refusals[0]) == {"name": "differs from widgets only in case; choose another"}
    assert sorted(Repository.objects.values_list("name", flat=True)) == ["gadgets", "widgets"]
    assert Organization.objects.count() == 1
    # A repository's own name in another case is not a conflict.
    assert api.patch("/v1/repositories/widgets", {"name": "Widgets"}).status_code == 200


def test_another_organizations_repository_is_not_found_in_any_case(other: Caller, repository: Repository) -> None:
    assert [other.get(f"/repos/{owner}/widgets").status_code for owner in ("acme", "ACME")] == [404, 404]
    assert other.get("/orgs/ACME").status_code == 404


def test_a_key_that_may_not_read_sees_no_account(organization: Organization) -> None:
    assert Caller.of(organization, Scope.PUBLISH).get("/users/acme").status_code == 403
