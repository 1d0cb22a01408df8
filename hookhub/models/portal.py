"""Sessions of the portal, and how an organization's portal looks."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from deliveries import audit, timezone
from deliveries.models import Organization, Repository, new_id
from deliveries.models.arrays import ArrayField


class PortalSession(models.Model):
    """A session of the portal, for an organization, one repository, or some webhooks; see ``portal_sessions``."""

    class Role(models.TextChoices):
        READ = "read", "look only"
        MANAGE = "manage", "look and change"

    class Theme(models.TextChoices):
        AUTO = "auto", "as the system"
        LIGHT = "light"
        DARK = "dark"

    class Locale(models.TextChoices):
        ENGLISH = "en", "English"
        GERMAN = "de", "Deutsch"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(Organization, models.CASCADE, related_name="portal_sessions")
    repository = models.ForeignKey(Repository, models.CASCADE, null=True, related_name="+")
    # The uids of the webhooks that it shows; null for all of the organization or the repository.
    webhooks = ArrayField(models.UUIDField(), null=True)
    role = models.CharField(max_length=10, choices=Role)
    theme = models.CharField(max_length=10, choices=Theme, default=Theme.AUTO)
    # The language of its pages, and the time zone of their times; null for those of the browser.
    locale = models.CharField(max_length=10, choices=Locale, null=True)
    time_zone = models.CharField(max_length=64, null=True)
    return_url = models.TextField(blank=True)
    # The member that opened it by login; null for a session opened by a link.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    token_hash = models.BinaryField(null=True, unique=True, editable=False)
    token_expires_at = timezone.DateTimeField()
    cookie_hash = models.BinaryField(null=True, unique=True, editable=False)
    created_at = timezone.DateTimeField(default=timezone.now, editable=False)
    opened_at = timezone.DateTimeField(null=True)
    expires_at = timezone.DateTimeField()
    revoked_at = timezone.DateTimeField(null=True)

    # Whether it is that of a member that owns the organization, which a link never makes; ``portal_sessions`` sets it.
    is_owners = False

    class Meta:
        db_table = "hookhub_portal_session"
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(fields=["organization", "-id"], name="portal_session_of_organization"),
            models.Index(fields=["expires_at"], name="portal_session_ended"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                name="portal_session_has_one_scope", condition=Q(repository=None) | Q(webhooks=None)
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def may_manage(self) -> bool:
        """Return whether the session may change something."""
        return self.role == self.Role.MANAGE

    @property
    def is_of_organization(self) -> bool:
        """Return whether the session is of a whole organization."""
        return self.repository_id is None and self.webhooks is None

    @property
    def may_create(self) -> bool:
        """Return whether the session may create webhooks; one for certain webhooks would not show another."""
        return self.may_manage and self.webhooks is None

    def as_target(self) -> audit.Target:
        """Return the session as an audit target."""
        return audit.Target("portal_session", str(self.pk), str(self.pk), self.organization)

    def as_state(self) -> audit.State:
        """Return the fields that the audit log shows of the session."""
        return {
            **audit.state_of(self, "role", "expires_at", "revoked_at"),
            "repository": None if self.repository is None else self.repository.name,
            "webhooks": None if self.webhooks is None else [str(uid) for uid in self.webhooks],
        }


class PortalSettings(models.Model):
    """How the portal of one organization looks, and which pages of other origins may embed it."""

    organization = models.OneToOneField(
        Organization, models.CASCADE, primary_key=True, related_name="portal_settings", editable=False
    )
    product_name = models.CharField(max_length=80, blank=True)
    accent_color = models.CharField(max_length=7, blank=True)
    # A data: URL, so that pages ask no other host for it.
    logo = models.TextField(blank=True)
    embed_origins = ArrayField(models.CharField(max_length=255), default=list, blank=True)

    class Meta:
        db_table = "hookhub_portal_settings"
        default_permissions = ()

    def __str__(self) -> str:
        return f"portal of {self.organization_id}"

    def as_target(self) -> audit.Target:
        """Return the settings as an audit target."""
        return audit.Target("portal_settings", self.organization.slug, self.organization.slug, self.organization)

    def as_state(self) -> audit.State:
        """Return the fields that the audit log shows of the settings."""
        return audit.state_of(self, "product_name", "accent_color", "logo", "embed_origins")
