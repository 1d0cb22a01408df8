"""The indexes and constraints of the table of webhooks, and the SQL expressions in them."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Collate

from deliveries.models.arrays import GinIndex
from deliveries.policy.rate_limits import MAX_PER, MAX_REQUESTS_A_SECOND, MAX_SECONDS_A_REQUEST

# The scheme and the host of a URL.
HOST = r"^[a-z]+://(\[[^]]*\]|[^/:?]+)"
HOST_OF = f"substring({{}}, '{HOST}')"


class Host(Func):
    """The SQL expression for the host of a URL, written as in the index webhook_host so that queries can use it."""

    function = "substring"

    def __init__(self, url: str | F | Value) -> None:
        super().__init__(url, Value(HOST), output_field=models.TextField())


class TopicKeys(Func):
    """The SQL expression for the keys of a webhook in the index webhook_by_topic, one for each of its topics.

    A key consists of the organization, the repository unless the webhook gets the events of all, and the topic:
    ``42/7/push`` or ``42//push``. A webhook that is deleted, ended or unverified has none.
    """

    function = "hookhub_webhook_keys"


INDEXES: list[models.Index] = [
    models.Index(fields=["organization", "repository"], name="webhook_scope"),
    # Finds the webhooks of an event, however many others its organization has. Without a pending list, which
    # every fan-out would have to read. Compared byte by byte, whatever the collation of the database.
    GinIndex(
        Collate(
            TopicKeys("organization", "repository", "events", "deleted_at", "ended_at", "proof", "verified_at"),
            "C",
        ),
        name="webhook_by_topic",
        fastupdate=False,
    ),
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
        fields=["expires_at"],
        name="webhook_leased",
        condition=Q(expires_at__isnull=False, ended_at=None, deleted_at=None),
    ),
    models.Index(fields=["expiry_warning_at"], name="webhook_to_warn", condition=Q(expiry_warning_at__isnull=False)),
    models.Index(fields=["expiry_mail_at"], name="webhook_to_mail", condition=Q(expiry_mail_at__isnull=False)),
    models.Index(
        KeyTransform("api_key", "subscription"),
        name="webhook_of_api_key",
        condition=Q(subscription__isnull=False),
    ),
    models.Index(
        KeyTransform("callback", "subscription"),
        name="webhook_of_callback",
        condition=Q(subscription__isnull=False),
    ),
    models.Index(
        fields=["id"], name="webhook_to_notify", condition=Q(disabled_at__isnull=False, owner_notified_at=None)
    ),
    # Those that are watched, however many others there are. A stranger's subscription is none of its owner's.
    models.Index(
        fields=["id"],
        name="webhook_failing",
        condition=Q(failing_since__isnull=False, disabled_at=None, deleted_at=None, subscription__isnull=True),
    ),
]
CONSTRAINTS: list[models.BaseConstraint] = [
    models.CheckConstraint(
        name="webhook_disabled_with_reason",
        condition=Q(disabled_at=None, disabled_reason=None)
        | Q(disabled_at__isnull=False, disabled_reason__isnull=False),
    ),
    models.UniqueConstraint(
        KeyTransform("id", "subscription"),
        name="webhook_once_per_subscription",
        condition=Q(deleted_at=None, subscription__isnull=False),
    ),
    models.CheckConstraint(
        name="webhook_polled_without_url",
        condition=Q(kind="poll", stored_url="", sealed_url=None, proof=None, rate_requests=None) | Q(kind="push"),
    ),
    models.CheckConstraint(name="webhook_events_not_empty", condition=Q(events__len__gt=0)),
    models.CheckConstraint(
        name="webhook_max_in_flight_positive", condition=Q(max_in_flight=None) | Q(max_in_flight__gt=0)
    ),
    models.CheckConstraint(name="webhook_verified_by_proof", condition=Q(verified_at=None) | Q(proof__isnull=False)),
    models.CheckConstraint(
        name="webhook_granted_by_proof",
        condition=Q(request_origin=None, allowed_rate=None)
        | Q(verified_at__isnull=False, request_origin__isnull=False),
    ),
    models.CheckConstraint(
        name="webhook_allowed_rate_positive", condition=Q(allowed_rate=None) | Q(allowed_rate__gt=0)
    ),
    models.CheckConstraint(
        name="webhook_rate_limit_in_range",
        condition=Q(rate_requests=None, rate_per=None)
        | Q(
            rate_requests__isnull=False,
            rate_per__isnull=False,
            rate_per__range=(1, MAX_PER),
            rate_per__lte=F("rate_requests") * MAX_SECONDS_A_REQUEST,
            rate_requests__lte=F("rate_per") * MAX_REQUESTS_A_SECOND,
        ),
    ),
    models.CheckConstraint(
        name="webhook_paced_by_limit",
        condition=Q(rate_requests=None, allowed_rate=None, pace_interval=None, pace_lag=None, next_request_at=None)
        | (
            (Q(rate_requests__isnull=False) | Q(allowed_rate__isnull=False))
            & Q(pace_interval__isnull=False, pace_interval__gt=timedelta(0), pace_lag__isnull=False)
        ),
    ),
    models.CheckConstraint(
        name="webhook_ended_with_lease",
        condition=Q(ended_at=None) | Q(expires_at__isnull=False, ended_at__gte=F("expires_at")),
    ),
    models.CheckConstraint(
        name="webhook_announced_while_failing",
        condition=Q(announced_percent=None, announced_at=None)
        | Q(announced_percent__isnull=False, announced_at__isnull=False, failing_since__isnull=False),
    ),
]
