"""Creates and edits hooks as a client requests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from deliveries.event_types import catalogue
from deliveries.event_types.topics import EVERYTHING
from deliveries.models import Organization, Repository, Webhook
from deliveries.webhooks import changing, creating, lifecycle
from deliveries.webhooks.fields import MAX_EVENTS
from deliveries.webhooks.locking import lock
from hookhub.dialects.social_gateway import hook_config
from hookhub.dialects.social_gateway.errors import ValidationFailed, custom, invalid, missing
from hookhub.dialects.social_gateway.hook_types import CATALOGUE, SERVICES, WEB, Service, format_of
from hookhub.event_types import registry

DEFAULT_EVENTS: Sequence[str] = ("push",)
ALREADY = "Hook already exists on this repository"

Body = Mapping[str, object]


def create(body: Body, *, repository: Repository, now: datetime) -> Webhook:
    """Create a hook, or update the repository's existing hook of a service; raise ValidationFailed or InvalidFields."""
    organization = repository.organization
    service = read_service(body.get("name"))
    if body.get("config") is None:
        raise ValidationFailed(missing("config"))
    slug = format_of(service, organization)
    events = DEFAULT_EVENTS
    if body.get("events") is not None:
        events = read_events(body["events"], "events", organization=organization)
    active = read_active(body.get("active"), default=True)
    configured = None if service is WEB else of_format(repository, slug).first()
    webhook = None
    if configured is None:
        fields = {**hook_config.fields_of(body["config"], wire_format=slug), "events": events, "format": slug}
        webhook = create_once(fields, repository=repository, active=bool(active), now=now)
    if webhook is not None:
        return webhook
    # A concurrent request has just configured the same service.
    configured = configured or of_format(repository, slug).first()
    if service is WEB or configured is None:
        raise ValidationFailed(custom(ALREADY))
    whole = {"config": body["config"], "events": list(events), "active": active}
    return edit(whole, webhook=configured, now=now)


def is_there_already(webhook: Webhook, repository: Repository) -> bool:
    """Return whether the repository has another hook of this service, or one with the same URL and a common event."""
    others = repository.webhooks.kept().exclude(pk=webhook.pk).filter(format=webhook.format)
    if webhook.format in {service.wire_format for service in SERVICES.values()}:
        return others.exists()
    same = others.filter(
        stored_url=webhook.stored_url, content_type=webhook.content_type, verify_ssl=webhook.verify_ssl
    )
    if EVERYTHING not in webhook.events:
        same = same.filter(Q(events__overlap=webhook.events) | Q(events__contains=[EVERYTHING]))
    return any(other.has_url(webhook.url) for other in same)


def create_once(
    fields: Body,
    *,
    repository: Repository,
    active: bool,
    is_there_already: Callable[[Webhook, Repository], bool] = is_there_already,
    now: datetime,
) -> Webhook | None:
    """Create a webhook; if the repository has it already, roll back and return None."""
    # The host in its URL is resolved before the first statement, and so before the transaction really begins.
    with transaction.atomic():
        webhook, _ = creating.create(fields, organization=repository.organization, repository=repository, now=now)
        # A concurrent request waits here, and then sees what the first one has created.
        Repository.objects.select_for_update(no_key=True).get(pk=repository.pk)
        if is_there_already(webhook, repository):
            transaction.set_rollback(True)
            return None
        if not active:
            lifecycle.disable(webhook.pk, now=now)
    return webhook


def edit(body: Body, *, webhook: Webhook, now: datetime) -> Webhook:
    """Change the fields in the body, keep all others, return the webhook; raise ValidationFailed or InvalidFields."""
    active = read_active(body.get("active"), default=None)
    changes = Changes.read(body, webhook=webhook)
    changes.apply_to(webhook.events)
    fields: dict[str, object] = {}
    if body.get("config") is not None:
        fields = hook_config.fields_of(body["config"], wire_format=webhook.format, before=webhook)
    if fields:
        webhook, _ = changing.change(webhook.pk, fields, now=now)
    if changes:
        # Under a lock, so that of two concurrent requests that add an event neither is lost.
        with transaction.atomic():
            webhook = lock(webhook.pk)
            webhook, _ = changing.change(webhook.pk, {"events": changes.apply_to(webhook.events)}, now=now)
    if active is not None and active != webhook.active:
        if active:
            lifecycle.enable(webhook.pk, release_held=False, now=now)
        else:
            lifecycle.disable(webhook.pk, now=now)
    return webhook


