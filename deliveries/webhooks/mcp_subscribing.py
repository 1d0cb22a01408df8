"""Subscriptions of MCP Events: webhooks that an agent asks for, and waits until their callback has proved itself."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from deliveries import vault
from deliveries.audited import webhook_state
from deliveries.compact_json import encode
from deliveries.db import arrays, sql
from deliveries.formats import FORMATS
from deliveries.formats.mcp_event import McpEvent
from deliveries.models import Organization, Repository, Verification, Webhook
from deliveries.models.webhooks import WebhookQuerySet
from deliveries.proofs.mcp import SUBSCRIPTION, Mcp
from deliveries.vault import Secret
from deliveries.webhooks import creating, leases, lifecycle, pending_changes, quotas, recording, secrets, verifying
from deliveries.webhooks.fields import InvalidFields
from deliveries.webhooks.pending_changes import PendingChange
from deliveries.webhooks.verifying import NewVerification

FORMAT = FORMATS[McpEvent.slug]
# How long a callback that has proved itself to a caller is not asked again, and a replaced secret still signs.
REMEMBERED_FOR = timedelta(hours=24)
OVERLAP = timedelta(hours=24)
# A callback that is not proved by then has no subscription: its caller has heard so.
KEPT_FOR = timedelta(0)


class Disabled(Exception):
    """The subscription is disabled: by the owner of the organization, or because its callback kept failing."""

    def __init__(self, *, by_owner: bool) -> None:
        super().__init__()
        self.by_owner = by_owner


class Key(NamedTuple):
    """What a subscription is known by: who asks, for what, and where it is sent. ``url`` is normalized.

    ``caller`` is the id of an API key.
    """

    organization_id: int
    caller: str
    url: str
    name: str
    arguments: Mapping[str, object]

    @property
    def id(self) -> str:
        """Return the id of the subscription, the same whenever it is asked for."""
        caller = [self.organization_id, self.caller]
        return f"sub_{_hash([caller, self.url, self.name, sorted(self.arguments.items())])}"

    @property
    def callback(self) -> str:
        """Return what a callback's proof is remembered by."""
        return _hash([self.organization_id, self.caller, self.url])


def _hash(value: object) -> str:
    return hashlib.sha256(encode(value)).hexdigest()[:32]


class Subscription(NamedTuple):
    """What a caller asks for. ``repository`` is the one that the arguments name, or None for all.

    ``payload_filter`` are the other arguments; ``events`` is the address below which events can be read.
    """

    key: Key
    secret: str
    repository: Repository | None
    payload_filter: Mapping[str, object]
    events: str

    @property
    def column(self) -> dict[str, object]:
        """Return the webhook's column ``subscription``."""
        return {
            "id": self.key.id,
            "name": self.key.name,
            "arguments": dict(self.key.arguments),
            "api_key": self.key.caller,
            "callback": self.key.callback,
            "events": self.events,
        }


class Asked(NamedTuple):
    """A subscription that was asked for. ``verification`` is the one to wait for; None if it is in force already."""

    webhook_id: int
    verification: UUID | None


def subscribe(subscription: Subscription, *, organization: Organization, lasts: timedelta, now: datetime) -> Asked:
    """Create a subscription, or renew it; until its callback has proved itself, nothing is sent and nothing changes.

    It ``lasts`` from the proof on. Raise InvalidFields for a secret that cannot sign, or a repository that is deleted
    meanwhile; quotas.LimitReached; Disabled; and rates.TooMany. ``subscription.key.url`` has been checked.
    """
    if (error := FORMAT.secret_error(subscription.secret)) is not None:
        raise InvalidFields({"secret": error})
    quotas.take_change(organization)
    with transaction.atomic():
        # Of two callers at once, the second finds what the first has created.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        webhook = find(subscription.key)
        proved_at = last_proof(subscription.key, now=now)
        if webhook is not None:
            if not webhook.active:
                raise Disabled(by_owner=webhook.is_disabled_by_owner)
            if webhook.repository == subscription.repository:
                return _renew(webhook, subscription, lasts=lasts, proved_at=proved_at, now=now)
            # Its repository was given another name, and what is asked for is the one that has its name now.
            lifecycle.end_subscription_locked(webhook, now=now)
        return _create(subscription, organization=organization, lasts=lasts, proved_at=proved_at, now=now)


def _create(
    subscription: Subscription,
    *,
    organization: Organization,
    lasts: timedelta,
    proved_at: datetime | None,
    now: datetime,
) -> Asked:
    quotas.require_mcp_quota(subscription.key.url, organization=organization)
    locked = Repository.objects.select_for_update(no_key=True)
    if subscription.repository and not locked.filter(pk=subscription.repository.pk).exists():
        raise InvalidFields({"repository": "was deleted in the meantime"})
    fields: dict[str, object] = {
        "url": subscription.key.url,
        "events": [subscription.key.name],
        "format": FORMAT.slug,
        "secret": subscription.secret,
        "subscription": subscription.column,
        "payload_filter": dict(subscription.payload_filter) or None,
    }
    verification = (
        None if proved_at else NewVerification(Mcp.slug, {SUBSCRIPTION: subscription.key.id}, lasts, KEPT_FOR)
    )
    webhook, _ = creating.insert(
        fields, organization=organization, repository=subscription.repository, verification=verification, now=now
    )  # fmt: skip
    if proved_at:
        _take_effect(webhook, pending_changes.NO_CHANGE, lasts=lasts, proved_at=proved_at, now=now)
        return Asked(webhook.pk, None)
    return Asked(webhook.pk, webhook.verifications.open().values_list("pk", flat=True).get())


