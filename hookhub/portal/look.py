"""The portal's page of how it looks, and of who may embed it, for members that own the organization."""

from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _

from deliveries import timezone
from deliveries.webhooks.fields import InvalidFields
from hookhub import branding
from hookhub.models import PortalSession, PortalSettings
from hookhub.portal.access import for_session, page, require_safe_or_post
from hookhub.portal.words import in_words


class LookForm(forms.Form):
    """The settings as an owner types them; ``submitted`` has them as they are stored."""

    product_name = forms.CharField(
        required=False, label=_("Name of the product"), help_text=_("At the head of each page.")
    )
    accent_color = forms.CharField(
        required=False,
        label=_("Accent color"),
        help_text=_(
            "Of buttons and of the head, such as #1a2b3c. Text on it is black or white, whichever reads better."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    logo = forms.CharField(
        required=False,
        label=_("Logo"),
        help_text=_("A small PNG, JPEG, WebP, GIF or SVG image as a data: URL in base64. Leave it empty for none."),
        widget=forms.Textarea(
            attrs={
                "rows": 3, "class": "code", "spellcheck": "false", "data-chooser": _("Choose a file"),
                "data-accepts": "image/png,image/jpeg,image/webp,image/gif,image/svg+xml",
            }
        ),
    )  # fmt: skip
    embed_origins = forms.CharField(
        required=False,
        label=_("Origins that may embed the portal"),
        help_text=_("One per line, such as https://app.example. Their pages can show the portal in an iframe."),
        widget=forms.Textarea(attrs={"rows": 3, "class": "code", "spellcheck": "false"}),
    )

    def clean(self) -> dict[str, Any]:
        """Read the settings by the rules of the API, and show each error beside its field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        given = {
            **cleaned,
            **({"embed_origins": cleaned["embed_origins"].split()} if "embed_origins" in cleaned else {}),
        }
        try:
            self.submitted = branding.read(given)
        except InvalidFields as error:
            for name, message in error.errors.items():
                self.add_error(name, in_words(message))
        return cleaned


@require_safe_or_post
@for_session
def look(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """Show how the portal of the organization looks, and change it; for others than its owners there is no such page.

    As in the API, where that takes a master key: a page that may embed the portal could have its buttons pressed.
    """
    if not session.is_owners:
        raise Http404
    stored = PortalSettings.objects.filter(organization=session.organization_id).first() or PortalSettings()
    form = LookForm(request.POST if request.method == "POST" else None, initial=initial_of(stored))
    status = 200
    if form.is_bound:
        if form.is_valid():
            branding.change(session.organization, form.submitted, now=timezone.now())
            return redirect("portal:look")
        status = 422
    return page(request, session, "look.html", {"form": form, "logo": stored.logo}, status=status)


def initial_of(stored: PortalSettings) -> dict[str, str]:
    """Return the settings as an owner would type them."""
    return {
        "product_name": stored.product_name,
        "accent_color": stored.accent_color,
        "logo": stored.logo,
        "embed_origins": "\n".join(stored.embed_origins),
    }
