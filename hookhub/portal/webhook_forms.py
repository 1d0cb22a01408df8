"""The form of a webhook, for a new one and for the settings of one; the engine's rules say what is valid."""

import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any, cast

from django import forms
from django.conf import settings
from django.utils.text import capfirst
from django.utils.translation import gettext, gettext_lazy

from deliveries import formats, proofs, vault
from deliveries.event_types.topics import EVERYTHING
from deliveries.models import Organization, Webhook
from deliveries.webhooks import kinds
from deliveries.webhooks.fields import InvalidFields
from hookhub.event_types import registry
from hookhub.portal import event_choices, waits
from hookhub.portal.format_words import explanation_of
from hookhub.portal.header_rows import HeaderRows
from hookhub.portal.webhook_values import DEFAULT, NONE, OWN, events_in, initial_for_new, initial_of, rate_limit_in
from hookhub.portal.words import in_words

RETRIES = (
    (DEFAULT, gettext_lazy("As usual")),
    (NONE, gettext_lazy("Not at all")),
    (OWN, gettext_lazy("After these waits:")),
)
CONTENT_TYPES = (
    ("", gettext_lazy("As usual")),
    ("json", "JSON"),
    ("form", gettext_lazy("A form with the JSON in one field")),
)
VERIFY = {
    "": gettext_lazy("No"),
    "challenge": gettext_lazy("It echoes a challenge"),
    "handshake": gettext_lazy("It consents, as CloudEvents' Web Hooks have it"),
}
# The form's name for what the engine calls otherwise.
FIELDS = {
    "events": "types",
    "retry_schedule": "waits",
    "rate_limit": "rate_requests",
    "rate_limit.requests": "rate_requests",
    "rate_limit.per": "rate_per",
}
MOMENT = "%Y-%m-%dT%H:%M"


class Words(forms.MultipleChoiceField):
    """Checkboxes that the template writes; the engine says which words are valid."""

    def valid_value(self, value: object) -> bool:
        """Accept any word: an event type may have been removed from the catalogue since the form was shown."""
        return isinstance(value, str)


