"""The base of the admin's pages: which rows and lookups are allowed, by organization."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.safestring import SafeString

from deliveries import timezone
from deliveries.models import Organization
from hookhub.admin.tenancy import is_unrestricted, organizations_of, rows_of
from hookhub.admin.wrapping import wrapped
from hookhub.formatting import when
from hookhub.models import Scope

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    # Generic in the type stubs only, not at run time.
    ModelAdmin = admin.ModelAdmin


class Autocomplete(AutocompleteSelect):
    """Django's widget, which shows no row for a text that cannot be the key of one, instead of failing."""

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        """Return the options that are selected."""
        keys = self.field.remote_field.model._meta.pk
        return super().optgroups(name, [text for text in value if can_be(keys, text)], attr)


class OrganizationScoped(ModelAdmin):
    """The base of every page: shows the rows of the user's organizations, and allows only the declared lookups.

    ``organization_path`` is the lookup from a row to its organization; None leaves the rows to superusers.
    ``view_scope`` is what the user's membership must include to see a row, and ``change_scope`` to add, change or
    delete one; both are the same as in the API.
    """

    organization_path: ClassVar[str | None] = None
    view_scope: ClassVar[Scope] = Scope.READ
    change_scope: ClassVar[Scope] = Scope.MANAGE
    # Links from other pages use these to find a row.
    key_lookups: ClassVar[Sequence[str]] = ("pk", "pk__exact", "id", "id__exact")

    class Media:
        css: ClassVar = {"all": ["hookhub/admin.css"]}

    @property
    def urls(self) -> list[URLPattern]:
        """Return the patterns of the pages, which may be those of any project's admin."""
        return [wrapped(pattern) for pattern in self.get_urls()]

    @admin.display(description="Created", ordering="created_at")
    def created(self, obj: Any) -> SafeString | str:
        """Show when a row was created, as a column of lists."""
        return when(obj.created_at, now=timezone.now())

    # Rows ------------------------------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows that the user may see."""
        return self.rows_with_scope(request, super().get_queryset(request), scope=self.view_scope)

    def rows_with_scope(self, request: HttpRequest, rows: QuerySet[Any], *, scope: Scope) -> QuerySet[Any]:
        """Return the rows of the organizations in which the user has ``scope``; all rows for a superuser."""
        if is_unrestricted(request):
            return rows
        return rows_of(rows, self.organization_path, self.organizations(request, scope=scope))

    def organizations(self, request: HttpRequest, *, scope: Scope) -> QuerySet[Organization]:
        """Return the organizations in which the user has ``scope`` for rows like these."""
        return organizations_of(request, scope=scope)

    def may_change(self, request: HttpRequest, obj: Model | None) -> bool:
        """Return whether the user's membership allows changing ``obj``, or any row at all if that is None."""
        if is_unrestricted(request):
            return True
        if self.organization_path is None:
            return False
        if obj is None or obj.pk is None:
            return organizations_of(request, scope=self.change_scope).exists()
        rows = self.model._default_manager.filter(pk=obj.pk)
        return self.rows_with_scope(request, rows, scope=self.change_scope).exists()

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Require the permission only; ``get_queryset`` decides which rows the user sees."""
        return super().has_view_permission(request, obj) and (
            self.organization_path is not None or is_unrestricted(request)
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Require a membership in addition to the permission."""
        return super().has_add_permission(request) and self.may_change(request, None)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Require a membership in addition to the permission."""
        return super().has_change_permission(request, obj) and self.may_change(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Require a membership in addition to the permission."""
        return super().has_delete_permission(request, obj) and self.may_change(request, obj)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *where: Any) -> Any:
        """Run an action on those selected rows that the user may change; reject what cannot be the key of a row."""
        if not all(can_be(self.opts.pk, text) for text in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise DisallowedModelAdminLookup("No row has such a key.")
        return super().response_action(
            request, self.rows_with_scope(request, queryset, scope=self.change_scope), *where
        )

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer and accept only rows of organizations in which the user may make the change."""
        related = self.admin_site._registry.get(db_field.remote_field.model)  # noqa: SLF001 - as Django's own widgets do
        if isinstance(related, OrganizationScoped) and "queryset" not in kwargs:
            rows = related.model._default_manager.all()
            kwargs["queryset"] = related.rows_with_scope(request, rows, scope=self.change_scope)
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = Autocomplete(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the URL fills the form with, but for times: Django's widget for them takes no text."""
        found = super().get_changeform_initial_data(request)
        times = {field.name for field in self.opts.fields if isinstance(field, timezone.DateTimeField)}
        return {name: value for name, value in found.items() if name not in times}

    # Lookups ---------------------------------------------------------------------------------------------------------

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the declared filters and the exact id: any other lookup could be used to guess a secret column."""
        return lookup in self.allowed_lookups(request)

    def allowed_lookups(self, request: HttpRequest | None) -> frozenset[str]:
        """Return the names of the query parameters that may narrow the list."""
        declared = self.list_filter if request is None else self.get_list_filter(request)
        found = {word for each in declared for word in self._lookups_of(each)}
        return frozenset(found.union(self.key_lookups))

    def _lookups_of(self, declared: Any) -> Iterator[str]:
        if isinstance(declared, type):
            yield str(getattr(declared, "parameter_name", ""))
            return
        name = declared[0] if isinstance(declared, list | tuple) else declared
        field: Any = get_fields_from_path(self.model, name)[-1]
        exact = f"{name}__{field.target_field.name}__exact" if field.is_relation else f"{name}__exact"
        yield from (exact, f"{name}__isnull")

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        """Allow other pages to refer to a row by its primary key only."""
        return to_field in {"pk", self.opts.pk.name}

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Reject NUL characters, which no column can store."""
        if any("\0" in word for name, values in request.GET.lists() for word in (name, *values)):
            raise DisallowedModelAdminLookup("The URL contains a NUL character.")
        return super().get_changelist_instance(request)


class PluralTitle(OrganizationScoped):
    """Titles a list with what it contains, where Django's title tells the user to select a row."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the list under the plural name of its model."""
        title = {"title": str(self.opts.verbose_name_plural).capitalize()}
        return super().changelist_view(request, {**title, **(extra_context or {})})


class ReadOnly(OrganizationScoped):
    """Read-only pages: nothing can be added, changed or deleted."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False


def can_be(keys: Any, text: str) -> bool:
    """Return whether a text can be a key in the column ``keys``."""
    try:
        keys.to_python(text)
    except ValidationError:
        return False
    return True


def page_of(found: Model) -> str:
    """Return the path of an object's page."""
    opts = found._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[quote(str(found.pk))])
