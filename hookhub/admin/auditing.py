"""Records changes made with the admin's own forms in the audit log, in the same transaction."""

from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from deliveries import audit, timezone
from deliveries.db.lookups import find_one
from hookhub.admin.base import OrganizationScoped
from hookhub.audited import audited


class Audited(OrganizationScoped):
    """Records what its form saves and what is deleted here; list it before the class that saves."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Remember the state of the row before it is saved."""
        if change:
            found = find_one(self.model.objects.select_for_update(of=("self",), no_key=True).filter(pk=obj.pk))
            form.state_before = None if found is None else audited(found)[1]
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Record the change after groups and permissions are saved too."""
        super().save_related(request, form, formsets, change)
        self.record_saved(form.instance, form, change=change)

    def record_saved(self, saved: Any, form: Any, *, change: bool) -> None:
        """Record what a form has saved; override it to do nothing where the function that saves also records."""
        target, after = audited(self.model.objects.get(pk=saved.pk))
        if not change:
            audit.record(f"{target.kind}.created", target=target, after=after, now=timezone.now())
        elif form.state_before is not None:
            action = f"{target.kind}.updated"
            audit.record_update(action, target=target, before=form.state_before, after=after, now=timezone.now())

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete one row, unless it is deleted already; record its deletion and that of the rows deleted with it."""
        with transaction.atomic():
            if find_one(self.model.objects.select_for_update(of=("self",)).filter(pk=obj.pk)) is None:
                return
            for lost in (*self.cascaded(obj), obj):
                self.record_deletion(lost)
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> None:
        """Delete several rows and record each of them."""
        with transaction.atomic():
            for obj in queryset.select_for_update(of=("self",)).order_by("pk"):
                self.delete_model(request, obj)

    def cascaded(self, obj: Any) -> list[Model]:
        """Return the audited rows that the database deletes together with ``obj``."""
        return []

    def record_deletion(self, lost: Any) -> None:
        """Record that a row is about to be deleted."""
        target, before = audited(lost)
        audit.record(f"{target.kind}.deleted", target=target, before=before, now=timezone.now())
