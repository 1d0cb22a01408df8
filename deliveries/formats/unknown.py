"""The placeholder for a wire format that this version does not know, for example during a rollout or a rollback."""

from typing import ClassVar

from deliveries.formats.base import Format, Message, Rendered
from deliveries.formats.policies import SecretPolicy


class Unknown(Format):
    """Sends nothing, and masks everything that the real format might keep secret."""

    slug: ClassVar[str] = "unknown"
    title: ClassVar[str] = "Unknown"
    reserved_headers: ClassVar[frozenset[str]] = frozenset()
    # No secret can be used.
    secret_policy: ClassVar[SecretPolicy] = SecretPolicy.NONE
    url_is_secret: ClassVar[bool] = True

    def __init__(self, slug_elsewhere: str) -> None:
        self.slug_elsewhere = slug_elsewhere

    def render(self, message: Message) -> Rendered:
        """Raise a LookupError that names the unknown format and the remedies."""
        raise LookupError(
            f"this worker's version of HookHub does not know the wire format {self.slug_elsewhere!r}; "
            "upgrade all workers, or change the webhook's format"
        )
