"""The base of the pages that show and change what is set for an organization's webhooks."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from deliveries.models import Organization
from hookhub.admin.base import OrganizationScoped
from hookhub.admin.tenancy import is_unrestricted, organizations_of
from hookhub.models import MASTER_ONLY, Scope


class AboutWebhooks(OrganizationScoped):
    """Leaves out organizations where the API requires a master key for webhooks, unless the user owns them."""

    def organizations(self, request: HttpRequest, *, scope: Scope) -> QuerySet[Organization]:
        """Return the organizations in which the user has ``scope`` for webhooks."""
        return super().organizations(request, scope=scope).exclude(pk__in=self._closed_to(request))

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Leave out the others in forms, too, and their repositories."""
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None:
            own = "pk" if db_field.name == "organization" else "organization"
            field.queryset = field.queryset.exclude(**{f"{own}__in": self._closed_to(request)})
        return field

    def _closed_to(self, request: HttpRequest) -> QuerySet[Organization]:
        """Return the organizations whose webhooks require a master key or an owner, and this user is not one."""
        if is_unrestricted(request):
            return Organization.objects.none()
        owned = organizations_of(request, scope=Scope.MASTER)
        return Organization.objects.filter(default_dialect__in=MASTER_ONLY).exclude(pk__in=owned)
