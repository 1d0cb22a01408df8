"""What a format's documentation promises to receivers, and whether its webhooks have a secret."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum


@dataclass(frozen=True, slots=True)
class Policy:
    """What the vendor's documentation promises to receivers; None means the deployment's setting."""

    timeout: timedelta | None = None
    retry_schedule: tuple[timedelta, ...] | None = None
    auto_disable: bool = True


class SecretPolicy(Enum):
    """Whether webhooks of a format have a secret to sign with; if it is optional, an empty one means none."""

    REQUIRED = "always"
    OPTIONAL = "if asked"
    NONE = "never"

    @property
    def allows_secret(self) -> bool:
        """Return whether a webhook can have a secret."""
        return self is not SecretPolicy.NONE

    @property
    def allows_none(self) -> bool:
        """Return whether a webhook can have no secret; then its requests are not signed."""
        return self is not SecretPolicy.REQUIRED
