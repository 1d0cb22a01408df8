"""HookHub's objects in the shapes of GitHub's API."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery
from rest_framework.request import Request

from deliveries.formats.base import stamp
from deliveries.models import Attempt, Event, Organization, Repository, Webhook
from hookhub.dialects.social_gateway import hook_config
from hookhub.dialects.social_gateway.delivery_ids import number_of
from hookhub.dialects.social_gateway.hook_types import service_of
from hookhub.http.links import url_of

# The prefix of all paths in GitHub Enterprise.
ENTERPRISE = "/api/v3"

# HookHub serves only a repository's own URL and that of its hooks, but clients require all of these.
TEMPLATES: Mapping[str, str] = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}
COUNTS = (
    "forks", "forks_count", "network_count", "open_issues", "open_issues_count", "size", "stargazers_count",
    "subscribers_count", "watchers", "watchers_count",
)  # fmt: skip
ACCOUNT_COUNTS = ("public_repos", "public_gists", "followers", "following")
FEATURES = ("has_discussions", "has_downloads", "has_issues", "has_pages", "has_projects", "has_wiki")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the client finds a repository: host, port and prefix are those of its request."""

    root: str
    repository: Repository

    @classmethod
    def of(cls, request: Request, repository: Repository) -> "Place":
        """Return the place of the repository that a request is about."""
        return cls(root_of(request), repository)

    @property
    def url(self) -> str:
        """Return the URL of the repository."""
        return f"{self.root}/repos/{self.repository.full_name}"

    def hook(self, webhook: Webhook) -> str:
        """Return the URL of a hook."""
        return f"{self.url}/hooks/{webhook.pk}"


def root_of(request: Request) -> str:
    """Return the URL at which the client called this API, with its prefix and without a trailing slash."""
    prefix = ENTERPRISE if request.path_info.startswith(ENTERPRISE) else ""
    return url_of(f"{prefix}/", request).rstrip("/")


def with_last_attempt(webhooks: "QuerySet[Webhook]") -> "QuerySet[Webhook]":
    """Annotate each webhook with the outcome, status and error of its last attempt."""
    last = Attempt.objects.of_webhook(OuterRef("pk")).order_by("-id")
    return webhooks.annotate(
        last_outcome=Subquery(last.values("outcome")[:1]),
        last_code=Subquery(last.values("status")[:1]),
        last_error=Subquery(last.values("error")[:1]),
    )


def hook(webhook: Webhook, place: Place) -> dict[str, Any]:
    """Return a webhook in the shape of a hook; ``with_last_attempt`` annotates what it needs."""
    there = place.hook(webhook)
    return {
        "type": "Repository",
        "id": webhook.pk,
        "name": service_of(webhook.format).name,
        "active": webhook.active,
        "events": webhook.events,
        "config": hook_config.shown(webhook),
        "updated_at": stamp(webhook.changed_at),
        "created_at": stamp(webhook.created_at),
        "url": there,
        "test_url": f"{there}/test",
        "ping_url": f"{there}/pings",
        "deliveries_url": f"{there}/deliveries",
        "last_response": last_response(webhook),
    }


def last_response(webhook: Webhook) -> dict[str, Any]:
    """Return the result of the last attempt, from the annotations of ``with_last_attempt``; a new webhook has none."""
    outcome = getattr(webhook, "last_outcome", None)
    if outcome is None:
        return {"code": None, "status": "unused", "message": None}
    code, error = getattr(webhook, "last_code", None), getattr(webhook, "last_error", "")
    status = "active" if outcome == Attempt.Outcome.DELIVERED else "failed"
    return {"code": code, "status": status, "message": message(outcome, code, error)}


def message(outcome: str, code: int | None, error: str) -> str:
    """Return how an attempt went, in GitHub's words if it has any."""
    if outcome == Attempt.Outcome.DELIVERED:
        return "OK"
    if code is not None:
        return f"Invalid HTTP Response: {code}"
    return error or Attempt.Outcome(outcome).label


def topics_by_event(attempts: Iterable[Attempt]) -> dict[UUID, list[str]]:
    """Return the topics of some attempts' events by event id, without reading their payloads."""
    ids = {attempt.delivery.event_id for attempt in attempts}
    return dict(Event.objects.filter(id__in=ids).values_list("id", "topics"))


def delivery(attempt: Attempt, *, topics: Iterable[str]) -> dict[str, Any]:
    """Return an attempt in the shape of a GitHub delivery; all attempts for the same event share the guid."""
    of_attempt = attempt.delivery
    family = of_attempt.event_type.partition(".")[0]
    return {
        "id": number_of(attempt.id),
        "guid": str(of_attempt.pk),
        "delivered_at": stamp(attempt.started_at),
        "redelivery": attempt.number > 1,
        "duration": round(attempt.duration.total_seconds(), 3) if attempt.duration is not None else 0.0,
        "status": message(attempt.outcome, attempt.status, attempt.error),
        "status_code": attempt.status or 0,
        "event": family,
        "action": action_of(of_attempt.event_type, topics),
        "installation_id": None,
        "repository_id": of_attempt.repository_id,
        "throttled_at": None,
    }