class WebhookForm(forms.Form):
    """The fields of a webhook as an owner types them; ``submitted`` has them as the engine expects them."""

    name = forms.CharField(
        required=False, max_length=200, label=gettext_lazy("Name"), help_text=gettext_lazy("For you to recognize it.")
    )
    url = forms.CharField(
        max_length=2048,
        label=gettext_lazy("URL"),
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
    )
    repository = forms.CharField(
        required=False,
        max_length=255,
        label=gettext_lazy("Repository"),
        help_text=gettext_lazy("Leave it empty for the events of all."),
    )
    everything = forms.BooleanField(
        required=False, label=gettext_lazy("All event types, also those that are added later")
    )
    types = Words(required=False, label=gettext_lazy("Event types"))
    patterns = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        label=gettext_lazy("Other event types and families"),
        help_text=gettext_lazy(
            "One per line. A family such as “issues” stands for “issues.opened”, “issues.closed” and so on."
        ),
    )
    filter = forms.CharField(
        required=False,
        max_length=8000,
        widget=forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}),
        label=gettext_lazy("Filter"),
        help_text=gettext_lazy(
            'Only events with such data, as JSON: {"data": {"action": "opened"}}. Leave it empty for all.'
        ),
    )
    format = forms.ChoiceField(required=False, label=gettext_lazy("Format"))
    content_type = forms.ChoiceField(required=False, choices=CONTENT_TYPES, label=gettext_lazy("Body"))
    retries = forms.ChoiceField(
        choices=RETRIES, widget=forms.RadioSelect, label=gettext_lazy("Repeat a failed delivery")
    )
    waits = forms.CharField(required=False, max_length=500, label=gettext_lazy("Waits"))
    timeout = forms.FloatField(required=False, label=gettext_lazy("Timeout"))
    max_in_flight = forms.IntegerField(
        required=False,
        label=gettext_lazy("Requests at the same time"),
        help_text=gettext_lazy("At most; leave it empty for the usual number."),
    )
    rate_requests = forms.IntegerField(
        required=False,
        label=gettext_lazy("Rate limit, in requests"),
        help_text=gettext_lazy("At an even pace; leave it empty for no limit."),
    )
    rate_per = forms.IntegerField(required=False, label=gettext_lazy("In so many seconds"))
    auto_disable = forms.BooleanField(
        required=False, label=gettext_lazy("Disable the webhook when its deliveries keep failing")
    )
    verify_ssl = forms.BooleanField(required=False, label=gettext_lazy("Check the certificate of the receiver"))
    verify = forms.ChoiceField(
        required=False,
        choices=list(VERIFY.items()),
        label=gettext_lazy("The receiver proves that it wants the requests"),
        help_text=gettext_lazy("Nothing is sent to the URL, or to another one later, before it has."),
    )
    expires_at = forms.DateTimeField(
        required=False,
        input_formats=(MOMENT, f"{MOMENT}:%S"),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=MOMENT),
        label=gettext_lazy("Ends at (UTC)"),
        help_text=gettext_lazy("From then on it gets no events. Leave it empty for no end."),
    )
    secret = forms.CharField(
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        label=gettext_lazy("Your own signing secret"),
        help_text=gettext_lazy("Leave it empty, and one is made for you and shown once."),
    )
    unsigned = forms.BooleanField(required=False, label=gettext_lazy("Without a secret: requests are not signed"))

    def __init__(
        self, data: Any = None, *, organization: Organization, webhook: Webhook | None, names_repository: bool = False
    ) -> None:
        self.organization, self.webhook = organization, webhook
        super().__init__(data, initial=initial_for_new(organization) if webhook is None else initial_of(webhook))
        stored = {} if webhook is None else vault.headers_to_show(webhook)
        self.headers = HeaderRows(None if data is None else data, stored=list(stored))
        self.offered = registry.types_of(organization)
        listed = formats.choices()
        if webhook is not None and webhook.format not in formats.FORMATS:
            listed.append((webhook.format, webhook.format))
        self._choose("format", listed)
        timeout = settings.HOOKHUB_MAX_TIMEOUT.total_seconds()
        self.fields["timeout"].help_text = gettext(
            "Seconds that a request may take, from 1 to %(most)g; leave it empty for the usual time."
        ) % {"most": timeout}
        if webhook is not None:
            for name in ("repository", "secret", "unsigned"):
                del self.fields[name]
            self._choose("content_type", list(CONTENT_TYPES[1:]))
            if webhook.subscription is not None:
                del self.fields["filter"]
            if webhook.proof not in {None, *proofs.OWNERS}:
                # Subscribers prove themselves as their protocol says.
                del self.fields["verify"]
            if webhook.is_polled:
                for name in {FIELDS.get(field, field) for field in kinds.ABOUT_SENDING} | {"retries", "rate_per"}:
                    self.fields.pop(name, None)
        elif not names_repository:
            del self.fields["repository"]
        self._sort_events()

    def _choose(self, name: str, choices: list[tuple[str, Any]]) -> None:
        cast("forms.ChoiceField", self.fields[name]).choices = choices

    def _sort_events(self) -> None:
        """Let stored event types that the catalogue has not be edited as text."""
        chosen = self.initial["events"]
        self.initial["everything"] = EVERYTHING in chosen
        self.initial["types"] = [word for word in chosen if word in self.offered]
        others = [word for word in chosen if word not in self.offered and word != EVERYTHING]
        self.initial["patterns"] = "\n".join(others)

    def groups(self) -> list[event_choices.Group]:
        """Return the event types to choose from, with those that are chosen now."""
        return event_choices.grouped(self.offered, set(self["types"].value() or ()))

    def format_options(self) -> list[tuple[str, str, str, bool]]:
        """Return each format with its title, what it is good for, and whether it is chosen now."""
        chosen = self["format"].value()
        choices = cast("list[tuple[str, str]]", cast("forms.ChoiceField", self.fields["format"]).choices)
        return [(slug, title, explanation_of(slug), slug == chosen) for slug, title in choices]

    def usual_waits(self) -> str:
        """Return the retry schedule of a webhook without one of its own."""
        wire_format = formats.format_of(str(self["format"].value()))
        usual = wire_format.policy.retry_schedule
        return waits.written(settings.HOOKHUB_RETRY_SCHEDULE if usual is None else usual)

    def clean(self) -> dict[str, Any]:
        """Read what the engine expects; it is valid or not when the engine has seen it."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.headers.errors:
            self.add_error(None, gettext("The headers are not saved."))
        self.submitted = self._read(cleaned)
        return cleaned

    def _read(self, cleaned: Mapping[str, Any]) -> dict[str, object]:
        """Return the fields of a new webhook that were filled in, or those of a stored one that differ from it."""
        fields: dict[str, object] = {
            name: cleaned[name]
            for name in ("name", "url", "format", "auto_disable", "verify_ssl", "timeout", "max_in_flight")
            if name in cleaned
        }
        fields["content_type"] = cleaned.get("content_type") or None
        fields["events"] = events_in(cleaned)
        fields["retry_schedule"] = self._read_waits(cleaned)
        if "expires_at" in cleaned:
            moment = cleaned["expires_at"]
            fields["expires_at"] = None if moment is None else moment.replace(tzinfo=UTC)
        if "rate_requests" in self.fields:
            fields["rate_limit"] = rate_limit_in(cleaned)
        if "verify" in cleaned:
            fields["verify"] = cleaned["verify"] or None
        if "filter" in cleaned:
            fields["filter"] = self._read_filter(cleaned["filter"])
        before = self._stored()
        changed = {name: value for name, value in fields.items() if value != before.get(name)}
        if self.webhook is not None and set(events_in(cleaned)) == set(self.webhook.events):
            changed.pop("events", None)
        if self.webhook is not None and "format" in changed:
            # The body stays as chosen if the new format knows it; otherwise the format decides.
            known = formats.format_of(str(changed["format"])).content_types
            changed |= {"content_type": fields["content_type"]} if fields["content_type"] in known else {}
        if self.headers.changed is not None:
            changed["headers"] = self.headers.changed
        if cleaned.get("secret") or cleaned.get("unsigned"):
            changed["secret"] = "" if cleaned.get("unsigned") else cleaned["secret"]
        return changed

    def _stored(self) -> dict[str, object]:
        """Return the values that need not be sent: what is stored, or the defaults of a new webhook."""
        if self.webhook is None:
            return {"name": "", "verify_ssl": True, "auto_disable": True, "verify": None, "filter": None}
        webhook = self.webhook
        schedule = webhook.retry_schedule
        ends = webhook.expires_at
        return {
            **{name: self.initial[name] for name in ("name", "url", "format", "auto_disable", "verify_ssl", "timeout")},
            "max_in_flight": webhook.max_in_flight,
            "rate_limit": None if webhook.rate_limit is None else webhook.rate_limit._asdict(),
            "content_type": webhook.content_type,
            "events": webhook.events,
            "retry_schedule": None if schedule is None else [wait.total_seconds() for wait in schedule],
            # To the minute, as the form shows it.
            "expires_at": None if ends is None else ends.replace(second=0, microsecond=0),
            "verify": webhook.proof,
            "filter": webhook.own_filter,
        }

    def _read_filter(self, text: str) -> object:
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            self.add_error("filter", gettext("This is not JSON: %(error)s") % {"error": error})
            return None

    def _read_waits(self, cleaned: Mapping[str, Any]) -> list[float] | None:
        if cleaned.get("retries") == NONE:
            return []
        if cleaned.get("retries") != OWN:
            return None
        try:
            found = waits.read(cleaned.get("waits", ""))
        except waits.Misread as error:
            self.add_error("waits", str(error))
            return None
        if not found:
            self.add_error("waits", gettext("Write at least one wait, such as “30 s, 5 min, 2 h”."))
        return found

    def show(self, error: InvalidFields) -> None:
        """Show each error of the engine beside its field."""
        for name, message in error.errors.items():
            field = FIELDS.get(name, name)
            is_none = name == "events" and not self.submitted["events"]
            sentence = gettext("Choose at least one event type.") if is_none else in_words(message)
            if field in self.fields:
                self.add_error(field, sentence)
            elif name == "headers":
                self.headers.errors.append(sentence)
            elif name == "organization":
                self.add_error(None, gettext("The organization: %(message)s") % {"message": sentence})
            else:
                self.add_error(None, f"{capfirst(name)}: {sentence}")