def change_config(body: Body, *, webhook: Webhook, now: datetime) -> None:
    """Change only the settings in the body; raise ValidationFailed or InvalidFields."""
    fields = hook_config.fields_of(body, wire_format=webhook.format, before=webhook, is_whole=False)
    if fields:
        changing.change(webhook.pk, fields, now=now)


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes to a list of events: its replacement, additions and removals."""

    instead: Sequence[str] | None
    added: Sequence[str]
    removed: Sequence[str]

    @classmethod
    def read(cls, body: Body, *, webhook: Webhook) -> "Changes":
        """Parse the changes in a body; raise ValidationFailed."""
        lists = {
            name: read_events(body[name], name, organization=webhook.organization, known=webhook.events)
            for name in ("events", "add_events", "remove_events")
            if body.get(name) is not None
        }
        return cls(lists.get("events"), lists.get("add_events", ()), lists.get("remove_events", ()))

    def __bool__(self) -> bool:
        return self.instead is not None or bool(self.added or self.removed)

    def apply_to(self, events: Sequence[str]) -> list[str]:
        """Return the changed list; raise ValidationFailed if it is empty or too long."""
        kept = [*(events if self.instead is None else self.instead), *self.added]
        found = [event for event in dict.fromkeys(kept) if event not in self.removed]
        if not found:
            raise ValidationFailed(invalid("remove_events" if self.removed else "events", "removes every event"))
        if len(found) > MAX_EVENTS:
            raise ValidationFailed(invalid("events", f"must contain at most {MAX_EVENTS} events"))
        return found


def read_service(name: object) -> Service:
    """Return the service with this name, ``web`` if None, as current clients omit it; raise ValidationFailed."""
    if name is None:
        return WEB
    if not isinstance(name, str) or name not in SERVICES:
        raise ValidationFailed(invalid("name", f"must be one of: {', '.join(SERVICES)}"))
    return SERVICES[name]


def read_active(value: object, *, default: bool | None) -> bool | None:
    """Return whether a hook is to be active, or ``default`` if absent; raise ValidationFailed."""
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ValidationFailed(invalid("active", "must be true or false"))
    return value


def read_events(value: object, field: str, *, organization: Organization, known: Sequence[str] = ()) -> Sequence[str]:
    """Return a list of events: this system's, the organization's, `*`, those in ``known``; raise ValidationFailed."""
    if not isinstance(value, list) or len(value) > MAX_EVENTS:
        raise ValidationFailed(invalid(field, f"must be a list of at most {MAX_EVENTS} events"))
    strange = unknown_events(value, organization=organization, known=known)
    if strange:
        raise ValidationFailed(invalid(field, f"{str(strange[0])[:100]!r} is not a known event type"))
    return value


def unknown_events(
    words: Sequence[object], *, organization: Organization, known: Sequence[str] = ()
) -> Sequence[object]:
    """Return those that are not `*`, an event of this system, of the organization or in ``known``."""
    types = catalogue.of(CATALOGUE)
    strange = [word for word in words if not isinstance(word, str) or not (word in known or types.knows(word))]
    if not strange:
        return []
    custom_types = registry.custom(organization)
    return [word for word in strange if not isinstance(word, str) or not custom_types.knows(word)]


def of_format(repository: Repository, wire_format: str) -> "QuerySet[Webhook]":
    """Return the repository's webhooks of a format, oldest first."""
    return Webhook.objects.kept().of_repository(repository).filter(format=wire_format).order_by("pk")
