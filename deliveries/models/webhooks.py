"""Webhooks: what their owners set, and their health."""

from datetime import datetime
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import F, Q

from deliveries import formats, proofs, timezone, vault
from deliveries.models import webhook_schema
from deliveries.models.arrays import ArrayField
from deliveries.models.ids import new_id
from deliveries.models.organizations import Organization, Repository
from deliveries.policy import filters
from deliveries.policy.rate_limits import RateLimit

# Orders by id that no index has.
SORTED = {("id",): ((F("id") + 0).asc(),), ("pk",): ((F("id") + 0).asc(),), ("-id",): ((F("id") + 0).desc(),)}


class WebhookQuerySet(models.QuerySet["Webhook"]):
    # Whether all are of one organization.
    _is_of_organization = False

    def of_organization(self, organization_id: int) -> Self:
        """Return those of an organization, which ``order_by`` sorts.

        For the first of them by id, the planner would walk the primary key in the hope of meeting some soon, and read
        all webhooks of other organizations that come before. By an expression it reads those of the organization.
        """
        found = self.filter(organization=organization_id)
        found._is_of_organization = True  # noqa: SLF001 - a queryset of this class
        return found

    def of_repository(self, repository: Repository) -> Self:
        """Return those of a repository, as ``of_organization`` does."""
        return self.of_organization(repository.organization_id).filter(repository=repository)

    def order_by(self, *fields: Any) -> Self:
        """Return the webhooks in this order."""
        return super().order_by(*(SORTED.get(fields, fields) if self._is_of_organization else fields))

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._is_of_organization = self._is_of_organization
        return clone

    def kept(self) -> "WebhookQuerySet":
        """Return the webhooks that are not deleted."""
        return self.filter(deleted_at=None)

    def with_status(self, status: "Webhook.Status", *, now: datetime) -> "WebhookQuerySet":
        """Return those with this status, as ``Webhook.status`` tells it, of webhooks that are not deleted."""
        ended, unverified = Q(expires_at__lte=now), Q(proof__isnull=False, verified_at=None)
        match status:
            case Webhook.Status.ENDED:
                return self.filter(ended)
            case Webhook.Status.DISABLED:
                return self.filter(~ended, disabled_at__isnull=False)
            case Webhook.Status.UNVERIFIED:
                return self.filter(~ended, unverified, disabled_at=None)
            case Webhook.Status.ACTIVE:
                return self.filter(~ended, ~unverified, disabled_at=None)
        return self.none()

    def locked(self) -> "WebhookQuerySet":
        """Lock the rows until the transaction ends; they can still be referenced by new rows."""
        return self.select_for_update(no_key=True)


