"""Secrets at rest: sealed with the first key, opened with any, so that keys can be rotated."""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class Unreadable(Exception):
    """What was sealed cannot be opened with the keys at hand."""

    def __init__(self) -> None:
        super().__init__("sealed with a key that is not in HOOKHUB_ENCRYPTION_KEYS; put the old key back at its end")


class NoLiveSecret(Exception):
    """None of a webhook's secrets signs any more, and nothing goes out unsigned."""

    def __init__(self) -> None:
        super().__init__("none of the webhook's secrets is live; rotate its secret")


@dataclass(frozen=True, slots=True)
class Secret:
    """One signing secret; it signs until ``expires_at``, or for ever when that is None."""

    text: str
    expires_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Tell whether it still signs."""
        return self.expires_at is None or now < self.expires_at


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal_secrets(secrets: tuple[Secret, ...]) -> bytes:
    """Seal a webhook's secrets, newest first."""
    rows = [[secret.text, secret.expires_at.isoformat() if secret.expires_at else None] for secret in secrets]
    return _seal(rows)


def open_secrets(sealed: bytes | memoryview) -> tuple[Secret, ...]:
    """Open a webhook's secrets, newest first; raises Unreadable."""
    return _open_secrets(bytes(sealed), settings.HOOKHUB_ENCRYPTION_KEYS)


def live_secrets(sealed: bytes | memoryview, *, now: datetime) -> tuple[Secret, ...]:
    """Open those of a webhook's secrets that sign now, newest first; raises Unreadable, and NoLiveSecret."""
    live = tuple([secret for secret in open_secrets(sealed) if secret.is_live(now)])
    if not live:
        raise NoLiveSecret
    return live


def seal_headers(headers: dict[str, str]) -> bytes | None:
    """Seal the owner's own headers, or give None when there are none."""
    return _seal(headers) if headers else None


def open_headers(sealed: bytes | memoryview | None) -> dict[str, str]:
    """Open the owner's own headers; raises Unreadable."""
    return dict(_open_headers(bytes(sealed), settings.HOOKHUB_ENCRYPTION_KEYS)) if sealed else {}


def reseal(sealed: bytes | memoryview) -> bytes:
    """Seal the same content with the first key; raises Unreadable."""
    try:
        return _box(settings.HOOKHUB_ENCRYPTION_KEYS).rotate(bytes(sealed))
    except InvalidToken as error:
        raise Unreadable from error


def _seal(content: object) -> bytes:
    return _box(settings.HOOKHUB_ENCRYPTION_KEYS).encrypt(json.dumps(content).encode())


# Opening costs tens of microseconds, and a busy webhook's secrets are wanted thousands of times a second.
@lru_cache(maxsize=4096)
def _open_secrets(sealed: bytes, keys: tuple[str, ...]) -> tuple[Secret, ...]:
    return tuple(
        Secret(text, datetime.fromisoformat(expires_at) if expires_at else None)
        for text, expires_at in _open(sealed, keys)
    )


@lru_cache(maxsize=4096)
def _open_headers(sealed: bytes, keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(dict(_open(sealed, keys)).items())


def _open(sealed: bytes, keys: tuple[str, ...]) -> list[tuple[str, str]]:
    try:
        content = json.loads(_box(keys).decrypt(sealed))
    except InvalidToken as error:
        raise Unreadable from error
    return list(content.items()) if isinstance(content, dict) else content
