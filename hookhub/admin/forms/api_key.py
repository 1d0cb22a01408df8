"""The form of an API key: its scope, expiry and allowed networks."""

from typing import Any, ClassVar

from django import forms

from deliveries import timezone
from hookhub import api_keys
from hookhub.admin.forms import ModelForm
from hookhub.http import networks
from hookhub.models import ApiKey


class ApiKeyForm(ModelForm):
    """Requires an organization, unless a superuser ticks that the key acts for every one."""

    acts_for_all = forms.BooleanField(
        required=False,
        label="Access to all organizations",
        help_text="Creates an operator key. With the scope master it has full access to every organization.",
    )
    networks = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        label="Allowed networks",
        help_text="IP addresses and networks from which the key can be used, one per line. Leave blank to allow all.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "organization", "scope", "expires_at")
        help_texts: ClassVar = {"expires_at": "Leave blank for no expiration."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "networks" in self.fields:
            self.initial["networks"] = "\n".join(self.instance.allowed_networks)

    def clean_networks(self) -> list[str]:
        """Return the networks in canonical notation."""
        lines = self.cleaned_data["networks"].replace(",", "\n").splitlines()
        try:
            return networks.normalized([line for line in lines if line.strip()])
        except networks.InvalidNetworks as error:
            raise forms.ValidationError(f"The list {error}." if "entries" in str(error) else f"{error}.") from error

    def clean_expires_at(self) -> Any:
        """Reject an expiry in the past, unless it is unchanged."""
        expires_at = self.cleaned_data["expires_at"]
        error = api_keys.expiry_error(expires_at, now=timezone.now())
        if error is not None and "expires_at" in self.changed_data:
            raise forms.ValidationError(f"The time {error}.")
        return expires_at

    def clean(self) -> dict[str, Any]:
        """Require either an organization or the tick, and not both."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "organization" not in self.fields or "organization" in self.errors:
            return cleaned
        acts_for_all = bool(cleaned.get("acts_for_all"))
        if not acts_for_all and cleaned.get("organization") is None:
            more = ", or check “Access to all organizations”" if "acts_for_all" in self.fields else ""
            self.add_error("organization", f"Select an organization{more}.")
        if acts_for_all and cleaned.get("organization") is not None:
            self.add_error("acts_for_all", "Leave the organization blank for a key with access to all organizations.")
        return cleaned

    def changes(self) -> dict[str, object]:
        """Return the changed fields of an existing key, by their names in the API."""
        names = {"name": "name", "expires_at": "expires_at", "networks": "allowed_networks"}
        return {names[name]: self.cleaned_data[name] for name in self.changed_data if name in names}
