"""What every page of the admin has in common: permissions, and buttons that are the list's actions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    # Only the stubs know the class as generic.
    ModelAdmin = admin.ModelAdmin


class Plain(ModelAdmin):
    """What its form alone changes: the fields that a person touched, where they still are."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Save what was touched, and nothing that was read with it.

        To save all of it would bring back what was deleted since, and let a key that was revoked open doors again.
        """
        if not change:
            super().save_model(request, obj, form, change)
        else:
            # Gone, it would be an error of the database's.
            get_object_or_404(self.model.objects.select_for_update(no_key=True), pk=obj.pk)
            obj.save(update_fields=form.changed_data)


class Titled(ModelAdmin):
    """Calls a list by what is in it, and not by what one could do there."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Give the list a plain title."""
        title = {"title": str(self.opts.verbose_name_plural).capitalize()}
        return super().changelist_view(request, {**title, **(extra_context or {})})


class ReadOnly(ModelAdmin):
    """Pages to look at: nothing is added, changed or deleted here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        del request
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse."""
        del request, obj
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse."""
        del request, obj
        return False


class SelectedOnly(ActionForm):
    """Django's form of actions, which takes what is ticked on this page and never a whole list."""

    def clean_select_across(self) -> bool:
        """Refuse the wish for everything: nobody has looked at what is on the other pages."""
        return False


class Acting(ModelAdmin):
    """Gives each object's page buttons for the list's actions; both run the same code."""

    action_form = SelectedOnly

    def get_urls(self) -> list[URLPattern]:
        """Add the address that the buttons post to."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        mine = path("<path:object_id>/act/", self.admin_site.admin_view(self.act_view), name=name)
        return [mine, *super().get_urls()]

    def act_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Run the posted action on one object and go back to its page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        action = self.get_actions(request).get(request.POST.get("action", ""))
        if action is None:
            raise PermissionDenied
        # The stubs mistake what is called here for the action's name.
        run: Any = action[0]
        answer: HttpResponseBase | None = run(self, request, self.get_queryset(request).filter(pk=found.pk))
        return redirect(page_of(found)) if answer is None else answer

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Let those act who may change such objects, even where no form offers that."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    def tell(self, request: HttpRequest, done: str, left_alone: list[str]) -> None:
        """Say what was done, and in a message of its own what was left alone and why."""
        if done:
            self.message_user(request, done, messages.SUCCESS)
        if left_alone:
            self.message_user(request, f"Left alone: {'; '.join(left_alone)}.", messages.WARNING)

    def note(self, request: HttpRequest, objects: Sequence[Model], what: str) -> None:
        """Write into the admin's own history who did what."""
        if objects and request.user.pk is not None:
            LogEntry.objects.log_actions(request.user.pk, list(objects), CHANGE, what)


def page_of(found: Model) -> str:
    """Give the address of an object's page."""
    opts = found._meta  # noqa: SLF001 - Django documents it; the underscore only keeps it apart from fields
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[quote(str(found.pk))])


def tally(reasons: list[str]) -> list[str]:
    """Count equal reasons together: ``2 are being sent``."""
    return [f"{reasons.count(reason)} {reason}" for reason in sorted(set(reasons))]
