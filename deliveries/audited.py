"""Audit log targets and states of organizations, repositories and webhooks, with secrets masked."""

from collections.abc import Callable

from deliveries import vault
from deliveries.audit import Masked, State, Target, state_of
from deliveries.formats import MASK
from deliveries.models import Organization, Repository, Webhook

ORGANIZATION_FIELDS = (
    "slug", "name", "default_dialect", "default_format", "validate_events", "create_repositories",
    "verify_webhooks", "limits",
)  # fmt: skip
REPOSITORY_FIELDS = ("name", "private")
WEBHOOK_FIELDS = (
    "kind", "name", "events", "format", "content_type", "verify_ssl", "retry_schedule", "timeout", "max_in_flight",
    "auto_disable", "proof", "verified_at", "allowed_rate", "expires_at",
)  # fmt: skip


def webhook_target(webhook: Webhook) -> Target:
    """Return the audit target for a webhook."""
    return Target("webhook", str(webhook.uid), str(webhook), webhook.organization)


def webhook_state(webhook: Webhook) -> State:
    """Return a webhook's fields. Secrets and header values are masked; the log shows only whether they changed."""
    # Compare decrypted values: encrypting the same content twice yields different bytes.
    url = _opened(lambda: webhook.url, (webhook.stored_url, bytes(webhook.sealed_url or b"")))
    headers = _opened(lambda: vault.headers_of(webhook), bytes(webhook.sealed_headers or b""))
    return {
        "url": Masked(url, webhook.shown_url),
        **state_of(webhook, *WEBHOOK_FIELDS),
        "repository": None if webhook.repository is None else webhook.repository.full_name,
        "active": webhook.active,
        "rate_limit": None if webhook.rate_limit is None else webhook.rate_limit._asdict(),
        "filter": webhook.own_filter,
        "headers": Masked(headers, dict.fromkeys(headers, MASK) if isinstance(headers, dict) else MASK),
        "secret": Masked(_opened(lambda: vault.secrets_of(webhook), bytes(webhook.sealed_secrets))),
    }


def _opened(read: Callable[[], object], sealed: object) -> object:
    """Return ``read()``, or ``sealed`` if it cannot be decrypted: a webhook must be deletable after its key is lost."""
    try:
        return read()
    except vault.Unreadable:
        return sealed


def organization_target(organization: Organization) -> Target:
    """Return the audit target for an organization."""
    return Target("organization", organization.slug, organization.name or organization.slug, organization)


def organization_state(organization: Organization) -> State:
    """Return the audited fields of an organization."""
    return state_of(organization, *ORGANIZATION_FIELDS)


def repository_target(repository: Repository) -> Target:
    """Return the audit target for a repository."""
    return Target("repository", repository.full_name, repository.full_name, repository.organization)


def repository_state(repository: Repository) -> State:
    """Return the audited fields of a repository."""
    return state_of(repository, *REPOSITORY_FIELDS)
