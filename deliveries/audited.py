"""What the audit log shows of the engine's own rows, with their secrets masked."""

from collections.abc import Callable

from deliveries import vault
from deliveries.audit import Masked, State, Target, state_of
from deliveries.formats import MASK
from deliveries.models import Organization, Repository, Webhook

ORGANIZATION_FIELDS = (
    "slug", "name", "default_dialect", "default_format", "validate_events", "create_repositories", "limits",
)  # fmt: skip
REPOSITORY_FIELDS = ("name", "private")
WEBHOOK_FIELDS = (
    "name", "events", "format", "content_type", "verify_ssl", "retry_schedule", "timeout", "max_in_flight",
    "auto_disable",
)  # fmt: skip


def webhook_target(webhook: Webhook) -> Target:
    """Return a webhook as the target of a change."""
    return Target("webhook", str(webhook.uid), str(webhook), webhook.organization)


def webhook_state(webhook: Webhook) -> State:
    """Return a webhook's fields; its secret and its headers' values only tell whether they changed."""
    # Compared as they are when opened, because the same content that is sealed anew is other bytes.
    url = _opened(lambda: webhook.url, (webhook.stored_url, bytes(webhook.sealed_url or b"")))
    headers = _opened(lambda: vault.headers_of(webhook), bytes(webhook.sealed_headers or b""))
    return {
        "url": Masked(url, webhook.shown_url),
        **state_of(webhook, *WEBHOOK_FIELDS),
        "repository": None if webhook.repository is None else webhook.repository.full_name,
        "active": webhook.active,
        "headers": Masked(headers, dict.fromkeys(headers, MASK) if isinstance(headers, dict) else MASK),
        "secret": Masked(_opened(lambda: vault.secrets_of(webhook), bytes(webhook.sealed_secrets))),
    }


def _opened(read: Callable[[], object], sealed: object) -> object:
    """Return what was sealed, or as it is what cannot be opened: a webhook must be deletable after its key is lost."""
    try:
        return read()
    except vault.Unreadable:
        return sealed


def organization_target(organization: Organization) -> Target:
    """Return an organization as the target of a change."""
    return Target("organization", organization.slug, organization.name or organization.slug, organization)


def organization_state(organization: Organization) -> State:
    """Return an organization's fields."""
    return state_of(organization, *ORGANIZATION_FIELDS)


def repository_target(repository: Repository) -> Target:
    """Return a repository as the target of a change."""
    return Target("repository", repository.full_name, repository.full_name, repository.organization)


def repository_state(repository: Repository) -> State:
    """Return a repository's fields."""
    return state_of(repository, *REPOSITORY_FIELDS)
