"""Memberships, API keys, and registered event types."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q

from deliveries import audit, plain_text, timezone
from deliveries.event_types.topics import MAX_TYPE_LENGTH
from deliveries.models import Organization
from deliveries.models.arrays import ArrayField
from deliveries.webhooks import mcp_subscribing
from hookhub import key_text


class Scope(models.TextChoices):
    """What a key or a member may do; each scope but ``publish`` includes all those below it."""

    MASTER = "master", "full access, including API keys"
    MANAGE = "manage", "manage webhooks, publish and read events"
    PUBLISH = "publish", "publish events only"
    READ = "read", "read only"


INCLUDED = {
    Scope.MASTER: frozenset(Scope),
    Scope.MANAGE: frozenset({Scope.MANAGE, Scope.PUBLISH, Scope.READ}),
    Scope.PUBLISH: frozenset({Scope.PUBLISH}),
    Scope.READ: frozenset({Scope.READ}),
}
# Systems whose webhooks only a master key, or an owner, may read or change.
MASTER_ONLY = frozenset({"coregit"})


class Membership(models.Model):
    """A user's role in an organization; owners are e-mailed about disabled webhooks and expiring keys."""

    class Role(models.TextChoices):
        OWNER = "owner"
        MANAGER = "manager"
        READER = "reader"

    SCOPES: ClassVar = {Role.OWNER: Scope.MASTER, Role.MANAGER: Scope.MANAGE, Role.READER: Scope.READ}

    # Nothing reads it from the user, and a project's own model may have another use for the name.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.OWNER)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "organization"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}"

    @property
    def scope(self) -> Scope:
        """Return the scope that the role grants."""
        return self.SCOPES[self.Role(self.role)]


# The fields of an API key in the audit log, with the time until which a rolled key's old secret is accepted.
AUDITED_FIELDS = (
    "name", "scope", "revoked_at", "expires_at", "allowed_networks", "rolled_at", "previous_secret_expires_at",
)  # fmt: skip


class ApiKey(models.Model):
    """A client's credentials; only a hash of the key's secret is stored.

    A key without an organization belongs to the operator and acts for every organization.
    """

    organization = models.ForeignKey(Organization, models.CASCADE, null=True, blank=True, related_name="api_keys")
    name = models.CharField(max_length=200, blank=True, validators=[plain_text.validate])
    scope = models.CharField(max_length=10, choices=Scope, default=Scope.PUBLISH)
    key_id = models.CharField("key ID", max_length=16, unique=True, editable=False)
    secret_hash = models.BinaryField(editable=False)
    # The secret before the last roll, and until when it is accepted.
    previous_secret_hash = models.BinaryField(null=True, editable=False)
    previous_secret_expires_at = timezone.DateTimeField(null=True, editable=False)
    # Networks from which the key may be used; empty for any.
    allowed_networks = ArrayField(models.CharField(max_length=50), default=list, db_default=[], blank=True)
    created_at = timezone.DateTimeField(default=timezone.now, editable=False)
    rolled_at = timezone.DateTimeField(null=True, editable=False)
    expires_at = timezone.DateTimeField(null=True, blank=True)
    # When the owners were e-mailed about the expiry.
    expiry_warned_at = timezone.DateTimeField(null=True, editable=False)
    # Until when the worker that sends that e-mail has it for itself.
    expiry_mail_leased_until = timezone.DateTimeField(null=True, editable=False)
    last_used_at = timezone.DateTimeField(null=True, editable=False)
    revoked_at = timezone.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "hookhub_api_key"
        verbose_name = "API key"
        indexes: ClassVar = [
            models.Index(fields=["organization"], name="api_key_in_use", condition=Q(revoked_at=None)),
            models.Index(
                fields=["expires_at"],
                name="api_key_to_warn_of",
                condition=Q(revoked_at=None, expiry_warned_at=None, expires_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.key_id

    def as_target(self) -> audit.Target:
        """Return the key as an audit target."""
        return audit.Target("api_key", self.key_id, str(self), self.organization)

    def as_state(self) -> audit.State:
        """Return the fields that the audit log shows of the key."""
        return {
            **audit.state_of(self, *AUDITED_FIELDS),
            "organization": None if self.organization is None else self.organization.slug,
        }

    def has_expired(self, *, now: datetime) -> bool:
        """Return whether the key has expired."""
        return self.expires_at is not None and self.expires_at <= now

    def is_secret(self, hashed: bytes, *, now: datetime) -> bool:
        """Return whether ``hashed`` is the hash of the current secret, or of the previous one during the overlap."""
        is_current = hmac.compare_digest(bytes(self.secret_hash), hashed)
        until = self.previous_secret_expires_at
        if is_current or self.previous_secret_hash is None or until is None or until <= now:
            return is_current
        return hmac.compare_digest(bytes(self.previous_secret_hash), hashed)

    def revoke(self, *, now: datetime) -> bool:
        """Revoke the key, which ends its subscriptions; return False if it was revoked already."""
        with transaction.atomic():
            valid = ApiKey.objects.select_for_update(of=("self",), no_key=True).filter(pk=self.pk, revoked_at=None)
            if not valid.exists():
                return False
            before = self.as_state()
            valid.update(revoked_at=now)
            self.revoked_at = now
            mcp_subscribing.end_by(self.key_id, until=now, now=now)
            audit.record_update(
                "api_key.revoked", target=self.as_target(), before=before, after=self.as_state(), now=now
            )
        return True

    @classmethod
    def issue(
        cls,
        *,
        organization: Organization | None,
        scope: Scope,
        now: datetime,
        name: str = "",
        expires_at: datetime | None = None,
        allowed_networks: Sequence[str] = (),
    ) -> tuple["ApiKey", str]:
        """Create a key and return it with its text, which is not stored and cannot be shown again."""
        key_id = key_text.new_id()
        secret = key_text.new_secret(key_id)
        with transaction.atomic():
            key = cls.objects.create(
                organization=organization, scope=scope, name=name, key_id=key_id, secret_hash=digest(secret),
                created_at=now, expires_at=expires_at, allowed_networks=list(allowed_networks),
            )  # fmt: skip
            audit.record("api_key.created", target=key.as_target(), after=key.as_state(), now=now)
        return key, key_text.text_of(key_id, secret)


def digest(secret: str) -> bytes:
    """Return the SHA-256 of a key's secret; a slow hash would not protect 256 random bits any better."""
    return hashlib.sha256(secret.encode()).digest()


class CustomEventType(models.Model):
    """An event type that an organization has registered; it replaces the dialect's definition of the same type."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="event_types")
    type = models.CharField(max_length=MAX_TYPE_LENGTH)
    description = models.CharField(max_length=500, blank=True)
    # JSON as text, because jsonb cannot store all JSON, such as \u0000.
    schema = models.TextField(null=True, blank=True)
    example = models.TextField(null=True, blank=True)
    created_at = timezone.DateTimeField(default=timezone.now, editable=False)
    changed_at = timezone.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "hookhub_custom_event_type"
        verbose_name = "custom event type"
        constraints: ClassVar = [models.UniqueConstraint(fields=["organization", "type"], name="event_type_once")]

    def __str__(self) -> str:
        return self.type
