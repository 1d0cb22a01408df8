"""Actions on rows: on those selected in a list, and as buttons on the page of each."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from django.contrib import messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html

from hookhub.admin.base import OrganizationScoped, page_of

M = TypeVar("M", bound=Model)
R = TypeVar("R")


class Skipped(Exception):
    """An action does not apply to an object; the message is the reason, worded to follow a count."""


class NoSelectAcross(ActionForm):
    """Django's action form, limited to the rows ticked on this page."""

    def clean_select_across(self) -> bool:
        """Return False: a user who selects all pages has not seen what is on the others."""
        return False


class ObjectActions(OrganizationScoped):
    """Adds the list's actions to each object's page as buttons; both run the same code."""

    action_form = NoSelectAcross

    def get_urls(self) -> list[URLPattern]:
        """Add the URL that the buttons post to."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_act"
        mine = path("<path:object_id>/act/", self.admin_site.admin_view(self.act_view), name=name)
        return [mine, *super().get_urls()]

    def act_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Run the posted action on one object and redirect to its page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        action = self.get_actions(request).get(request.POST.get("action", ""))
        if action is None:
            raise PermissionDenied
        # The stubs declare the callable as the action's name.
        run: Any = action[0]
        rows = self.rows_with_scope(request, self.get_queryset(request), scope=self.change_scope).filter(pk=found.pk)
        if not rows.exists():
            raise PermissionDenied
        answer: HttpResponseBase | None = run(self, request, rows)
        return redirect(page_of(found)) if answer is None else answer

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the form of one object, with the buttons that apply to it."""
        found = self.get_object(request, unquote(object_id))
        context = {} if found is None else self.context_of(request, found)
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def context_of(self, request: HttpRequest, found: Any) -> dict[str, Any]:
        """Return what the page of an object shows beside its form."""
        raise NotImplementedError

    def has_act_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Require the change permission and a membership, even where no form offers a change."""
        may = request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")
        return may and self.may_change(request, obj)

    def act_on_each(
        self,
        request: HttpRequest,
        objects: Iterable[M],
        act: Callable[[M], R],
        *,
        record: str,
        summary: Callable[[list[M], list[R]], str] = lambda _done, _results: "",
    ) -> None:
        """Run ``act`` on each object, record and summarise that, and count those for which it raised Skipped."""
        done, results, skipped = [], [], []
        for obj in objects:
            try:
                results.append(act(obj))
            except Skipped as reason:
                skipped.append(str(reason))
            except ObjectDoesNotExist:
                # Since the list was read.
                skipped.append("deleted")
            else:
                done.append(obj)
        self.record_action(request, done, record)
        self.report(request, summary(done, results) if done else "", skipped)

    def report(self, request: HttpRequest, done: str, skipped: list[str]) -> None:
        """Show what was done, and in a second message how many objects were skipped for which reasons."""
        if done:
            self.message_user(request, done, messages.SUCCESS)
        if skipped:
            self.message_user(request, f"Skipped: {'; '.join(count_reasons(skipped))}.", messages.WARNING)

    def show_once(self, request: HttpRequest, what: str, secret: str) -> None:
        """Show a new key or secret, which is not shown again."""
        text = format_html("{}: <code>{}</code> Copy it now. It is not shown again.", what, secret)
        self.message_user(request, text, messages.WARNING)

    def record_action(self, request: HttpRequest, objects: Sequence[Model], what: str) -> None:
        """Record the action in the admin's own history."""
        if objects and request.user.pk is not None:
            LogEntry.objects.log_actions(request.user.pk, list(objects), CHANGE, what)


def count_reasons(reasons: list[str]) -> list[str]:
    """Return each distinct reason with its count: ``2 being sent``."""
    return [f"{reasons.count(reason)} {reason}" for reason in sorted(set(reasons))]
