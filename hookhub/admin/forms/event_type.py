"""The form of a registered event type."""

import json
from typing import Any

from deliveries.webhooks.fields import InvalidFields
from hookhub.admin.forms import ModelForm
from hookhub.event_types import registry
from hookhub.models import CustomEventType


class EventTypeForm(ModelForm):
    """The same fields as in the API; schema and example are JSON, and both are optional."""

    class Meta:
        model = CustomEventType
        fields = ("organization", "type", "description", "schema", "example")

    def clean(self) -> dict[str, Any]:
        """Validate by the same rules as the API, and show each error next to its field."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        # Of an existing one, only what was changed; invalid JSON can be neither validated nor stored.
        names = {*self.fields} if self.instance.pk is None else {*self.changed_data}
        texts = [name for name in ("type", "description") if name in names and name in cleaned]
        self.submitted: dict[str, object] = {name: cleaned[name] for name in texts}
        for name in names & {"schema", "example"}:
            if (value := self._read(name, cleaned.get(name))) is not None or not self.errors.get(name):
                self.submitted[name] = value
        try:
            registry.validate(self.submitted, stored=None if self.instance.pk is None else self.instance)
        except InvalidFields as error:
            for path, message in error.errors.items():
                field = path.partition(".")[0].partition("[")[0]
                self.add_error(field if field in self.fields else None, f"{path}: {message}")
        return cleaned

    def _read(self, name: str, text: str | None) -> Any:
        if not text or not text.strip():
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            self.add_error(name, f"Enter valid JSON: {error}")
            return None
