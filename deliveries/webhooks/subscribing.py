"""Subscriptions at a hub: webhooks that the receiver itself asks for, proves, renews and ends."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import Value

from deliveries import vault
from deliveries.db.lookups import find_one
from deliveries.formats import FORMATS
from deliveries.formats.websub import WebSub as WebSubFormat
from deliveries.models import Repository, Verification, Webhook
from deliveries.models.webhook_schema import Host
from deliveries.models.webhooks import WebhookQuerySet
from deliveries.proofs.websub import WebSub
from deliveries.vault import Secret
from deliveries.webhooks import creating, denials, lifecycle, pending_changes, quotas, verifying
from deliveries.webhooks.fields import InvalidFields, check_url, validate
from deliveries.webhooks.pending_changes import PendingChange
from deliveries.webhooks.verifying import NewVerification

FORMAT = FORMATS[WebSubFormat.slug]
# An unproved subscription is forgotten as soon as its verification has failed: its subscriber has no access to the log.
KEPT_FOR = timedelta(0)


class Subscription(NamedTuple):
    """What a subscriber asks for. ``secret`` is "" for none; ``sent_back`` are more parameters of the verification."""

    callback: str
    topic: str
    hub: str
    event: str
    secret: str
    algorithm: str
    is_public: bool
    sent_back: Mapping[str, str]

    @property
    def details(self) -> dict[str, str]:
        """Return what the verification's request carries besides the challenge."""
        return {"hub.topic": self.topic, **self.sent_back}

    @property
    def column(self) -> dict[str, object]:
        """Return the webhook's column ``subscription``."""
        return {"topic": self.topic, "hub": self.hub, "algorithm": self.algorithm, "is_public": self.is_public}


def subscribe(subscription: Subscription, *, repository: Repository, lasts: timedelta, now: datetime) -> Webhook | None:
    """Ask a callback whether it wants a subscription that ``lasts`` from the proof on; return the webhook.

    Until then a new subscription gets nothing, and one that is renewed keeps its secret and its lease. Return None if
    the repository has been deleted or made private meanwhile. Raise quotas.LimitReached, and InvalidFields.
    """
    cleaned = validate({"events": [subscription.event], "format": FORMAT.slug, "secret": subscription.secret})
    cleaned["url"] = check_callback(subscription.callback)
    verification = NewVerification(WebSub.slug, subscription.details, lasts, KEPT_FOR)
    with transaction.atomic():
        quotas.lock_subscription_quota(repository.organization)
        # Of two subscribers at once, the second finds what the first has created.
        locked = find_one(Repository.objects.select_for_update(no_key=True).filter(pk=repository.pk))
        if locked is None or (locked.private and subscription.is_public):
            return None
        webhook = find(subscription, repository=repository)
        if webhook is None:
            quotas.require_subscription_quota(subscription.callback, organization=repository.organization)
            cleaned["subscription"] = subscription.column
            return creating.insert(
                cleaned, organization=repository.organization, repository=repository, verification=verification, now=now
            )[0]
        secrets = (Secret(subscription.secret),) if subscription.secret else ()
        change = PendingChange(secrets=secrets, subscription=subscription.column)
        verifying.ask(webhook, verification, change=change, now=now)
    return webhook


def check_callback(callback: str) -> str:
    """Return a callback normalized; raise InvalidFields if it is not allowed, whatever its host resolves to.

    A name is not looked up: strangers would learn from the answer which names there are in a private network, and have
    a web server's thread wait. The request that verifies the callback fails, if its address is not allowed.
    """
    try:
        return check_url(callback, resolve=None)
    except ValueError as error:
        raise InvalidFields({"url": str(error)}) from error


def unsubscribe(subscription: Subscription, *, now: datetime) -> list[Webhook]:
    """Ask a callback whether its subscription is to end; return the webhooks, of which there is seldom more than one.

    They are found by the topic's text, as the subscriber knows it: the repository may have another name by now.
    """
    with transaction.atomic():
        found = list(Webhook.objects.kept().locked().filter(pk__in=_under_any_name(subscription)).order_by("pk"))
        for webhook in found:
            verification = NewVerification(WebSub.slug, subscription.details, kept_for=KEPT_FOR)
            verifying.ask(webhook, verification, mode=Verification.Mode.UNSUBSCRIBE, now=now)
    return found


