"""Organizations and their repositories."""

from collections.abc import Collection
from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower

from deliveries import formats, limits, plain_text, systems, timezone

NAME = RegexValidator(r"^[A-Za-z0-9._-]{1,100}\Z", "Use 1 to 100 letters, digits, dots, hyphens and underscores.")


class Named(models.Model):
    """A row with a unique name. ``names.name_error`` checks it, because Django's check would not name the field."""

    class Meta:
        abstract = True

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """Skip Django's check of the constraints; the database still enforces them."""


class Organization(Named):
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
    # Whether the URLs of new webhooks, and new URLs, must prove themselves before anything is sent to them.
    verify_webhooks = models.BooleanField(default=False, db_default=False)
    # Per-organization overrides of the deployment's limits, keyed by the names in limits.LIMITS; 0 means unlimited.
    limits = models.JSONField(null=True, blank=True, validators=[limits.validate])
    created_at = timezone.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "hookhub_organization"
        # Paths of some dialects name the organization case-insensitively.
        constraints: ClassVar = [
            models.UniqueConstraint(Lower("slug"), name="organization_slug_in_any_case_unique"),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def wire_format(self) -> str:
        """Return the slug of the wire format for webhooks created without one."""
        return self.default_format or systems.SYSTEMS[self.default_dialect].wire_format


class Repository(Named):
    """A repository of an organization; most events are about one."""

    organization = models.ForeignKey(Organization, models.CASCADE, related_name="repositories")
    name = models.CharField(max_length=100, validators=[NAME, plain_text.validate])
    private = models.BooleanField(default=True)
    created_at = timezone.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "hookhub_repository"
        verbose_name_plural = "repositories"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "name"], name="repository_name_unique"),
            models.UniqueConstraint("organization", Lower("name"), name="repository_name_in_any_case_unique"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def full_name(self) -> str:
        """Return ``organization/name``, the form that receivers see."""
        return f"{self.organization.slug}/{self.name}"