def _renew(
    webhook: Webhook, subscription: Subscription, *, lasts: timedelta, proved_at: datetime | None, now: datetime
) -> Asked:
    change = PendingChange(
        url=None if webhook.has_url(subscription.key.url) else subscription.key.url,
        format=None if webhook.format == FORMAT.slug else FORMAT.slug,
        secrets=_rotated(webhook, subscription.secret, now=now),
        subscription=subscription.column,
    )
    if proved_at is not None:
        _take_effect(webhook, change, lasts=lasts, proved_at=proved_at, now=now)
        return Asked(webhook.pk, None)
    asked = verifying.ask(
        webhook, NewVerification(Mcp.slug, {SUBSCRIPTION: subscription.key.id}, lasts, KEPT_FOR), change=change, now=now
    )  # fmt: skip
    return Asked(webhook.pk, asked.pk)


def _rotated(webhook: Webhook, secret: str, *, now: datetime) -> tuple[Secret, ...]:
    """Return the secrets that a locked webhook gets with a new one: those in use sign along with it for a day."""
    if webhook.unverified:
        return (Secret(secret),)
    try:
        return secrets.rotated(vault.secrets_of(webhook), secret, overlap=OVERLAP, now=now)
    except vault.Unreadable:
        return (Secret(secret),)


def _take_effect(
    webhook: Webhook, change: PendingChange, *, lasts: timedelta, proved_at: datetime, now: datetime
) -> None:
    """Apply a change to a locked webhook whose callback has proved itself lately."""
    before = webhook_state(webhook)
    webhook.verifications.supersede(now=now)
    pending_changes.apply(change, webhook)
    webhook.proof, webhook.verified_at, webhook.changed_at = Mcp.slug, proved_at, now
    leases.set_lease(webhook, now + lasts, warns=Mcp.warns_owner, now=now)
    webhook.save(update_fields=["proof", "verified_at", "changed_at", *pending_changes.COLUMNS, *leases.COLUMNS])
    recording.updated(webhook, before=before, after=webhook_state(webhook), now=now)


def unsubscribe(key: Key, *, now: datetime) -> bool:
    """End a subscription and cancel its pending deliveries; return whether there was one."""
    with transaction.atomic():
        webhook = find(key)
        if webhook is None:
            return False
        lifecycle.end_subscription_locked(webhook, now=now)
    return True


def find(key: Key) -> Webhook | None:
    """Return a subscription, proved or not, locked until the transaction ends; None if there is none."""
    found = Webhook.objects.kept().locked().filter(subscription__isnull=False, subscription__id=key.id)
    return found.filter(organization=key.organization_id, subscription__api_key=key.caller).first()


def of_caller(organization_id: int, caller: str) -> WebhookQuerySet:
    """Return the subscriptions that a caller has in an organization, proved or not."""
    return _of_key(caller).filter(organization=organization_id)


def _of_key(caller: str) -> WebhookQuerySet:
    return Webhook.objects.kept().filter(subscription__isnull=False, subscription__api_key=caller)


def last_proof(key: Key, *, now: datetime) -> datetime | None:
    """Return when a callback last proved itself to this caller, or None if that is not remembered any more.

    The row of a deleted subscription is kept as long as the log of its deliveries, and counts, too.
    """
    same = Webhook.objects.filter(subscription__isnull=False, subscription__callback=key.callback)
    proved = same.filter(verified_at__gt=now - REMEMBERED_FOR)
    return proved.order_by("-verified_at").values_list("verified_at", flat=True).first()


def end_by(caller: str, *, until: datetime, now: datetime) -> int:
    """Let no subscription of a caller last longer than ``until``, and drop what waits for a proof; return how many.

    Matching and claiming stop by themselves then, and the maintenance tasks delete the webhooks.
    """
    with transaction.atomic():
        found = list(_of_key(caller).locked().order_by("pk"))
        ids = [webhook.pk for webhook in found]
        waiting = Verification.objects.filter(webhook__in=ids).open()
        if until <= now:
            waiting.supersede(now=now)
            for webhook in found:
                # Its lease has ended before, and it was kept for a proof; or it was kept, disabled, for this caller,
                # who can ask no more.
                if webhook.ended_at is not None or webhook.is_disabled_by_owner:
                    lifecycle.delete_locked(webhook, now=now)
        else:
            waiting.filter(lasts__gt=until - now).update(lasts=until - now)
        return sql.change(SHORTEN_LEASES, {"ids": arrays.bigints(ids), "until": until})


# One whose verification was dropped ends, too, so that it is deleted.
SHORTEN_LEASES = """
UPDATE hookhub_webhook SET expires_at = %(until)s
WHERE id = ANY(%(ids)s::bigint[]) AND (expires_at IS NULL OR expires_at > %(until)s)
"""
