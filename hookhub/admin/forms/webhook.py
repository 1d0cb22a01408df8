"""The form of a webhook, which validates with the same rules as the API."""

import json
from typing import Any, ClassVar, cast

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime
from django.http import QueryDict

from deliveries import formats, proofs, vault
from deliveries.models import Organization, Webhook
from deliveries.webhooks import kinds
from deliveries.webhooks.changing import validate_change
from deliveries.webhooks.fields import InvalidFields, validate
from hookhub.admin.forms import ModelForm

CONTENT_TYPES = list(
    dict.fromkeys(name for wire_format in formats.FORMATS.values() for name in wire_format.content_types)
)
# Entered instead of a schedule to disable retries.
NO_RETRIES = "none"
# The form's fields for the parts of the engine's.
RATE_LIMIT = {"rate_limit.requests": "rate_requests", "rate_limit.per": "rate_per"}


class WebhookForm(ModelForm):
    """The fields of ``fields.VALIDATORS`` as a user types them; ``submitted`` has them as the engine expects them."""

    url = forms.CharField(label="URL", max_length=2048, widget=forms.TextInput(attrs={"class": "vLargeTextField"}))
    events = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 3}), help_text="Event types, one per line, or * for all."
    )
    filter = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text='Only events with such data, as JSON: {"data": {"action": "opened"}}. Leave blank for all.',
    )
    format = forms.ChoiceField(required=False, help_text="The default is the organization's format.")
    content_type = forms.ChoiceField(required=False, help_text="The default is the format's content type.")
    headers = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        label="Custom headers",
        help_text=f"One “Name: value” per line. Replaces all custom headers; the value {formats.MASK} keeps the stored "
        "one. Leave blank to keep all headers.",
    )
    drop_headers = forms.BooleanField(required=False, label="Remove all custom headers")
    secret = forms.CharField(
        required=False,
        label="Signing secret",
        help_text="Leave blank to generate a secret, which is shown once, after saving.",
        strip=False,
    )
    retry_schedule = forms.CharField(
        required=False,
        help_text=f"Delays in seconds, such as “60, 300, 1800”, or “{NO_RETRIES}” to disable retries. Leave blank for "
        "the default.",
    )
    timeout = forms.FloatField(required=False, help_text="Seconds per attempt. Leave blank for the default.")
    max_in_flight = forms.IntegerField(
        required=False, help_text="Leave blank for the default.", label="Maximum requests in flight"
    )
    rate_requests = forms.IntegerField(
        required=False, label="Rate limit", help_text="Requests, at an even pace. Leave blank for no limit."
    )
    rate_per = forms.IntegerField(
        required=False, label="Rate limit, per", help_text="Seconds in which there are so many requests; 1 by default."
    )

    verify = forms.ChoiceField(
        required=False,
        label="Verify the URL",
        help_text="Nothing is sent to the URL, or to another one later, before it has echoed a challenge, or consented "
        "in the handshake of CloudEvents' Web Hooks.",
    )
    expires_at = forms.SplitDateTimeField(
        required=False,
        label="Lease ends",
        widget=AdminSplitDateTime,
        help_text="From then on the webhook gets no events. Leave blank for no end.",
    )

    # When the webhook was last changed, as the page was loaded; absent in what a program sends.
    version = forms.CharField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Webhook
        fields = ("organization", "repository", "name", "verify_ssl", "auto_disable")
        labels: ClassVar = {
            "verify_ssl": "Enable SSL verification",
            "auto_disable": "Disable automatically after repeated failures",
        }

    PLAIN: ClassVar = ("name", "url", "events", "format", "content_type", "verify_ssl", "auto_disable", "max_in_flight")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_new = self.instance.pk is None
        self._choices("format", format_choices(self.instance))
        self._choices("content_type", [(name, name) for name in CONTENT_TYPES])
        self._offer_proofs()
        if self.is_new:
            self.fields.pop("version", None)
        else:
            self.initial.update(initial_values(self.instance))
        if self.instance.is_polled:
            for name in (*kinds.ABOUT_SENDING, "rate_requests", "rate_per"):
                self.fields.pop(name, None)

    def _choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields.get(name)
        if isinstance(field, forms.ChoiceField):
            # An existing webhook has a value; only for a new one can it be left to the default.
            field.choices = [("", "Default"), *choices] if self.is_new else choices
            field.required = not self.is_new
            field.help_text = field.help_text if self.is_new else ""

    def _offer_proofs(self) -> None:
        field = self.fields.get("verify")
        if isinstance(field, forms.ChoiceField):
            # A subscriber at a hub has a proof that no owner may choose.
            offered = {*proofs.OWNERS, self.instance.proof}
            field.choices = [("", "No"), *[choice for choice in proofs.choices() if choice[0] in offered]]

    def _post_clean(self) -> None:
        """Leave the instance unchanged: the engine creates, changes and validates webhooks."""

    def clean(self) -> dict[str, Any]:
        """Validate by the engine's rules, and show each error next to its field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        self.submitted = self._read_fields(cleaned)
        organization, repository = cleaned.get("organization"), cleaned.get("repository")
        if repository is not None and organization is not None and repository.organization_id != organization.pk:
            self.add_error("repository", f"Select a repository of {organization}.")
        try:
            if self.is_new:
                default = organization.wire_format if isinstance(organization, Organization) else formats.DEFAULT
                validate({"format": default, **self.submitted})
            else:
                validate_change(self.instance, self.submitted)
        except InvalidFields as error:
            self.show(error)
        except vault.Unreadable as error:
            self.add_error(None, f"The webhook's stored secrets cannot be decrypted: {error}.")
        if self.submitted and cleaned.get("version") not in {None, "", self.initial.get("version")}:
            self._show_what_changed()
        return cleaned

    def _show_what_changed(self) -> None:
        """Show what is stored in the fields that would be replaced, and let the user send the form again."""
        differing = [name for name in self.changed_data if name != "version" and name in self.initial]
        stored = "; ".join(f"{self[name].label}: {self.initial[name] or '–'}" for name in differing)
        self.add_error(
            None,
            "The webhook has been changed since this page was loaded, and nothing was saved. Save again to replace "
            f"what is stored now. {stored}",
        )
        seen = cast("QueryDict", self.data).copy()
        seen[self.add_prefix("version")] = self.initial["version"]
        self.data = seen

    def show(self, error: InvalidFields) -> None:
        """Show each error next to its field."""
        for name, message in error.errors.items():
            field = RATE_LIMIT.get(name, name)
            self.add_error(field if field in self.fields else None, message)

    def _read_fields(self, cleaned: dict[str, Any]) -> dict[str, object]:
        """Return the input as ``validate`` expects it; for an existing webhook only the changed fields."""
        changed = {name for name in self.changed_data if name in cleaned}
        fields: dict[str, object] = {}
        for name in changed & {*self.PLAIN, "secret"}:
            value = cleaned[name]
            # An empty field of a new webhook means the default of the format or the organization.
            if not (self.is_new and value in {"", None}):
                fields[name] = value
        if "events" in fields:
            fields["events"] = str(fields["events"]).replace(",", " ").split()
        fields |= {name: cleaned[name] for name in ("timeout", "expires_at") if name in changed}
        if "verify" in changed:
            fields["verify"] = cleaned["verify"] or None
        if changed & {"rate_requests", "rate_per"}:
            requests = cleaned.get("rate_requests")
            limit = {"requests": requests, "per": cleaned.get("rate_per") or 1}
            fields["rate_limit"] = None if requests is None else limit
        for name, read in (("filter", self._read_filter), ("retry_schedule", self._read_schedule)):
            if name in changed:
                fields[name] = read(cleaned[name])
        if cleaned.get("headers") and (self.is_new or "headers" in changed):
            fields["headers"] = self._read_headers(cleaned["headers"])
        elif cleaned.get("drop_headers"):
            fields["headers"] = {}
        return fields

    def _read_filter(self, text: str) -> object:
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            self.add_error("filter", f"Enter valid JSON: {error}")
            return None

    def _read_schedule(self, text: str) -> list[float] | None:
        if not text.strip():
            return None
        if text.strip().lower() == NO_RETRIES:
            return []
        try:
            return [float(word) for word in text.replace(",", " ").split()]
        except ValueError:
            self.add_error("retry_schedule", f"Enter delays in seconds, separated by commas, or “{NO_RETRIES}”.")
            return None

    def _read_headers(self, text: str) -> dict[str, str]:
        headers = {}
        for line in text.splitlines():
            name, colon, value = line.partition(":")
            if not line.strip():
                continue
            if not colon:
                self.add_error("headers", "Enter one “Name: value” per line.")
                continue
            if name.strip() in headers:
                self.add_error("headers", f"Duplicate header: {name.strip()}.")
            headers[name.strip()] = value.strip()
        return headers


def format_choices(webhook: Webhook) -> list[tuple[str, str]]:
    """Return the formats to choose from, including the webhook's own if this version does not know it."""
    choices = formats.choices()
    is_known = webhook.pk is None or webhook.format in formats.FORMATS
    return choices if is_known else [*choices, (webhook.format, f"{webhook.format} (not supported by this version)")]