def find(subscription: Subscription, *, repository: Repository) -> Webhook | None:
    """Return the subscription of a callback to a topic, locked; None if there is none."""
    same = subscriptions_of(repository).filter(**_shown_as(subscription))
    found = next(_with_callback(subscription, same), None)
    return None if found is None else find_one(Webhook.objects.kept().locked().filter(pk=found))


def is_in_force(subscription: Subscription) -> bool:
    """Return whether a callback has a subscription to a topic that it has proved, whatever its repository's name is."""
    found = Webhook.objects.kept().filter(pk__in=_under_any_name(subscription))
    return any(not webhook.unverified for webhook in found)


def renamed_repository(subscription: Subscription) -> Repository | None:
    """Return the repository of a callback's subscription to a topic, whose name was in the topic; None without one."""
    found = Repository.objects.select_related("organization").filter(webhooks__in=_under_any_name(subscription))
    return found.order_by("pk").first()


def _under_any_name(subscription: Subscription) -> list[int]:
    """Return the ids of a callback's subscriptions to a topic, also if the repository was renamed."""
    same = Webhook.objects.kept().filter(subscription__isnull=False, **_shown_as(subscription))
    of_host = same.alias(host=Host("stored_url")).filter(host=Host(Value(subscription.callback)))
    return list(_with_callback(subscription, of_host))


def _shown_as(subscription: Subscription) -> dict[str, object]:
    return {"stored_url": FORMAT.show_url(subscription.callback), "subscription__topic": subscription.topic}


def _with_callback(subscription: Subscription, same: WebhookQuerySet) -> Iterator[int]:
    """Yield the ids of those webhooks that have the very callback, oldest first.

    Only what is compared is loaded: a stranger may have thousands whose callbacks differ in the masked query alone, and
    others wait for the locks that the caller holds.
    """
    for pk, uid, shown, sealed in same.order_by("pk").values_list("pk", "uid", "stored_url", "sealed_url"):
        with suppress(vault.Unreadable):
            if subscription.callback == (shown if sealed is None else vault.open_url(sealed, of=uid)):
                yield pk


def subscriptions_of(repository: Repository) -> WebhookQuerySet:
    """Return the subscriptions to a repository's topics, proved or not."""
    return Webhook.objects.kept().filter(
        organization=repository.organization_id, repository=repository, subscription__isnull=False
    )


def revoke_unseen(repository_id: int, *, now: datetime) -> int:
    """End the subscriptions that were made without a key if the repository is private now; return how many.

    Their subscribers are told. What was asked for without a key of any other subscription does not take effect.
    """
    with transaction.atomic():
        # A subscriber that still finds it public waits for this lock, or has been found here.
        repository = find_one(Repository.objects.select_for_update(no_key=True).filter(pk=repository_id, private=True))
        if repository is None:
            return 0
        # Locked, so that none is proved, or ends, meanwhile.
        found = list(subscriptions_of(repository).filter(subscription__has_key="topic").locked().order_by("pk"))
        unseen = [webhook for webhook in found if (webhook.subscription or {}).get("is_public")]
        for webhook in unseen:
            denials.tell_of_revocation(webhook, now=now)
            lifecycle.end_subscription_locked(webhook, now=now)
        waiting = Verification.objects.open().filter(webhook__in=[webhook.pk for webhook in found])
        for verification in waiting.filter(mode=Verification.Mode.SUBSCRIBE):
            if _makes_public(verification):
                Verification.objects.filter(pk=verification.pk).supersede(now=now)
                # One that has ended was kept for this proof.
                kept = Webhook.objects.filter(pk__in=[verification.webhook_id], disabled_at=None)
                kept.filter(ended_at__isnull=False).update(ended_at=None)
    return len(unseen)


def _makes_public(verification: Verification) -> bool:
    """Return whether what waits for a proof was asked for without a key that may read the topic."""
    try:
        change = pending_changes.unseal(verification.sealed_change, of=verification.id)
    except vault.Unreadable:
        # It cannot take effect.
        return False
    return change.subscription is not None and bool(change.subscription.get("is_public"))
