"""Encryption of secrets at rest: seal with the first key, open with any, so that keys can be rotated.

A sealed value is ``hh2:``, the key id, a nonce and the AES-256-GCM ciphertext. The row and the column are the
associated data, so a value that is copied to another row or column cannot be opened.
"""

import base64
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PREFIX = b"hh2:"
KEY_LENGTH = 32
KEY_ID_LENGTH = 8
NONCE_LENGTH = 12
HEADER_LENGTH = len(PREFIX) + KEY_ID_LENGTH + NONCE_LENGTH
# Column names in the associated data. They must stay the same if a column is renamed, or nothing opens.
SECRETS, HEADERS, URL = "webhook.secrets", "webhook.headers", "webhook.url"
CHANGE = "verification.change"

Sealed = bytes | memoryview


class Unreadable(Exception):
    """A sealed value, of ``what``, cannot be opened with the configured keys."""

    def __init__(self, what: str = "") -> None:
        super().__init__(
            f"{what} is " * bool(what)
            + "encrypted with a key that is not in HOOKHUB_ENCRYPTION_KEYS; append the old key to that setting again"
        )


class Tampered(Unreadable):
    """A sealed value belongs to another row or column, or was altered."""

    def __init__(self) -> None:
        Exception.__init__(
            self, "encrypted for another webhook, or altered; set the webhook's secret and headers again"
        )


class NoLiveSecret(Exception):
    """All secrets of a webhook have expired, and nothing is sent unsigned."""

    def __init__(self) -> None:
        super().__init__("all secrets of the webhook have expired; rotate its secret")


@dataclass(frozen=True, slots=True)
class Secret:
    """One signing secret; it signs until ``expires_at``, or forever if that is None."""

    # Not part of the repr, so that it does not appear in tracebacks and logs.
    text: str = field(repr=False)
    expires_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Return whether the secret still signs at ``now``."""
        return self.expires_at is None or now < self.expires_at


class SealedWebhook(Protocol):
    """The attributes of a webhook that are needed to open its secrets."""

    @property
    def uid(self) -> UUID:
        """Return the webhook's id, to which the sealed values are bound."""

    @property
    def sealed_secrets(self) -> Sealed:
        """Return the sealed signing secrets."""

    @property
    def sealed_headers(self) -> Sealed | None:
        """Return the sealed custom headers, or None if there are none."""


def secrets_of(webhook: SealedWebhook) -> tuple[Secret, ...]:
    """Return a webhook's secrets, newest first. Raise Unreadable if they cannot be opened."""
    return open_secrets(webhook.sealed_secrets, of=webhook.uid)


def headers_of(webhook: SealedWebhook) -> dict[str, str]:
    """Return a webhook's custom headers. Raise Unreadable if they cannot be opened."""
    return open_headers(webhook.sealed_headers, of=webhook.uid)


def headers_to_show(webhook: SealedWebhook) -> dict[str, str]:
    """Return a webhook's custom headers, or {} if they cannot be opened: a list of webhooks must not fail for that."""
    try:
        return headers_of(webhook)
    except Unreadable:
        return {}


def has_secret(webhook: SealedWebhook) -> bool:
    """Return whether a webhook has a signing secret; True if it cannot be opened."""
    try:
        return bool(secrets_of(webhook))
    except Unreadable:
        return True


def seal_secrets(secrets: tuple[Secret, ...], *, of: UUID | str) -> bytes:
    """Seal the secrets of the webhook with the id ``of``, newest first."""
    rows = [[secret.text, secret.expires_at.isoformat() if secret.expires_at else None] for secret in secrets]
    return _seal(rows, context=context_of(SECRETS, of))


def open_secrets(sealed: Sealed, *, of: UUID | str) -> tuple[Secret, ...]:
    """Return the secrets of the webhook with the id ``of``, newest first. Raise Unreadable."""
    return _open_secrets(bytes(sealed), context_of(SECRETS, of), settings.HOOKHUB_ENCRYPTION_KEYS)


def live_secrets(sealed: Sealed, *, of: UUID | str, now: datetime) -> tuple[Secret, ...]:
    """Return the webhook's secrets that sign at ``now``, newest first. Raise Unreadable, or NoLiveSecret for none."""
    live = tuple([secret for secret in open_secrets(sealed, of=of) if secret.is_live(now)])
    if not live:
        raise NoLiveSecret
    return live


def seal_headers(headers: dict[str, str], *, of: UUID | str) -> bytes | None:
    """Seal the custom headers; return None if there are none."""
    return _seal(headers, context=context_of(HEADERS, of)) if headers else None


def open_headers(sealed: Sealed | None, *, of: UUID | str) -> dict[str, str]:
    """Return the custom headers of the webhook with the id ``of``. Raise Unreadable."""
    if not sealed:
        return {}
    return dict(_open_headers(bytes(sealed), context_of(HEADERS, of), settings.HOOKHUB_ENCRYPTION_KEYS))


def seal_text(text: str, *, column: str, of: UUID | str) -> str:
    """Seal a text for one column and row; return it base64-encoded."""
    sealed = encrypt(text.encode(), context_of(column, of), settings.HOOKHUB_ENCRYPTION_KEYS[0])
    return base64.b64encode(sealed).decode()


