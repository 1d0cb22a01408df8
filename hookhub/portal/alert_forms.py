"""The form of an alert channel; the rules of ``channels`` say what is valid."""

from typing import Any

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from deliveries.models import Organization, Repository
from deliveries.policy.incidents import LEVELS
from deliveries.webhooks.fields import InvalidFields
from hookhub.models import KINDS, AlertChannel
from hookhub.portal.words import in_words

TYPES = (
    ("email", _("E-mail")),
    ("slack", _("Slack: an incoming webhook")),
    ("teams", _("Microsoft Teams: a workflow")),
    ("webhook", _("A webhook of your own, signed as by Standard Webhooks")),
)
KIND_NAMES = {
    "failing": _("Keeps failing"),
    "disabled": _("Disabled"),
    "recovered": _("Works again"),
    "lease_ending": _("Ends soon"),
    "test": _("Test"),
}
STATE_NAMES = {
    "pending": (_("Waiting"), "waiting"),
    "sent": (_("Sent"), "good"),
    "failed": (_("Failed"), "bad"),
    "superseded": (_("Replaced by a later alert"), "quiet"),
}


class AlertChannelForm(forms.Form):
    """The fields of a channel as an owner types them; ``submitted`` has them as ``channels`` expects them."""

    type = forms.ChoiceField(choices=TYPES, widget=forms.RadioSelect, label=_("Where to"), initial="email")
    name = forms.CharField(required=False, max_length=200, label=_("Name"), help_text=_("For you to recognize it."))
    recipients = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        label=_("E-mail addresses"),
        help_text=_("One per line. Leave it empty for the owners of the organization."),
    )
    url = forms.CharField(
        required=False,
        max_length=2048,
        label=_("URL"),
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
        help_text=_("Where to post to. It is shown masked, because it is a secret."),
    )
    kinds = forms.MultipleChoiceField(
        choices=[(kind, KIND_NAMES[kind]) for kind in KINDS],
        widget=forms.CheckboxSelectMultiple,
        label=_("Tell when a webhook"),
        initial=list(KINDS),
    )
    from_percent = forms.TypedChoiceField(
        choices=[(level, f"{level} %") for level in LEVELS],
        coerce=int,
        initial=LEVELS[0],
        label=_("Warn from"),
        help_text=_(
            "How much of what disables a webhook must be used up before it is announced that it keeps failing."
        ),
    )
    repository = forms.CharField(
        required=False,
        max_length=255,
        label=_("Repository"),
        help_text=_("Only about its webhooks. Leave it empty for all."),
    )
    enabled = forms.BooleanField(required=False, initial=True, label=_("Enabled"))

    def __init__(self, data: Any, *, organization: Organization, channel: AlertChannel | None) -> None:
        super().__init__(data, initial=None if channel is None else initial_of(channel))
        self.organization = organization
        kind = None if channel is None else channel.type
        if kind is not None:
            # The type is fixed, and with it which of the two fields there is.
            del self.fields["type"]
            del self.fields["url" if kind == "email" else "recipients"]

    def clean(self) -> dict[str, Any]:
        """Read the fields as ``channels`` expects them."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        submitted = {name: value for name, value in cleaned.items() if name not in {"recipients", "repository"}}
        if "recipients" in cleaned:
            submitted["recipients"] = cleaned["recipients"].replace(",", "\n").split()
        if not submitted.get("url"):
            # The URL of an existing channel stays as it is.
            submitted.pop("url", None)
        submitted["repository"] = self._repository(cleaned.get("repository", ""))
        self.submitted: dict[str, object] = submitted
        return cleaned

    def _repository(self, name: str) -> Repository | None:
        short = name.strip().rpartition("/")[2]
        if not short:
            return None
        found = None
        if "\0" not in short:
            found = Repository.objects.filter(organization=self.organization, name=short).first()
        if found is None:
            self.add_error("repository", gettext("There is no repository of this name."))
        return found

    def show(self, error: InvalidFields) -> None:
        """Show each error beside its field."""
        for name, message in error.errors.items():
            sentence = in_words(message)
            if name in self.fields:
                self.add_error(name, sentence)
            else:
                self.add_error(None, f"{capfirst(name)}: {sentence}")


def initial_of(channel: AlertChannel) -> dict[str, object]:
    """Return a channel's fields as an owner would type them."""
    return {
        "name": channel.name,
        "recipients": "\n".join(channel.recipients),
        "url": channel.stored_url,
        "kinds": channel.kinds,
        "from_percent": channel.from_percent,
        "repository": "" if channel.repository is None else channel.repository.name,
        "enabled": channel.paused_at is None,
    }
