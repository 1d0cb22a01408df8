"""codmir at `/v1/webhooks`: HookHub's own shapes, codmir's event types and wire format."""

from collections.abc import Mapping
from typing import Any, ClassVar

from deliveries.models import Organization
from hookhub.dialects.native import Native
from hookhub.dialects.vocabulary import refuse_unknown


class Codmir(Native):
    """Its document shows one request and no answer, so all it has of its own is the vocabulary."""

    slug: ClassVar[str] = "codmir"

    def check(self, wanted: Mapping[str, Any], *, organization: Organization) -> None:
        """Refuse events it does not have."""
        refuse_unknown(wanted, dialect=self.slug, organization=organization)
