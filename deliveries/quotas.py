"""How many webhooks there may be, and how fast they may be made: asked on every way to a new webhook or a new URL."""

import time

from django.conf import settings
from django.db.models import Value

from deliveries import rates, terms
from deliveries.formats import Format
from deliveries.limits import limit_of
from deliveries.models import Host, Organization, Repository, Webhook

# A new URL may make a name server wait for one that nobody answers for.
CHANGES = rates.Policy("webhook-changes")


def take_change(organization: Organization) -> None:
    """Count a new webhook or a new URL of an organization; raises rates.TooMany."""
    limit = limit_of(organization, "webhook_changes_per_minute")
    rates.take(CHANGES, str(organization.pk), quota=limit, now=time.time())


def require_room(organization: Organization) -> None:
    """Raise BadTerms where an organization has as many webhooks as it may. Call it in a transaction.

    The organization stays locked, so that two requests at once do not both take the last place.
    """
    limit = limit_of(organization, "webhooks")
    if not limit:
        return
    Organization.objects.select_for_update(no_key=True).filter(pk=organization.pk).first()
    if Webhook.objects.kept().filter(organization=organization)[:limit].count() >= limit:
        raise terms.BadTerms(
            {"organization": f"has {limit:,} webhooks, as many as it may; delete some, or ask the operator for more"}
        )


def require_room_at(
    url: str, *, wire_format: Format, organization: Organization, repository: Repository | None
) -> None:
    """Raise BadTerms where too many webhooks lead to a URL, or to its host over all organizations."""
    limit = limit_of(organization, "webhooks_per_url")
    # What is stored of a secret URL need not be all of it.
    if limit and not wire_format.url_is_secret:
        shown = wire_format.show_url(url)
        alike = Webhook.objects.kept().filter(organization=organization, repository=repository, stored_url=shown)
        # Of a URL with a query only the opened one tells whether it is the same.
        if sum(webhook.has_url(url) for webhook in alike.only("uid", "stored_url", "sealed_url")) >= limit:
            where = "the organization" if repository is None else repository.name
            fault = f"{limit:,} webhooks of {where} have this URL, as many as may; change one of them"
            raise terms.BadTerms({"url": fault})
    at_host = Webhook.objects.kept().annotate(host=Host("stored_url")).filter(host=Host(Value(url)))
    if (limit := settings.HOOKHUB_WEBHOOKS_PER_HOST) and at_host[:limit].count() >= limit:
        raise terms.BadTerms(
            {"url": f"{limit:,} webhooks of all organizations lead to this host, as many as may; ask the operator"}
        )
