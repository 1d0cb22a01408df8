"""How HookHub's nouns look to GitHub's clients."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery
from rest_framework.request import Request

from deliveries.formats.base import stamp
from deliveries.models import Attempt, Event, Organization, Repository, Webhook
from hookhub.dialects.social_gateway import config
from hookhub.dialects.social_gateway.numbers import number_of
from hookhub.dialects.social_gateway.services import service_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where a repository is found, as the client called it: host, port and prefix are those of the request."""

    root: str
    repository: Repository

    @classmethod
    def of(cls, request: Request, repository: Repository) -> "Place":
        """Give the place of a repository that a request was made about."""
        prefix = request.path.partition("/repos/")[0]
        return cls(request.build_absolute_uri(prefix or "/").rstrip("/"), repository)

    @property
    def url(self) -> str:
        """Give the repository's address."""
        return f"{self.root}/repos/{self.repository.full_name}"

    def hook(self, webhook: Webhook) -> str:
        """Give a hook's address."""
        return f"{self.url}/hooks/{webhook.pk}"


def with_last_attempt(webhooks: "QuerySet[Webhook]") -> "QuerySet[Webhook]":
    """Have each webhook bring the outcome of its last attempt along."""
    last = Attempt.objects.filter(webhook=OuterRef("pk")).order_by("-id")
    return webhooks.annotate(
        last_outcome=Subquery(last.values("outcome")[:1]),
        last_code=Subquery(last.values("status")[:1]),
        last_error=Subquery(last.values("error")[:1]),
    )


def hook(webhook: Webhook, place: Place) -> dict[str, Any]:
    """Show a webhook, which brings its last attempt along."""
    there = place.hook(webhook)
    return {
        "type": "Repository",
        "id": webhook.pk,
        "name": service_of(webhook.format).name,
        "active": webhook.active,
        "events": webhook.events,
        "config": config.shown(webhook),
        "updated_at": stamp(webhook.changed_at),
        "created_at": stamp(webhook.created_at),
        "url": there,
        "test_url": f"{there}/test",
        "ping_url": f"{there}/pings",
        "deliveries_url": f"{there}/deliveries",
        "last_response": last_response(webhook),
    }


def last_response(webhook: Webhook) -> dict[str, Any]:
    """Tell how the last attempt went, with the annotations of ``with_last_attempt``; a new webhook has none."""
    outcome = getattr(webhook, "last_outcome", None)
    if outcome is None:
        return {"code": None, "status": "unused", "message": None}
    code, error = getattr(webhook, "last_code", None), getattr(webhook, "last_error", "")
    status = "active" if outcome == Attempt.Outcome.DELIVERED else "failed"
    return {"code": code, "status": status, "message": message(outcome, code, error)}


def message(outcome: str, code: int | None, error: str) -> str:
    """Say how an attempt went, in GitHub's words where it has any."""
    if outcome == Attempt.Outcome.DELIVERED:
        return "OK"
    if code is not None:
        return f"Invalid HTTP Response: {code}"
    return error or Attempt.Outcome(outcome).label


def topics_by_event(attempts: Iterable[Attempt]) -> dict[UUID, list[str]]:
    """Give the topics of the events behind some attempts, without their payloads."""
    ids = {attempt.delivery.event_id for attempt in attempts}
    return dict(Event.objects.filter(id__in=ids).values_list("id", "topics"))


def delivery(attempt: Attempt, *, topics: Iterable[str]) -> dict[str, Any]:
    """Show one attempt: GitHub calls each a delivery, and those for the same event share the guid."""
    owed = attempt.delivery
    family = owed.event_type.partition(".")[0]
    return {
        "id": number_of(attempt.id),
        "guid": str(owed.pk),
        "delivered_at": stamp(attempt.started_at),
        "redelivery": attempt.number > 1,
        "duration": round(attempt.duration.total_seconds(), 3) if attempt.duration is not None else 0.0,
        "status": message(attempt.outcome, attempt.status, attempt.error),
        "status_code": attempt.status or 0,
        "event": family,
        "action": action_of(owed.event_type, topics),
        "installation_id": None,
        "repository_id": owed.repository_id,
        "throttled_at": None,
    }


def action_of(event_type: str, topics: Iterable[str]) -> str | None:
    """Give what happened to whatever the event is about, whichever way it was published."""
    family, _, action = event_type.partition(".")
    if action:
        return action
    return next((topic.partition(".")[2] for topic in topics if topic.startswith(f"{family}.")), None)


def repository(found: Repository, place: Place) -> dict[str, Any]:
    """Show a repository, of which HookHub knows little more than the name."""
    return {
        "id": found.pk,
        "name": found.name,
        "full_name": found.full_name,
        "owner": owner(found.organization, place),
        "private": found.private,
        "description": None,
        "fork": False,
        "html_url": place.url,
        "url": place.url,
        "hooks_url": f"{place.url}/hooks",
        "created_at": stamp(found.created_at),
    }


def owner(organization: Organization, place: Place) -> dict[str, Any]:
    """Show an organization as the owner of a repository."""
    return {
        "login": organization.slug,
        "id": organization.pk,
        "type": "Organization",
        "url": f"{place.root}/orgs/{organization.slug}",
    }
