"""Quotas for webhooks: how many there may be and how fast they may be created or get new URLs."""

import time

from django.conf import settings
from django.db.models import Q, QuerySet
from django.template.defaultfilters import pluralize

from deliveries import rates
from deliveries.db import sql
from deliveries.formats import Format
from deliveries.limits import limit_of
from deliveries.models import HOST_OF, Organization, Repository, Webhook
from deliveries.webhooks.fields import InvalidFields

# Each new URL may cost a DNS look-up that times out.
CHANGES = rates.Policy("webhook-changes")

# Each counts no further than the limit. To compile them takes Django longer than to execute them.
LOCK_ORGANIZATION = "SELECT FROM hookhub_organization WHERE id = %(organization)s FOR NO KEY UPDATE"
_COUNT = "SELECT count(*) FROM (SELECT FROM hookhub_webhook WHERE {} AND deleted_at IS NULL LIMIT %(limit)s) AS counted"
COUNT_WEBHOOKS = _COUNT.format("organization_id = %(organization)s AND subscription IS NULL")
COUNT_WEBHOOKS_WITH_URL = _COUNT.format(
    "organization_id = %(organization)s AND repository_id = %(repository)s AND url = %(url)s"
)
COUNT_WEBHOOKS_OF_ALL_REPOSITORIES_WITH_URL = _COUNT.format(
    "organization_id = %(organization)s AND repository_id IS NULL AND url = %(url)s"
)
# Written as in the index webhook_host.
COUNT_WEBHOOKS_OF_HOST = _COUNT.format(f"{HOST_OF.format('url')} = {HOST_OF.format('%(url)s')}")


class LimitReached(Exception):
    """There are too many subscriptions. A caller at the hub must not be told of which limit, nor how many."""


def take_change(organization: Organization) -> None:
    """Count a new webhook or a new URL of an organization. Raise rates.TooMany above the limit per minute."""
    limit = limit_of(organization, "webhook_changes_per_minute")
    rates.take(CHANGES, str(organization.pk), quota=limit, now=time.time())


def require_webhook_quota(organization: Organization) -> None:
    """Raise InvalidFields if an organization already has the maximum number of webhooks. Call it in a transaction.

    It locks the organization, so that two concurrent requests cannot both use the last place.
    """
    limit = limit_of(organization, "webhooks")
    if not limit:
        return
    _lock(organization)
    if _count(COUNT_WEBHOOKS, organization=organization.pk, limit=limit) >= limit:
        count = f"{limit:,} webhook{pluralize(limit)}"
        error = f"has reached its limit of {count}; delete one, or ask the operator to raise the limit"
        raise InvalidFields({"organization": error})


def lock_subscription_quota(organization: Organization) -> None:
    """Lock an organization until the transaction ends, if it has a limit of subscriptions at the hub.

    Call it before a repository is locked: to lock both in another order than the quotas of other webhooks do would be a
    deadlock.
    """
    if limit_of(organization, "hub_subscriptions"):
        _lock(organization)


def require_subscription_quota(callback: str, *, organization: Organization) -> None:
    """Raise LimitReached if there are too many subscriptions at the hub to an organization, or to a callback's host.

    They do not count as its webhooks: anybody may subscribe to a public topic. Call it in a transaction that has called
    ``lock_subscription_quota``, so that two concurrent requests cannot both use the last place.
    """
    limit = limit_of(organization, "hub_subscriptions")
    if limit and _subscriptions(organization, "topic")[:limit].count() >= limit:
        raise LimitReached
    try:
        require_host_quota(callback)
    except InvalidFields as error:
        raise LimitReached from error


def require_mcp_quota(callback: str, *, organization: Organization) -> None:
    """Raise LimitReached if agents have too many subscriptions in an organization, or to a callback's host.

    They do not count as its webhooks: a key that may only read is enough to subscribe. Call it in a transaction; it
    locks the organization, as ``require_webhook_quota`` does.
    """
    if limit := limit_of(organization, "mcp_subscriptions"):
        _lock(organization)
        if _subscriptions(organization, "id")[:limit].count() >= limit:
            raise LimitReached
    try:
        require_host_quota(callback)
    except InvalidFields as error:
        raise LimitReached from error


def _subscriptions(organization: Organization, key: str) -> "QuerySet[Webhook]":
    """Return an organization's subscriptions that have this key: "topic" at the hub, "id" by MCP.

    Those that have ended while they were disabled are left out: they are kept only to stay disabled.
    """
    counted = Q(ended_at=None) | Q(disabled_at=None)
    return Webhook.objects.kept().filter(counted, organization=organization, subscription__has_key=key)


def require_url_quota(
    url: str, *, wire_format: Format, organization: Organization, repository: Repository | None
) -> None:
    """Raise InvalidFields if too many webhooks have this URL, or this host across all organizations.

    Webhooks with the same URL are counted in the repository, or among the organization's own if it is None.
    """
    limit = limit_of(organization, "webhooks_per_url")
    # For a format whose URL is secret, the stored URL is masked and identifies nothing.
    if limit and not wire_format.url_is_secret:
        shown = wire_format.show_url(url)
        same_shown = Webhook.objects.kept().filter(organization=organization, repository=repository, stored_url=shown)
        statement = COUNT_WEBHOOKS_WITH_URL if repository else COUNT_WEBHOOKS_OF_ALL_REPOSITORIES_WITH_URL
        scope = {"organization": organization.pk, "repository": repository and repository.pk}
        # Query values are masked in the stored URL, so compare the decrypted URLs.
        if _count(statement, **scope, url=shown, limit=limit) >= limit and (
            sum(webhook.has_url(url) for webhook in same_shown.only("uid", "stored_url", "sealed_url")) >= limit
        ):
            where = "the organization" if repository is None else repository.name
            count = f"{limit:,} webhook{pluralize(limit)}"
            error = f"limit reached: {where} already has {count} with this URL; change an existing one"
            raise InvalidFields({"url": error})
    require_host_quota(url)


def require_host_quota(url: str) -> None:
    """Raise InvalidFields if too many webhooks of all organizations have the host of this URL."""
    limit = settings.HOOKHUB_WEBHOOKS_PER_HOST
    if limit and _count(COUNT_WEBHOOKS_OF_HOST, url=url, limit=limit) >= limit:
        count = f"{limit:,} webhook{pluralize(limit)}"
        error = f"limit reached: this host has {count} of all organizations; ask the operator to raise the limit"
        raise InvalidFields({"url": error})


def _lock(organization: Organization) -> None:
    sql.run(LOCK_ORGANIZATION, {"organization": organization.pk})


def _count(statement: str, **parameters: object) -> int:
    counted: int = sql.run(statement, parameters)[0][0]
    return counted
