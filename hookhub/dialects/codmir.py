"""codmir at `/v1/webhooks`: HookHub's own shapes, codmir's event types and wire format."""

from typing import ClassVar

from hookhub.dialects.native import Native


class Codmir(Native):
    """Its document shows one request and no answer, so all it has of its own is the vocabulary."""

    slug: ClassVar[str] = "codmir"
