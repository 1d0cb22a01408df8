"""Forms of the admin that undo no change that another request makes: they save only what their user has changed."""

from copy import copy
from typing import Any

from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404, redirect
from psycopg.errors import ForeignKeyViolation, UniqueViolation

from deliveries.rates import TooMany
from deliveries.webhooks.fields import InvalidFields
from hookhub.admin.base import OrganizationScoped

# Of two forms that store the same, or of one that names a row that another deletes.
OVERTAKEN = "Somebody else has made another change in this moment. Nothing was saved. Check the form, and try again."


class ShowsLateErrors(OrganizationScoped):
    """Shows the form again with an error that occurs only when it is stored, such as one row too many."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the form, or store what was sent; lead back to it with the reason if that was not possible."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Exception as error:
            message = self.late_error(error)
            if message is None:
                raise
            self.message_user(request, message, messages.ERROR)
            return redirect(request.get_full_path())

    def late_error(self, error: Exception) -> str | None:
        """Return what to tell of an error, None if the form cannot have caused it; raise Http404 if a row is gone."""
        match error:
            case InvalidFields() | TooMany():
                return str(error)
            case ObjectDoesNotExist():
                raise Http404 from error
            case IntegrityError(__cause__=UniqueViolation() | ForeignKeyViolation()):
                return OVERTAKEN
        return None


class KnowsWhatWasLoaded(ShowsLateErrors):
    """Has forms that carry the values with which they were loaded, so that they change only what their user changed."""

    def get_form(self, request: HttpRequest, obj: Any | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Return a form whose fields are compared with what was loaded; what is stored may have changed since."""
        made: Any = super().get_form(request, obj, change=change, **kwargs)
        made.base_fields = {name: copy(field) for name, field in made.base_fields.items()}
        for name, field in made.base_fields.items():
            # What a program sends may lack them. A time has two, of a date and of a time of day.
            if field.disabled:
                # It cannot be changed, such as the hash of a password.
                continue
            hidden = field.hidden_widget()
            is_lacking = hidden.value_omitted_from_data(request.POST, {}, f"initial-{name}")
            field.show_hidden_initial = request.method != "POST" or not is_lacking
        return made


class SavesChangedFieldsOnly(KnowsWhatWasLoaded):
    """Saves only those fields that the user has changed in the form."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save only the changed fields, and only of a row that still exists.

        Saving all fields would create a deleted row again, and could undo the revocation of a key.
        """
        if not change:
            super().save_model(request, obj, form, change)
        else:
            # Respond with 404 if the row is gone, instead of a database error.
            get_object_or_404(self.model.objects.select_for_update(no_key=True), pk=obj.pk)
            columns = {field.name for field in obj._meta.concrete_fields}
            obj.save(update_fields=columns.intersection(form.changed_data))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save only the changed relations to many rows, such as the groups of a user."""
        if change:
            relations = {field.name for field in form.instance._meta.many_to_many}
            for name in relations.difference(form.changed_data):
                form.cleaned_data.pop(name, None)
        super().save_related(request, form, formsets, change)
