"""The form of an organization, with how its portal looks."""

import json
from typing import Any

from django import forms

from deliveries.limits import LIMITS
from deliveries.models import Organization
from deliveries.webhooks.fields import InvalidFields
from hookhub import branding
from hookhub.admin.forms.named import NamedForm
from hookhub.models import PortalSettings

OF_PORTAL = ("product_name", "accent_color", "logo", "embed_origins")


class Showable(json.JSONDecoder):
    """Decodes JSON that a form can show again; of what else is invalid, Django's field expects this one error only."""

    def decode(self, s: str, *args: Any) -> Any:
        """Return what is decoded; raise JSONDecodeError also for what is nested too deeply, or no text of UTF-8."""
        try:
            found = super().decode(s, *args)
            json.dumps(found, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), s, 0) from error
        return found


class OrganizationForm(NamedForm):
    """The same fields as in the API, those of the portal's settings included."""

    product_name = forms.CharField(required=False, help_text="At the head of each page of the portal.")
    accent_color = forms.CharField(required=False, help_text="Of buttons and of the head, such as #1a2b3c.")
    logo = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="A small PNG, JPEG, WebP, GIF or SVG image as a data: URL in base64.",
    )
    embed_origins = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Origins whose pages may embed the portal, such as https://app.example, one per line.",
    )

    class Meta:
        model = Organization
        fields = "__all__"
        help_texts = {  # noqa: RUF012 - as Django reads it
            "slug": "The organization's name in URLs, API requests and events.",
            "default_dialect": "The system whose event types, wire format and /v1/webhooks API are the defaults.",
            "default_format": "The wire format of webhooks created without one. Leave blank for that of the default "
            "dialect. SocialGateway's sends X-SocialGateway-Event; receivers that expect X-GitHub-Event need github.",
            "validate_events": "Reject events that do not match the schema of their type.",
            "create_repositories": "Create a repository when its first event is published.",
            "verify_webhooks": "Have the URLs of new webhooks, and new URLs, echo a challenge before anything is sent "
            "to them. Slack and Discord cannot, so webhooks in their formats are refused.",
            "limits": f"JSON object with any of: {', '.join(LIMITS)}. 0 means no limit. Leave blank for the defaults.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(limits := self.fields.get("limits"), forms.JSONField):
            limits.decoder = Showable
        stored = PortalSettings.objects.filter(organization=self.instance.pk).first() or PortalSettings()
        for name in OF_PORTAL:
            value = getattr(stored, name)
            self.initial[name] = value if isinstance(value, str) else "\n".join(value)

    def clean(self) -> dict[str, Any]:
        """Read the settings of the portal by the rules of the API, and show each error next to its field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        given = {name: cleaned[name] for name in OF_PORTAL if name in self.changed_data and name in cleaned}
        if "embed_origins" in given:
            given["embed_origins"] = given["embed_origins"].split()
        self.of_portal: dict[str, Any] = {}
        try:
            self.of_portal = branding.read(given)
        except InvalidFields as error:
            for name, message in error.errors.items():
                self.add_error(name, f"{name}: {message}")
        return cleaned
