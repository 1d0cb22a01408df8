"""codmir at `/v1/webhooks`: HookHub's shapes with codmir's event types and wire format."""

from collections.abc import Mapping
from typing import Any, ClassVar

from deliveries.models import Organization
from hookhub.api.presenters.native import Native
from hookhub.http.event_type_names import validate_event_types


class Codmir(Native):
    """Differs from native in its event types only, because codmir documents one request and no response."""

    slug: ClassVar[str] = "codmir"

    def validate(self, fields: Mapping[str, Any], *, organization: Organization) -> None:
        """Raise a 422 for event types that codmir does not have."""
        validate_event_types(fields, dialect=self.slug, organization=organization)