def open_text(sealed: str, *, column: str, of: UUID | str) -> str:
    """Return the text that ``seal_text`` sealed for this column and row. Raise Unreadable."""
    try:
        found = base64.b64decode(sealed, validate=True)
    except ValueError as error:
        raise Tampered from error
    return decrypt(found, context_of(column, of), settings.HOOKHUB_ENCRYPTION_KEYS).decode()


def seal_url(url: str, *, of: UUID | str) -> bytes:
    """Seal a webhook's URL."""
    return _seal(url, context=context_of(URL, of))


def open_url(sealed: Sealed, *, of: UUID | str) -> str:
    """Return a webhook's URL. Raise Unreadable."""
    return _open_url(bytes(sealed), context_of(URL, of), settings.HOOKHUB_ENCRYPTION_KEYS)


def seal_change(change: dict[str, object], *, of: UUID | str) -> bytes:
    """Seal the fields that wait for the verification with the id ``of``."""
    return _seal(change, context=context_of(CHANGE, of))


def open_change(sealed: Sealed, *, of: UUID | str) -> dict[str, Any]:
    """Return the fields that ``seal_change`` sealed for this verification. Raise Unreadable."""
    found: dict[str, Any] = json.loads(decrypt(bytes(sealed), context_of(CHANGE, of), settings.HOOKHUB_ENCRYPTION_KEYS))
    return found


def reseal(sealed: Sealed, *, column: str, of: UUID | str) -> bytes:
    """Return the content sealed with the first key; unchanged if it already is. Raise Unreadable."""
    found, keys, context = bytes(sealed), settings.HOOKHUB_ENCRYPTION_KEYS, context_of(column, of)
    content = decrypt(found, context, keys)
    return found if is_current(found) else encrypt(content, context, keys[0])


def is_current(sealed: Sealed) -> bool:
    """Return whether a value has the current form and was sealed with the first key."""
    return bytes(sealed[: HEADER_LENGTH - NONCE_LENGTH]) == PREFIX + _key_id(settings.HOOKHUB_ENCRYPTION_KEYS[0])


def _seal(content: object, *, context: bytes) -> bytes:
    return encrypt(json.dumps(content).encode(), context, settings.HOOKHUB_ENCRYPTION_KEYS[0])


# Opening takes microseconds, but a busy webhook's secrets are needed thousands of times a second.
@lru_cache(maxsize=4096)
def _open_secrets(sealed: bytes, context: bytes, keys: tuple[str, ...]) -> tuple[Secret, ...]:
    return tuple(
        Secret(text, datetime.fromisoformat(expires_at) if expires_at else None)
        for text, expires_at in json.loads(decrypt(sealed, context, keys))
    )


@lru_cache(maxsize=4096)
def _open_headers(sealed: bytes, context: bytes, keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(json.loads(decrypt(sealed, context, keys)).items())


@lru_cache(maxsize=4096)
def _open_url(sealed: bytes, context: bytes, keys: tuple[str, ...]) -> str:
    return str(json.loads(decrypt(sealed, context, keys)))


def context_of(column: str, row: UUID | str) -> bytes:
    """Return the associated data that binds a sealed value to one column of one row."""
    return f"{column}:{row}".encode()


def encrypt(content: bytes, context: bytes, key: str) -> bytes:
    """Seal bytes with ``key``, with ``context`` as the associated data."""
    nonce = os.urandom(NONCE_LENGTH)
    return PREFIX + _key_id(key) + nonce + _cipher(key).encrypt(nonce, content, context)


def decrypt(sealed: bytes, context: bytes, keys: tuple[str, ...]) -> bytes:
    """Open bytes that were sealed with this ``context``. Raise Unreadable or Tampered."""
    if not sealed.startswith(PREFIX):
        raise Unreadable
    key_id = sealed[len(PREFIX) : len(PREFIX) + KEY_ID_LENGTH]
    key = next((key for key in keys if _key_id(key) == key_id), None)
    if key is None or len(sealed) <= HEADER_LENGTH:
        raise Unreadable
    try:
        nonce = sealed[HEADER_LENGTH - NONCE_LENGTH : HEADER_LENGTH]
        return _cipher(key).decrypt(nonce, sealed[HEADER_LENGTH:], context)
    except InvalidTag as error:
        raise Tampered from error


@lru_cache(maxsize=16)
def _cipher(key: str) -> AESGCM:
    # Derived, because a key must serve one purpose only.
    return AESGCM(HKDF(SHA256(), length=32, salt=None, info=b"hookhub secrets at rest").derive(_bytes_of(key)))


@lru_cache(maxsize=16)
def _key_id(key: str) -> bytes:
    return sha256(b"hookhub key id" + _bytes_of(key)).digest()[:KEY_ID_LENGTH]


def _bytes_of(key: str) -> bytes:
    found = base64.urlsafe_b64decode(key)
    if len(found) != KEY_LENGTH:
        raise ValueError("an encryption key must be 32 url-safe base64-encoded bytes")
    return found