def action_of(event_type: str, topics: Iterable[str]) -> str | None:
    """Return the action of an event, from its type or else from its topics; None if it has none."""
    family, _, action = event_type.partition(".")
    if action:
        return action
    return next((topic.partition(".")[2] for topic in topics if topic.startswith(f"{family}.")), None)


def repository(found: Repository, place: Place, *, may_manage: bool) -> dict[str, Any]:
    """Return a repository with all fields that GitHub's clients require, though HookHub knows little but its name."""
    created_at = stamp(found.created_at)
    return {
        "id": found.pk,
        "node_id": node_id("Repository", found.pk),
        "name": found.name,
        "full_name": found.full_name,
        "owner": owner(found.organization, place.root),
        "private": found.private,
        "visibility": "private" if found.private else "public",
        "description": None,
        "fork": False,
        "html_url": place.url,
        "url": place.url,
        **{name: f"{place.url}{template}" for name, template in TEMPLATES.items()},
        **dict.fromkeys(("clone_url", "git_url", "ssh_url"), f"{place.url}.git"),
        "svn_url": place.url,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        **dict.fromkeys(COUNTS, 0),
        **dict.fromkeys(FEATURES, False),
        "archived": False,
        "disabled": False,
        "allow_forking": False,
        "is_template": False,
        "web_commit_signoff_required": False,
        "default_branch": "main",
        "topics": [],
        # GitHub requires the permission ``admin`` to manage hooks.
        "permissions": {**dict.fromkeys(("admin", "maintain", "push", "triage"), may_manage), "pull": True},
        "created_at": created_at,
        "updated_at": created_at,
        "pushed_at": created_at,
    }


def owner(organization: Organization, root: str) -> dict[str, Any]:
    """Return an organization in the short shape of a repository's owner."""
    return _simple_account(organization.slug, organization.pk, root, kind="Organization")


def account(organization: Organization, root: str) -> dict[str, Any]:
    """Return an organization in the full shape of an account."""
    made_at = stamp(organization.created_at)
    return {**owner(organization, root), **_profile(organization.name or organization.slug, made_at)}


def organization(found: Organization, root: str) -> dict[str, Any]:
    """Return an organization in the full shape that only organizations have."""
    simple = owner(found, root)
    there = f"{root}/orgs/{found.slug}"
    made_at = stamp(found.created_at)
    return {
        **{name: simple[name] for name in ("login", "id", "node_id", "avatar_url", "html_url", "type")},
        "url": there,
        **{f"{name}_url": f"{there}/{name}" for name in ("repos", "events", "hooks", "issues")},
        "members_url": f"{there}/members{{/member}}",
        "public_members_url": f"{there}/public_members{{/member}}",
        "description": None,
        "name": found.name or found.slug,
        "has_organization_projects": False,
        "has_repository_projects": False,
        **dict.fromkeys(ACCOUNT_COUNTS, 0),
        "created_at": made_at,
        "updated_at": made_at,
        "archived_at": None,
    }


def operator(root: str) -> dict[str, Any]:
    """Return the account of an operator's key, which belongs to no organization."""
    simple = _simple_account("operator", 0, root, kind="User")
    return {**simple, "url": f"{root}/user", **_profile("Operator", "1970-01-01T00:00:00Z")}


def node_id(kind: str, number: int) -> str:
    """Return the node id that GitHub's GraphQL would use for an object, in its older format."""
    return base64.b64encode(f"{len(kind):03}:{kind}{number}".encode()).decode()


def _simple_account(login: str, number: int, root: str, *, kind: str) -> dict[str, Any]:
    there = f"{root}/users/{login}"
    return {
        "login": login,
        "id": number,
        "node_id": node_id(kind, number),
        # A URL, because clients parse it as one; there is no picture.
        "avatar_url": f"{there}.png",
        "gravatar_id": "",
        "url": there,
        "html_url": there,
        "followers_url": f"{there}/followers",
        "following_url": f"{there}/following{{/other_user}}",
        "gists_url": f"{there}/gists{{/gist_id}}",
        "starred_url": f"{there}/starred{{/owner}}{{/repo}}",
        "subscriptions_url": f"{there}/subscriptions",
        "organizations_url": f"{there}/orgs",
        "repos_url": f"{there}/repos",
        "events_url": f"{there}/events{{/privacy}}",
        "received_events_url": f"{there}/received_events",
        "type": kind,
        "site_admin": False,
    }


def _profile(name: str, created_at: str) -> dict[str, Any]:
    """Return the fields that an account has in its full shape only."""
    unknown = ("company", "location", "email", "hireable", "bio", "twitter_username")
    moments = {"created_at": created_at, "updated_at": created_at}
    return {"name": name, "blog": "", **dict.fromkeys(unknown), **dict.fromkeys(ACCOUNT_COUNTS, 0), **moments}
