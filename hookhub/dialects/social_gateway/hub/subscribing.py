"""Subscribes and unsubscribes in GitHub's way: what the hub changes is a hook like any other."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import transaction

from deliveries.db.lookups import find_one
from deliveries.formats import FORMATS
from deliveries.models import Repository, Webhook
from deliveries.webhooks import changing, lifecycle
from deliveries.webhooks.fields import InvalidFields
from hookhub.dialects.social_gateway import hook_changes, hook_config
from hookhub.dialects.social_gateway.errors import InvalidEvent, ValidationFailed, invalid
from hookhub.dialects.social_gateway.hook_changes import Changes
from hookhub.dialects.social_gateway.hook_types import WEB, WEB_FORMATS, format_of
from hookhub.dialects.social_gateway.hub.requests import CALLBACK, SECRET, TOPIC, Callback, HubRequest

# The hub's names of a hook's fields.
FIELDS = {"url": CALLBACK, "headers": CALLBACK, "secret": SECRET, "events": TOPIC}


def subscribe(asked: HubRequest, *, repository: Repository, now: datetime) -> Webhook:
    """Create the hook for a callback, or change it and add the event; raise ValidationFailed or InvalidEvent.

    Payload form and secret become those of the request, and the hook is active.
    """
    event = asked.topic.event
    with in_the_hubs_terms(asked.callback):
        # A concurrent request may create, move or delete the hook between the query and the lock.
        while True:
            found = hooks_of(asked.callback, repository)
            require_known(event, repository=repository, found=found)
            if found:
                subscribed = [webhook for webhook in found if event in webhook.events]
                webhook = _change((subscribed or found)[0], asked, now=now)
            else:
                webhook = _create(asked, repository=repository, now=now)
            if webhook is not None:
                return webhook


def unsubscribe(asked: HubRequest, *, repository: Repository, now: datetime) -> None:
    """Remove the event from the callback's hook, and the hook with its last one; do nothing if it is not there.

    Raise InvalidEvent if the event is unknown.
    """
    event = asked.topic.event
    found = hooks_of(asked.callback, repository)
    require_known(event, repository=repository, found=found)
    with in_the_hubs_terms(asked.callback):
        for webhook in found:
            with transaction.atomic():
                locked = _lock(webhook, asked.callback)
                if locked is None or event not in locked.events:
                    continue
                if rest := [each for each in locked.events if each != event]:
                    changing.change(locked.pk, {"events": rest}, now=now)
                else:
                    lifecycle.delete(locked.pk, now=now)


def hooks_of(callback: Callback, repository: Repository) -> list[Webhook]:
    """Return the repository's hooks that lead to a callback, oldest first.

    A service has at most one hook in a repository, whatever its settings. A URL may have several, which were created
    elsewhere.
    """
    kept = Webhook.objects.kept().of_repository(repository).order_by("pk")
    if callback.service is not WEB:
        return list(kept.filter(format=callback.service.wire_format))
    shown = {FORMATS[slug].show_url(callback.url) for slug in WEB_FORMATS}
    same = kept.filter(format__in=WEB_FORMATS, stored_url__in=shown)
    return [webhook for webhook in same if leads_to(callback, webhook)]


def leads_to(callback: Callback, webhook: Webhook) -> bool:
    """Return whether a webhook is the hook of a callback."""
    if callback.service is not WEB:
        return webhook.format == callback.service.wire_format
    return webhook.format in WEB_FORMATS and webhook.has_url(callback.url)


def require_known(event: str, *, repository: Repository, found: list[Webhook]) -> None:
    """Raise InvalidEvent unless the event is known, or one of those that the hooks subscribe to already."""
    known = [each for webhook in found for each in webhook.events]
    if hook_changes.unknown_events([event], organization=repository.organization, known=known):
        raise InvalidEvent(event)


def _create(asked: HubRequest, *, repository: Repository, now: datetime) -> Webhook | None:
    """Create the callback's hook; return None if a concurrent request has done so."""
    callback = asked.callback
    slug = format_of(callback.service, repository.organization)
    fields = hook_config.fields_of(_config(asked), wire_format=slug)
    fields |= {"events": [asked.topic.event], "format": slug}

    def is_there_already(webhook: Webhook, repository: Repository) -> bool:
        return any(other.pk != webhook.pk for other in hooks_of(callback, repository))

    try:
        return hook_changes.create_once(
            fields, repository=repository, active=True, is_there_already=is_there_already, now=now
        )
    except InvalidFields:
        # With the hook that a concurrent request has created, a limit may be reached; that hook is to be changed.
        if not hooks_of(callback, repository):
            raise
        return None


def _change(webhook: Webhook, asked: HubRequest, *, now: datetime) -> Webhook | None:
    """Change a hook as requested; return None if it no longer leads to the callback."""
    addition = Changes(None, [asked.topic.event], [])
    # Refuses one event too many before anything is changed.
    addition.apply_to(webhook.events)
    is_service = asked.callback.service is not WEB
    if is_service:
        settings = hook_config.fields_of(_config(asked), wire_format=webhook.format, before=webhook)
        try:
            # Not in the transaction below, because the host of a new URL is resolved.
            changing.change(webhook.pk, settings, now=now)
        except Webhook.DoesNotExist:
            return None
    with transaction.atomic():
        locked = _lock(webhook, asked.callback)
        if locked is None:
            return None
        fields: dict[str, object] = {}
        if not is_service:
            fields = hook_config.fields_of(
                _config(asked), wire_format=locked.format, before=locked, is_whole=False
            )  # fmt: skip
            del fields["url"]
        fields["events"] = addition.apply_to(locked.events)
        return changing.change(locked.pk, fields, active=True, now=now)[0]


def _config(asked: HubRequest) -> dict[str, object]:
    """Return the config of the hook that a request describes; the hub has no word for ``insecure_ssl``."""
    if asked.callback.service is not WEB:
        return dict(asked.callback.settings)
    return {**asked.callback.settings, "content_type": asked.content_type, "secret": asked.secret}


def _lock(webhook: Webhook, callback: Callback) -> Webhook | None:
    """Return a webhook as it is now, locked until the transaction ends; None if it is not the callback's any more."""
    locked = find_one(Webhook.objects.kept().locked().filter(pk=webhook.pk))
    return locked if locked is not None and leads_to(callback, locked) else None


@contextmanager
def in_the_hubs_terms(callback: Callback) -> Iterator[None]:
    """Convert errors in a hook's fields to errors in the fields of the request."""
    try:
        yield
    except ValidationFailed as error:
        raise ValidationFailed(*[_renamed(row, callback) for row in error.errors]) from error
    except InvalidFields as error:
        rows = [invalid(name, message) for name, message in error.errors.items()]
        raise ValidationFailed(*[_renamed(row, callback) for row in rows]) from error


def _renamed(row: dict[str, str], callback: Callback) -> dict[str, str]:
    name = row.get("field", "")
    if callback.service is not WEB and name not in {"events", "organization"}:
        return invalid(CALLBACK, f"{name}: {row.get('message', 'is required')}")
    return {**row, "field": FIELDS.get(name, name)}
