"""Locks a webhook that is about to change."""

from deliveries.db.lookups import Lookup
from deliveries.models import Webhook

_kept = Lookup(lambda pk: Webhook.objects.kept().locked().filter(pk=pk), "pk")


def lock(webhook_id: int) -> Webhook:
    """Return a webhook, locked until the transaction ends. Raise Webhook.DoesNotExist if it is deleted."""
    webhook = _kept(pk=webhook_id)
    if webhook is None:
        raise Webhook.DoesNotExist
    return webhook