def initial_values(webhook: Webhook) -> dict[str, object]:
    """Return a webhook's fields as a user would type them."""
    schedule = webhook.retry_schedule
    return {
        "version": webhook.changed_at.isoformat(),
        "url": webhook.shown_url,
        "events": "\n".join(webhook.events),
        "headers": "\n".join(masked_headers_of(webhook)),
        "format": webhook.format,
        "content_type": webhook.content_type,
        "timeout": None if webhook.timeout is None else webhook.timeout.total_seconds(),
        "max_in_flight": webhook.max_in_flight,
        "rate_requests": webhook.rate_requests,
        "rate_per": webhook.rate_per,
        "filter": "" if webhook.own_filter is None else json.dumps(webhook.own_filter, ensure_ascii=False, indent=2),
        "verify": webhook.proof or "",
        "expires_at": webhook.expires_at,
        "retry_schedule": ""
        if schedule is None
        else ", ".join(f"{wait.total_seconds():g}" for wait in schedule) or NO_RETRIES,
    }


def masked_headers_of(webhook: Webhook) -> list[str]:
    """Return a webhook's custom headers as lines to edit, with masked values; none if they cannot be decrypted."""
    try:
        return [f"{name}: {formats.MASK}" for name in vault.headers_of(webhook)]
    except vault.Unreadable:
        return []
