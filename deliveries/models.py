"""The models: columns, indexes, querysets, and the invariants that the database enforces as constraints."""

from typing import ClassVar
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, F, Func, OuterRef, Q, Value
from django.db.models.functions import Coalesce, Lower
from django.utils import timezone

from deliveries import formats, limits, plain_text, systems, vault
from deliveries.db.ids import uuid7


def new_id() -> object:
    """Return a new id (UUIDv7) for a row that is created outside the pipeline."""
    return uuid7(timezone.now())


NAME = RegexValidator(r"^[A-Za-z0-9._-]{1,100}\Z", "Use 1 to 100 letters, digits, dots, hyphens and underscores.")


class Organization(models.Model):
    """A tenant. Repositories, webhooks and events belong to exactly one organization."""

    slug = models.CharField(max_length=100, unique=True, validators=[NAME, plain_text.validate])
    name = models.CharField(max_length=200, blank=True, validators=[plain_text.validate])
    # The vendor system it follows: its event types, its response shape on the shared API paths, its wire format.
    default_dialect = models.CharField(
        max_length=40, default=systems.DEFAULT, db_default=systems.DEFAULT, choices=systems.choices
    )
    # The wire format of new webhooks; null means the dialect's.
    default_format = models.CharField(max_length=40, null=True, blank=True, choices=formats.choices)
    # Whether events of a known type must match the JSON Schema in the catalogue.
    validate_events = models.BooleanField(default=False, db_default=False)
    # Whether the first event about a repository creates it.
    create_repositories = models.BooleanField(default=False, db_default=False)
    # Per-organization overrides of the deployment's limits, keyed by the names in limits.LIMITS; 0 means unlimited.
    limits = models.JSONField(null=True, blank=True, validators=[limits.validate])
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Set where the slug equals an older organization's except for case: such a pair may predate the unique constraint,
    # which exempts the row for as long as it keeps this slug.
    kept_slug = models.CharField(max_length=100, null=True, editable=False)

    class Meta:
        # Paths of some dialects name the organization case-insensitively.
        indexes: ClassVar = [models.Index(Lower("slug"), name="organization_in_any_case")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("slug"),
                name="organization_slug_in_any_case_unique",
                condition=Q(kept_slug=None) | ~Q(kept_slug=F("slug")),
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def wire_format(self) -> str:
        """Return the slug of the wire format for webhooks created without one."""
        return self.default_format or systems.DIALECTS[self.default_dialect].wire_format


class Repository(models.Model):
    """A repository of an organization; most events are about one."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="repositories")
    name = models.CharField(max_length=100, validators=[NAME, plain_text.validate])
    private = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Like ``Organization.kept_slug``: set where the name equals an older repository's except for case.
    kept_name = models.CharField(max_length=100, null=True, editable=False)

    class Meta:
        verbose_name_plural = "repositories"
        indexes: ClassVar = [models.Index("organization", Lower("name"), name="repository_in_any_case")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "name"], name="repository_name_unique"),
            models.UniqueConstraint(
                "organization",
                Lower("name"),
                name="repository_name_in_any_case_unique",
                condition=Q(kept_name=None) | ~Q(kept_name=F("name")),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def full_name(self) -> str:
        """Return ``organization/name``, the form that receivers see."""
        return f"{self.organization.slug}/{self.name}"


class Host(Func):
    """The SQL expression for the host of a URL, written as in the index webhook_host so that queries can use it."""

    function = "substring"

    def __init__(self, url: str | F | Value) -> None:
        super().__init__(url, Value(r"^[a-z]+://(\[[^]]*\]|[^/:?]+)"), output_field=models.TextField())


class WebhookQuerySet(models.QuerySet["Webhook"]):
    def kept(self) -> "WebhookQuerySet":
        """Return the webhooks that are not deleted."""
        return self.filter(deleted_at=None)


class Webhook(models.Model):
    """A subscription of one URL to event types, sent in one wire format."""

    class DisabledReason(models.TextChoices):
        BY_OWNER = "by_owner", "by its owner"
        FAILING = "failing", "every attempt of a full retry schedule failed"
        TOO_MANY_FAILURES = "too_many_failures", "too many consecutive failed attempts"
        GONE = "gone", "the receiver is gone"

    uid = models.UUIDField(unique=True, default=new_id, editable=False)
    # The index webhook_scope serves lookups. With an index on this column alone, the planner would sometimes choose to
    # read all webhooks of the organization.
    organization = models.ForeignKey(Organization, models.PROTECT, db_index=False, related_name="webhooks")
    repository = models.ForeignKey(Repository, models.PROTECT, null=True, blank=True, related_name="webhooks")
    name = models.CharField(max_length=200, blank=True)
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
    auto_disable = models.BooleanField(default=True)

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # When its configuration last changed; changes of its health do not count.
    changed_at = models.DateTimeField(default=timezone.now, editable=False)
    deleted_at = models.DateTimeField(null=True, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False)
    enabled_at = models.DateTimeField(null=True, editable=False)
    disabled_reason = models.CharField(max_length=20, choices=DisabledReason, null=True, editable=False)
    # When the owner was notified that the webhook was disabled. Null on a disabled webhook means the e-mail is due.
    owner_told_at = models.DateTimeField(null=True, editable=False)

    failure_count = models.PositiveIntegerField(default=0, editable=False)
    timeouts_in_a_row = models.PositiveIntegerField(default=0, editable=False)
    last_delivery_at = models.DateTimeField(null=True, editable=False)
    last_delivery_status = models.CharField(max_length=20, null=True, editable=False)
    last_success_at = models.DateTimeField(null=True, editable=False)
    # Moving average of its recent response times; slow webhooks share a bounded part of a worker's slots.
    pace = models.DurationField(null=True, editable=False)
    # Backoff: nothing is sent before this, because the receiver sent Retry-After or keeps timing out.
    resting_until = models.DateTimeField(null=True, editable=False)
    # Set when more deliveries were held than one statement releases; the maintenance tasks release the rest.
    releasing_since = models.DateTimeField(null=True, editable=False)
    # The latest first-attempt time among deliveries that gave up since the last review, which clears it.
    review_since = models.DateTimeField(null=True, editable=False)
    gone_at = models.DateTimeField(null=True, editable=False)

    objects = WebhookQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["organization", "repository"], name="webhook_scope"),
            models.Index(
                fields=["id"],
                name="webhook_to_review",
                condition=Q(review_since__isnull=False) | Q(gone_at__isnull=False),
            ),
            models.Index(fields=["id"], name="webhook_to_release", condition=Q(releasing_since__isnull=False)),
            models.Index(fields=["id"], name="webhook_deleted", condition=Q(deleted_at__isnull=False)),
            # Not partial: with the condition "not deleted", the planner would scan this index in every fan-out.
            models.Index(Host("stored_url"), name="webhook_host"),
            models.Index(
                fields=["id"], name="webhook_to_tell", condition=Q(disabled_at__isnull=False, owner_told_at=None)
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="webhook_disabled_with_reason",
                condition=Q(disabled_at=None, disabled_reason=None)
                | Q(disabled_at__isnull=False, disabled_reason__isnull=False),
            ),
            models.CheckConstraint(name="webhook_events_not_empty", condition=Q(events__len__gt=0)),
            models.CheckConstraint(
                name="webhook_max_in_flight_positive", condition=Q(max_in_flight=None) | Q(max_in_flight__gt=0)
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.shown_url

    @property
    def shown_url(self) -> str:
        """Return the URL with its secret parts masked, safe to show to anyone."""
        # ``stored_url`` of a row written by an earlier version may be unmasked.
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
    def active(self) -> bool:
        """Return whether new events create deliveries for it: it is neither disabled nor deleted."""
        return self.disabled_at is None and self.deleted_at is None


def is_waiting() -> Exists:
    """Return the condition, for a query on Event, that the event has not been fanned out yet."""
    source = Coalesce(OuterRef("repository_id"), -OuterRef("organization_id"))
    return Exists(Arrival.objects.filter(source=source, event_id=OuterRef("pk")))


class Event(models.Model):
    """One published event; its payload is stored once, byte for byte."""

    # Event, delivery and attempt have no foreign-key constraints: checking them would lock webhook and organization
    # rows on every insert. `manage.py check_ledger` checks the references instead.
    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, models.DO_NOTHING, db_constraint=False, db_index=False)
    repository = models.ForeignKey(Repository, models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    # Set on pings and test events: they go to this webhook only, whatever it subscribes to.
    webhook = models.ForeignKey(Webhook, models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    type = models.CharField(max_length=200)
    # Every topic that matches this event. A webhook gets it if its ``events`` array overlaps this one.
    topics = ArrayField(models.CharField(max_length=200))
    payload = models.BinaryField()
    idempotency_key = models.CharField(max_length=255, null=True)
    fingerprint = models.BinaryField(null=True)
    # The HookHub-Hops header of the request that published it; null unless a delivery caused that request.
    hops = models.TextField(null=True)
    occurred_at = models.DateTimeField()
    accepted_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["organization", "-id"], name="event_log"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "idempotency_key"], name="event_idempotency_key_unique"),
            models.CheckConstraint(
                name="event_key_with_fingerprint",
                condition=Q(idempotency_key=None) | Q(fingerprint__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"

    @property
    def arrival(self) -> tuple[int, UUID]:
        """Return the primary key of the event's Arrival, whether or not that row still exists."""
        return (-self.organization_id if self.repository_id is None else self.repository_id, self.id)


class Arrival(models.Model):
    """The outbox: one row for each event that is not fanned out yet; the fan-out deletes it.

    A separate table, because a flag on the event would make PostgreSQL write a new copy of the row with its payload.
    """

    pk = models.CompositePrimaryKey("source", "event_id")
    # The partition: the event's repository id or, without a repository, minus its organization id. The fan-out takes
    # events from the partitions in turn.
    source = models.BigIntegerField()
    event = models.ForeignKey(Event, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")

    def __str__(self) -> str:
        return str(self.event_id)


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def in_order(self, *, most: int) -> "DeliveryQuerySet":
        """Lock the first ``most`` deliveries by id and return a queryset of them. Call it in a transaction.

        Every statement that locks several deliveries does so in the order of their ids, which prevents deadlocks.
        """
        # The lock must be a separate statement: as a subquery of an UPDATE, the planner may run it once per row, and
        # each run would lock the next few rows.
        locked = self.order_by("id").select_for_update(no_key=True)[:most]
        return Delivery.objects.filter(id__in=list(locked.values_list("id", flat=True)))


class Delivery(models.Model):
    """One event to be sent to one webhook. Receivers see its id, which is the same on every attempt."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENDING = "sending"
        DELIVERED = "delivered"
        FAILED = "failed"
        HELD = "held"
        CANCELLED = "cancelled"

    class Line(models.IntegerChoices):
        """Readiness of a pending delivery: scheduled, or ready in one of two queues, which the claim alternates."""

        NONE = 0, "scheduled"
        FIRST = 1, "ready: first attempt"
        AGAIN = 2, "ready: retry, redelivery or release"

    class Ending(models.TextChoices):
        DELIVERED = "delivered", "delivered"
        EXHAUSTED = "exhausted", "retry schedule exhausted"
        GONE = "gone", "the receiver is gone"
        POISONOUS = "poisonous", "poison message: its workers kept dying"
        CANCELLED = "cancelled", "cancelled"

    FINISHED = (State.DELIVERED, State.FAILED, State.CANCELLED)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    event = models.ForeignKey(Event, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="deliveries")
    webhook = models.ForeignKey(
        Webhook, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="deliveries"
    )
    # Copied from the event, so that the delivery log is filtered without a join.
    organization = models.ForeignKey(Organization, models.DO_NOTHING, db_constraint=False, db_index=False)
    repository = models.ForeignKey(Repository, models.DO_NOTHING, null=True, db_constraint=False, db_index=False)
    event_type = models.CharField(max_length=200)

    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    ending = models.CharField(max_length=10, choices=Ending, null=True)
    # Meaningful only while pending.
    line = models.PositiveSmallIntegerField(choices=Line, default=Line.FIRST, db_default=Line.FIRST)
    attempts_made = models.PositiveIntegerField(default=0)
    # Steps of the retry schedule used since it last started over. An attempt whose outcome is unknown uses none.
    failures = models.PositiveIntegerField(default=0)
    lease_losses = models.PositiveSmallIntegerField(default=0)
    redeliveries = models.PositiveIntegerField(default=0)
    first_attempt_at = models.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True)
    due_at = models.DateTimeField(null=True)
    lease = models.UUIDField(null=True)
    leased_at = models.DateTimeField(null=True)
    leased_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        indexes: ClassVar = [
            models.Index(
                fields=["webhook", "line", "due_at", "id"],
                name="delivery_in_line",
                condition=Q(state="pending", line__gt=0),
            ),
            models.Index(fields=["due_at", "id"], name="delivery_due_later", condition=Q(state="pending", line=0)),
            models.Index(
                fields=["webhook", "id"], name="delivery_later_of_webhook", condition=Q(state="pending", line=0)
            ),
            models.Index(fields=["webhook", "leased_until"], name="delivery_leased", condition=Q(state="sending")),
            models.Index(fields=["webhook", "-id"], name="delivery_held", condition=Q(state="held")),
            models.Index(fields=["state", "-id"], name="delivery_trouble", condition=Q(state__in=("failed", "held"))),
            models.Index(fields=["organization", "-id"], name="delivery_log"),
            models.Index(fields=["webhook", "-id"], name="delivery_log_of_webhook"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event", "webhook"], name="delivery_once_per_event_and_webhook"),
            models.CheckConstraint(
                name="delivery_state_known",
                condition=Q(state__in=("pending", "sending", "delivered", "failed", "held", "cancelled")),
            ),
            models.CheckConstraint(
                name="delivery_leased_while_sending",
                condition=Q(state="sending", lease__isnull=False, leased_at__isnull=False, leased_until__isnull=False)
                | (~Q(state="sending") & Q(lease=None, leased_at=None, leased_until=None)),
            ),
            models.CheckConstraint(
                name="delivery_due_while_pending", condition=~Q(state="pending") | Q(due_at__isnull=False)
            ),
            models.CheckConstraint(name="delivery_line_known", condition=Q(line__in=(0, 1, 2))),
            models.CheckConstraint(
                name="delivery_finished_with_ending",
                condition=Q(
                    state__in=("delivered", "failed", "cancelled"), finished_at__isnull=False, ending__isnull=False
                )
                | (~Q(state__in=("delivered", "failed", "cancelled")) & Q(finished_at=None, ending=None)),
            ),
            models.CheckConstraint(
                name="delivery_failures_are_attempts", condition=Q(failures__lte=F("attempts_made"))
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Attempt(models.Model):
    """One HTTP request made for one delivery. Once the outcome is known, the row never changes."""

    class Outcome(models.TextChoices):
        DELIVERED = "delivered", "delivered"
        REFUSED = "refused", "failed"
        GONE = "gone", "gone"
        LOST = "lost", "no response"
        UNKNOWN = "unknown", "outcome unknown"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    delivery = models.ForeignKey(
        Delivery, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="attempts"
    )
    webhook = models.ForeignKey(Webhook, models.DO_NOTHING, db_constraint=False, db_index=False)
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    duration = models.DurationField(null=True)
    url = models.TextField()
    # "Name: value" lines; the values of the webhook's custom headers are masked. Response headers are as received.
    request_headers = models.TextField()
    outcome = models.CharField(max_length=10, choices=Outcome)
    status = models.PositiveSmallIntegerField(null=True)
    response_headers = models.TextField()
    response_body = models.BinaryField()
    error = models.TextField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["webhook", "-id"], name="attempt_log_of_webhook")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_once_per_number"),
            models.CheckConstraint(name="attempt_number_from_one", condition=Q(number__gte=1)),
            models.CheckConstraint(
                name="attempt_outcome_known",
                condition=Q(outcome__in=("delivered", "refused", "gone", "lost", "unknown")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} #{self.number}"


class AuditEntry(models.Model):
    """One recorded change and its actor. A trigger rejects every update, and every deletion except retention's."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    recorded_at = models.DateTimeField()
    # An object and a verb, such as webhook.updated.
    action = models.CharField(max_length=60)
    actor_kind = models.CharField(max_length=10)
    # The key's id, the person's login or the command's name.
    actor_id = models.CharField(max_length=200)
    actor_name = models.CharField(max_length=200, blank=True)
    address = models.CharField(max_length=200, blank=True)
    request_id = models.CharField(max_length=200, blank=True)
    target_kind = models.CharField(max_length=40)
    target_id = models.CharField(max_length=200)
    target_label = models.CharField(max_length=200)
    # No foreign-key constraint: an entry outlives the organization.
    organization = models.ForeignKey(
        Organization, models.DO_NOTHING, null=True, db_constraint=False, db_index=False, related_name="+"
    )
    organization_slug = models.CharField(max_length=100, blank=True)
    # JSON with secrets masked. Stored as text, because names and labels may contain characters that jsonb rejects.
    before = models.TextField(null=True)
    after = models.TextField(null=True)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit log"
        indexes: ClassVar = [
            models.Index(fields=["organization", "-id"], name="audit_of_organization"),
            models.Index(fields=["organization", "action", "-id"], name="audit_of_org_by_action"),
            models.Index(fields=["action", "-id"], name="audit_by_action"),
            models.Index(fields=["actor_id", "-id"], name="audit_by_actor"),
            models.Index(fields=["target_id", "-id"], name="audit_by_target"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_label}"


class Worker(models.Model):
    """The heartbeat of one worker process. Only ``deliveries.workers`` writes this table."""

    # The prefix of the worker's lease tokens.
    id = models.CharField(primary_key=True, max_length=16)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    # Set on a clean shutdown.
    stopped_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
