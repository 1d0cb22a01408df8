"""Audit entries: recorded changes."""

from typing import ClassVar

from django.db import models

from deliveries import timezone
from deliveries.models.ids import new_id
from deliveries.models.organizations import Organization


class AuditEntry(models.Model):
    """One recorded change and its actor. A trigger rejects every update, and every deletion except retention's."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    recorded_at = timezone.DateTimeField()
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
        db_table = "hookhub_audit_entry"
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
