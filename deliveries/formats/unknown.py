"""The stand-in for a wire format that this version of HookHub does not know, as while another is rolled out or back."""

from typing import ClassVar, Literal

from deliveries.formats.base import Format, Message, Rendered


class Unknown(Format):
    """Sends nothing, and shows nothing that a format it knows nothing of might keep secret."""

    slug: ClassVar[str] = "unknown"
    title: ClassVar[str] = "Unknown"
    own_headers: ClassVar[frozenset[str]] = frozenset()
    # There is no secret that could be of any use.
    signs: ClassVar[Literal["always", "if asked", "never"]] = "never"
    url_is_secret: ClassVar[bool] = True

    def __init__(self, known_elsewhere_as: str) -> None:
        self.known_elsewhere_as = known_elsewhere_as

    def render(self, message: Message) -> Rendered:
        """Raise a LookupError that says what is unknown, and what to do about it."""
        del message
        raise LookupError(
            f"the version of HookHub that this worker runs does not know the wire format {self.known_elsewhere_as!r}; "
            "have all workers run one that does, or give the webhook another format"
        )