class Webhook(models.Model):
    """A subscription of one URL to event types, sent in one wire format."""

    class DisabledReason(models.TextChoices):
        BY_OWNER = "by_owner", "by its owner"
        FAILING = "failing", "every attempt of a full retry schedule failed"
        TOO_MANY_FAILURES = "too_many_failures", "too many consecutive failed attempts"
        GONE = "gone", "the receiver is gone"

    class Kind(models.TextChoices):
        """How events reach the receiver. A polling webhook has no URL."""

        PUSH = "push", "HookHub sends them"
        POLL = "poll", "the receiver fetches them"

    class Status(models.TextChoices):
        """Whether it receives events, and otherwise why not; not a column, because a lease ends by itself."""

        ACTIVE = "active", "active"
        UNVERIFIED = "unverified", "not verified"
        DISABLED = "disabled", "disabled"
        ENDED = "ended", "its lease has ended"
        DELETED = "deleted", "deleted"

    uid = models.UUIDField(unique=True, default=new_id, editable=False)
    # The index webhook_scope serves lookups. With an index on this column alone, the planner would sometimes choose to
    # read all webhooks of the organization.
    organization = models.ForeignKey(Organization, models.PROTECT, db_index=False, related_name="webhooks")
    repository = models.ForeignKey(Repository, models.PROTECT, null=True, blank=True, related_name="webhooks")
    name = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.PUSH, editable=False)
    # The URL with its secret parts masked. If anything is masked, ``sealed_url`` holds the full URL, encrypted; read
    # and assign ``url``.
    stored_url = models.CharField("URL", max_length=2048, db_column="url")
    sealed_url = models.BinaryField(null=True)
    events = ArrayField(models.CharField(max_length=200))
    format = models.CharField(max_length=40, choices=formats.choices)
    content_type = models.CharField(max_length=10, default="json")
    # Encrypted: the signing secrets, and the custom headers, which may carry a token.
    sealed_secrets = models.BinaryField()
    sealed_headers = models.BinaryField(null=True)
    verify_ssl = models.BooleanField(default=True)

    # Null means the deployment's setting; an empty schedule means no retries.
    retry_schedule = ArrayField(models.DurationField(), null=True, blank=True)
    timeout = models.DurationField(null=True, blank=True)
    max_in_flight = models.PositiveSmallIntegerField(null=True, blank=True)
    # The owner's limit: ``rate_requests`` in any ``rate_per`` seconds. Null means none.
    rate_requests = models.PositiveIntegerField(null=True, blank=True)
    rate_per = models.PositiveIntegerField(null=True, blank=True)
    auto_disable = models.BooleanField(default=True)

    # What a subscriber asked for; null on webhooks created otherwise. At a hub: its ``topic``, the address of the
    # ``hub``, the ``algorithm`` that signs, and whether it ``is_public``, made without a key that may read the topic.
    # By MCP: its ``id``, the ``name`` of the event and the ``arguments``, the id of the ``api_key``, the hash by which
    # a proof of its ``callback`` is remembered, and the address below which ``events`` can be read.
    subscription = models.JSONField(null=True, blank=True, editable=False)

    # What an event's data must have for the webhook to get it, as in ``policy.filters``; null means all events.
    payload_filter = models.JSONField(null=True, blank=True, editable=False)

    # How the URL must prove itself before anything is sent to it, and since when it has; null means not at all.
    proof = models.CharField(max_length=20, choices=proofs.choices, null=True, blank=True, editable=False)
    verified_at = timezone.DateTimeField(null=True, editable=False)
    # What its receiver has granted by a handshake: the name by which it knows HookHub, and how many requests a minute.
    # Null if there was no handshake, or no limit.
    request_origin = models.CharField(max_length=255, null=True, editable=False)
    allowed_rate = models.PositiveIntegerField(null=True, editable=False)
    # The pace that keeps to both limits, as in ``policy.pace``, and the next turn that no worker has taken.
    pace_interval = models.DurationField(null=True, editable=False)
    pace_lag = models.DurationField(null=True, editable=False)
    next_request_at = timezone.DateTimeField(null=True, editable=False)
    # The end of its lease, exact by the database's clock; null means never. ``ended_at`` follows, once the maintenance
    # tasks have cancelled the last of its deliveries.
    expires_at = timezone.DateTimeField(null=True, blank=True)
    ended_at = timezone.DateTimeField(null=True, editable=False)
    # When the owner is told that the lease ends: first by an event, then by an e-mail. Null means told, or not at all.
    expiry_warning_at = timezone.DateTimeField(null=True, editable=False)
    expiry_mail_at = timezone.DateTimeField(null=True, editable=False)

    created_at = timezone.DateTimeField(default=timezone.now, editable=False)
    # When its configuration last changed; changes of its health do not count.
    changed_at = timezone.DateTimeField(default=timezone.now, editable=False)
    deleted_at = timezone.DateTimeField(null=True, editable=False)
    disabled_at = timezone.DateTimeField(null=True, blank=True, editable=False)
    enabled_at = timezone.DateTimeField(null=True, editable=False)
    disabled_reason = models.CharField(max_length=20, choices=DisabledReason, null=True, editable=False)
    # When the owner was notified that the webhook was disabled. Null on a disabled webhook means the e-mail is due.
    owner_notified_at = timezone.DateTimeField(null=True, editable=False)

    failure_count = models.PositiveIntegerField(default=0, editable=False)
    timeouts_in_a_row = models.PositiveIntegerField(default=0, editable=False)
    last_delivery_at = timezone.DateTimeField(null=True, editable=False)
    last_delivery_status = models.CharField(max_length=20, null=True, editable=False)
    last_success_at = timezone.DateTimeField(null=True, editable=False)
    # Moving average of its recent response times; slow webhooks share a bounded part of a worker's slots.
    latency_ewma = models.DurationField(null=True, editable=False)
    # Backoff: nothing is sent before this, because the receiver sent Retry-After or keeps timing out.
    backoff_until = timezone.DateTimeField(null=True, editable=False)
    # Set when more deliveries were held than one statement releases; the maintenance tasks release the rest.
    releasing_since = timezone.DateTimeField(null=True, editable=False)
    # The latest first-attempt time among deliveries that gave up since the last review, which clears it.
    review_since = timezone.DateTimeField(null=True, editable=False)
    gone_at = timezone.DateTimeField(null=True, editable=False)
    # When it first failed since the maintenance tasks last found it healthy; they reset it.
    failing_since = timezone.DateTimeField(null=True, editable=False)
    # What was last announced of the incident, and when: a percentage of what disables it, 100 once it is disabled, and
    # 0 after it has been enabled again. Null if there is nothing to recover from.
    announced_percent = models.PositiveSmallIntegerField(null=True, editable=False)
    announced_at = timezone.DateTimeField(null=True, editable=False)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        db_table = "hookhub_webhook"
        indexes: ClassVar = webhook_schema.INDEXES
        constraints: ClassVar = webhook_schema.CONSTRAINTS

    def __str__(self) -> str:
        return self.name or self.shown_url or f"{self.Kind.POLL} {self.uid}"

    @property
    def shown_url(self) -> str:
        """Return the URL with its secret parts masked, safe to show to anyone; "" of a polling webhook."""
        # ``stored_url`` may be unmasked if it was stored before its format masked URLs.
        return formats.format_of(self.format).show_url(self.stored_url)

    @property
    def url_when_created(self) -> str:
        """Return the URL for the response to the creation request: unmasked, unless the whole URL is a secret."""
        return self.shown_url if formats.format_of(self.format).url_is_secret else self.url

    @property
    def url(self) -> str:
        """Return the full URL that deliveries are sent to. Raise vault.Unreadable if it cannot be decrypted."""
        return self.stored_url if self.sealed_url is None else vault.open_url(self.sealed_url, of=self.uid)

    @url.setter
    def url(self, url: str) -> None:
        """Set the masked URL and, if anything is masked, the sealed one. Set ``format`` first: it decides the mask."""
        self.stored_url = formats.format_of(self.format).show_url(url)
        self.sealed_url = None if self.stored_url == url else vault.seal_url(url, of=self.uid)

    def has_url(self, url: object) -> bool:
        """Return whether ``url`` is the webhook's URL; False if that cannot be decrypted."""
        try:
            return self.url == url
        except vault.Unreadable:
            return False

    @property
    def is_polled(self) -> bool:
        """Return whether its receiver fetches the events, so that it has no URL and no deliveries."""
        return self.kind == self.Kind.POLL

    @property
    def rate_limit(self) -> RateLimit | None:
        """Return the limit that its owner has set on the rate of its requests; None without one."""
        if self.rate_requests is None or self.rate_per is None:
            return None
        return RateLimit(self.rate_requests, self.rate_per)

    @property
    def own_filter(self) -> dict[str, object] | None:
        """Return the filter that its owner has set; None without one, and for what a subscriber has asked for."""
        return None if self.payload_filter is None else self.payload_filter.get(filters.OWNERS)

    @property
    def active(self) -> bool:
        """Return whether new events create deliveries for it: it is neither disabled nor deleted."""
        return self.disabled_at is None and self.deleted_at is None

    @property
    def is_disabled_by_owner(self) -> bool:
        """Return whether its owner has disabled it: only the owner can enable it then."""
        return self.disabled_at is not None and self.disabled_reason == self.DisabledReason.BY_OWNER

    @property
    def unverified(self) -> bool:
        """Return whether its URL must prove itself and has not: nothing is sent to it."""
        return self.proof is not None and self.verified_at is None

    def has_ended(self, *, now: datetime) -> bool:
        """Return whether its lease has ended."""
        return self.expires_at is not None and self.expires_at <= now

    def status(self, *, now: datetime) -> Status:
        """Return the first of the states that stop it, or ``active`` if nothing does."""
        if self.deleted_at is not None:
            return self.Status.DELETED
        if self.has_ended(now=now):
            return self.Status.ENDED
        if self.disabled_at is not None:
            return self.Status.DISABLED
        return self.Status.UNVERIFIED if self.unverified else self.Status.ACTIVE
