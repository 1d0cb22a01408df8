"""Organizations and their repositories."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db import IntegrityError
from django.db.models import Model
from django.http import HttpRequest, HttpResponseRedirect

from deliveries import names
from deliveries.limits import LIMITS
from deliveries.models import Organization, Repository
from hookhub.admin.auditing import Audited
from hookhub.admin.base import Plain
from hookhub.admin.filters import OrganizationFilter
from hookhub.admin.tenancy import is_unrestricted
from hookhub.models import Scope

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
else:
    # Only the stubs know the class as generic.
    ModelForm = forms.ModelForm


class Lasting(Plain):
    """What cannot be deleted here: with it would go all that belongs to it, the log included."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse."""
        del request, obj
        return False


class NamedForm(ModelForm):
    """Refuses a name that another row has in any case, beside its field."""

    def _post_clean(self) -> None:
        """Compare the name once the other fields are in their places."""
        super()._post_clean()  # type: ignore[misc]  # the stubs do not have it
        row, field = self.instance, names.field_of(self.instance)
        is_new_name = field in self.changed_data and field in self.cleaned_data
        # Without its organization a repository has nothing to be compared with.
        if is_new_name and "organization" not in self.errors and (error := names.name_error(row, str(row))):
            self.add_error(field, f"This name {error}.")


class Named(Lasting):
    """What has a name that no other row may have in any case."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Tell the person where somebody else took the name after the form had compared it."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except IntegrityError as error:
            if names.violated_field(error) is None:
                raise
            self.message_user(request, "This name has just been taken; choose another.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


@admin.register(Organization)
class OrganizationAdmin(Audited, Named):
    organization_path = "pk"
    change_scope = Scope.MASTER
    list_display = ("slug", "name", "default_dialect", "default_format", "validate_events", "created_at")
    search_fields = ("slug", "name")
    ordering = ("slug",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Let superusers alone give an organization limits of its own."""
        del obj
        return ("created_at",) if request.user.is_superuser else ("created_at", "limits")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let only superusers create organizations, as the API lets only the operator."""
        return super().has_add_permission(request) and is_unrestricted(request)

    form = forms.modelform_factory(
        Organization,
        form=NamedForm,
        fields="__all__",
        help_texts={
            "slug": "What the API, the events and the shapes of other systems call it.",
            "default_dialect": "Whose event types and wire format hold where nothing else is said, and whose words "
            "/v1/webhooks speaks.",
            "default_format": "The wire format of webhooks that name none; empty for the default dialect's. "
            "SocialGateway's sends X-SocialGateway-Event; receivers that read X-GitHub-Event need github.",
            "validate_events": "Refuse events of a known type that break its schema.",
            "create_repositories": "Create a repository when the first event about it is published.",
            "limits": f"An object with any of {', '.join(LIMITS)}; 0 is no limit. Empty for the deployment's limits.",
        },
    )


@admin.register(Repository)
class RepositoryAdmin(Audited, Named):
    form = NamedForm
    organization_path = "organization"
    list_display = ("name", "organization", "private", "created_at")
    list_filter = (OrganizationFilter, "private")
    list_select_related = ("organization",)
    search_fields = ("name", "organization__slug")
    ordering = ("-id",)
    autocomplete_fields = ("organization",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Keep a repository where its webhooks and its log are."""
        del request
        return ("created_at",) if obj is None else ("organization", "created_at")
