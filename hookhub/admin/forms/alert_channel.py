"""The form of an alert channel."""

from copy import copy
from typing import Any, ClassVar

from django import forms

from deliveries import timezone
from deliveries.policy.incidents import LEVELS
from deliveries.rates import TooMany
from deliveries.webhooks.fields import InvalidFields
from hookhub.admin.forms import ModelForm
from hookhub.alerts import channels
from hookhub.models import KINDS, AlertChannel, AlertKind


class AlertChannelForm(ModelForm):
    """The same fields as in the API."""

    kinds = forms.MultipleChoiceField(
        choices=[(kind.value, kind.label) for kind in AlertKind if kind.value in KINDS],
        widget=forms.CheckboxSelectMultiple,
        initial=list(KINDS),
    )
    from_percent = forms.TypedChoiceField(
        choices=[(level, f"{level} %") for level in LEVELS],
        coerce=int,
        initial=LEVELS[0],
        label="From",
        help_text="Of the warnings that a webhook keeps failing, only those from this percentage on.",
    )
    recipients = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="For e-mail: addresses, one per line. Leave blank for the owners of the organization.",
    )
    url = forms.CharField(required=False, label="URL", help_text="For all other types. Shown with its secret masked.")
    enabled = forms.BooleanField(required=False, initial=True)

    class Meta:
        model = AlertChannel
        fields = ("organization", "repository", "type", "name", "kinds", "from_percent", "recipients")
        help_texts: ClassVar = {"repository": "Only about the webhooks of this repository. Leave blank for all."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:  # noqa: SLF001 - the id is there before the row
            self.initial["recipients"] = "\n".join(self.instance.recipients)
            self.initial["url"] = self.instance.stored_url
            self.initial["enabled"] = self.instance.paused_at is None

    def clean_recipients(self) -> list[str]:
        """Return the addresses."""
        return str(self.cleaned_data["recipients"]).replace(",", "\n").split()

    def clean(self) -> dict[str, Any]:
        """Validate by the same rules as the API, and show each error next to its field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        # Of an existing one, only what was changed.
        given = cleaned if self.instance._state.adding else {*self.changed_data} & cleaned.keys()  # noqa: SLF001
        names = [name for name in channels.FIELDS if name in given]
        # Without the masked URL, the URL stays as it is.
        self.submitted: dict[str, object] = {name: cleaned[name] for name in names if name != "url" or cleaned["url"]}
        if self.errors:
            return cleaned
        channel = copy(self.instance)
        if "organization" in cleaned:
            channel.organization = cleaned["organization"]
        channel.type = cleaned.get("type", channel.type)
        try:
            channels.set_fields(channel, self.submitted, now=timezone.now())
        except InvalidFields as error:
            for name, message in error.errors.items():
                self.add_error(name if name in self.fields else None, f"{name}: {message}")
        except TooMany as error:
            self.add_error(None, str(error))
        return cleaned
