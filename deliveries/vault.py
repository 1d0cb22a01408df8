"""Secrets at rest: sealed for one row and column with the first key, opened with any, so that keys can be rotated.

A sealed value is ``hh2:``, the id of its key, a nonce, and what AES-256-GCM makes of the content, with the row and the
column as associated data: copied to another row or column it does not open. What earlier versions sealed with Fernet,
which knows nothing of rows, still opens until `manage.py reencrypt_secrets` has sealed it anew.
"""

import base64
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PREFIX = b"hh2:"
KEY_ID_LENGTH = 8
NONCE_LENGTH = 12
HEADER_LENGTH = len(PREFIX) + KEY_ID_LENGTH + NONCE_LENGTH
# The columns, as they are named in what binds a value to its place; renaming a column must not change them.
SECRETS, HEADERS, URL = "webhook.secrets", "webhook.headers", "webhook.url"

Sealed = bytes | memoryview


class Unreadable(Exception):
    """What was sealed cannot be opened with the keys at hand."""

    def __init__(self) -> None:
        super().__init__("sealed with a key that is not in HOOKHUB_ENCRYPTION_KEYS; put the old key back at its end")


class Misplaced(Unreadable):
    """What was sealed belongs to another row or column, or was altered."""

    def __init__(self) -> None:
        Exception.__init__(self, "sealed for another webhook, or altered since; set its secret and headers again")


class NoLiveSecret(Exception):
    """None of a webhook's secrets signs any more, and nothing goes out unsigned."""

    def __init__(self) -> None:
        super().__init__("none of the webhook's secrets is live; rotate its secret")


@dataclass(frozen=True, slots=True)
class Secret:
    """One signing secret; it signs until ``expires_at``, or for ever when that is None."""

    # Not in what is printed of it: tracebacks and logs must not tell it.
    text: str = field(repr=False)
    expires_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Tell whether it still signs."""
        return self.expires_at is None or now < self.expires_at


class SealedWebhook(Protocol):
    """A webhook, as far as opening its secrets goes."""

    @property
    def uid(self) -> UUID:
        """Its id, to which its secrets are bound."""

    @property
    def sealed_secrets(self) -> Sealed:
        """Its signing secrets."""

    @property
    def sealed_headers(self) -> Sealed | None:
        """Its own headers."""


def secrets_of(webhook: SealedWebhook) -> tuple[Secret, ...]:
    """Open a webhook's secrets, newest first; raises Unreadable."""
    return open_secrets(webhook.sealed_secrets, of=webhook.uid)


def headers_of(webhook: SealedWebhook) -> dict[str, str]:
    """Open the owner's own headers; raises Unreadable."""
    return open_headers(webhook.sealed_headers, of=webhook.uid)


def headers_to_show(webhook: SealedWebhook) -> dict[str, str]:
    """Return the owner's own headers, for their names; none where they cannot be opened, so that a list can be read."""
    try:
        return headers_of(webhook)
    except Unreadable:
        return {}


def has_secret(webhook: SealedWebhook) -> bool:
    """Return whether a webhook has a signing secret; one that cannot be opened is one."""
    try:
        return bool(secrets_of(webhook))
    except Unreadable:
        return True


def seal_secrets(secrets: tuple[Secret, ...], *, of: UUID | str) -> bytes:
    """Seal the secrets of the webhook with the id ``of``, newest first."""
    rows = [[secret.text, secret.expires_at.isoformat() if secret.expires_at else None] for secret in secrets]
    return _seal(rows, place=place_of(SECRETS, of))


def open_secrets(sealed: Sealed, *, of: UUID | str) -> tuple[Secret, ...]:
    """Open a webhook's secrets, newest first; raises Unreadable."""
    return _open_secrets(bytes(sealed), place_of(SECRETS, of), settings.HOOKHUB_ENCRYPTION_KEYS)


def live_secrets(sealed: Sealed, *, of: UUID | str, now: datetime) -> tuple[Secret, ...]:
    """Open those of a webhook's secrets that sign now, newest first; raises Unreadable, and NoLiveSecret."""
    live = tuple([secret for secret in open_secrets(sealed, of=of) if secret.is_live(now)])
    if not live:
        raise NoLiveSecret
    return live


def seal_headers(headers: dict[str, str], *, of: UUID | str) -> bytes | None:
    """Seal the owner's own headers, or give None when there are none."""
    return _seal(headers, place=place_of(HEADERS, of)) if headers else None


def open_headers(sealed: Sealed | None, *, of: UUID | str) -> dict[str, str]:
    """Open the owner's own headers; raises Unreadable."""
    place = place_of(HEADERS, of)
    return dict(_open_headers(bytes(sealed), place, settings.HOOKHUB_ENCRYPTION_KEYS)) if sealed else {}


def seal_text(text: str, *, column: str, of: UUID | str) -> str:
    """Return a text sealed for one place, as a text."""
    return base64.b64encode(encrypt(text.encode(), place_of(column, of), settings.HOOKHUB_ENCRYPTION_KEYS[0])).decode()


def open_text(sealed: str, *, column: str, of: UUID | str) -> str:
    """Return the text that was sealed for this place; raises Unreadable."""
    try:
        found = base64.b64decode(sealed, validate=True)
    except ValueError as error:
        raise Misplaced from error
    return decrypt(found, place_of(column, of), settings.HOOKHUB_ENCRYPTION_KEYS).decode()


def seal_url(url: str, *, of: UUID | str) -> bytes:
    """Seal a webhook's URL."""
    return _seal(url, place=place_of(URL, of))


def open_url(sealed: Sealed, *, of: UUID | str) -> str:
    """Open a webhook's URL; raises Unreadable."""
    return _open_url(bytes(sealed), place_of(URL, of), settings.HOOKHUB_ENCRYPTION_KEYS)


def reseal(sealed: Sealed, *, column: str, of: UUID | str) -> bytes:
    """Seal the same content with the first key; what is so already comes back as it is. Raises Unreadable."""
    found, keys, place = bytes(sealed), settings.HOOKHUB_ENCRYPTION_KEYS, place_of(column, of)
    content = decrypt(found, place, keys)
    return found if is_current(found) else encrypt(content, place, keys[0])


def is_current(sealed: Sealed) -> bool:
    """Return whether a value has today's form and was sealed with the first key."""
    return bytes(sealed[: HEADER_LENGTH - NONCE_LENGTH]) == PREFIX + _key_id(settings.HOOKHUB_ENCRYPTION_KEYS[0])


def _seal(content: object, *, place: bytes) -> bytes:
    return encrypt(json.dumps(content).encode(), place, settings.HOOKHUB_ENCRYPTION_KEYS[0])


# Opening costs microseconds, and a busy webhook's secrets are wanted thousands of times a second.
@lru_cache(maxsize=4096)
def _open_secrets(sealed: bytes, place: bytes, keys: tuple[str, ...]) -> tuple[Secret, ...]:
    return tuple(
        Secret(text, datetime.fromisoformat(expires_at) if expires_at else None)
        for text, expires_at in json.loads(decrypt(sealed, place, keys))
    )


@lru_cache(maxsize=4096)
def _open_headers(sealed: bytes, place: bytes, keys: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(json.loads(decrypt(sealed, place, keys)).items())


@lru_cache(maxsize=4096)
def _open_url(sealed: bytes, place: bytes, keys: tuple[str, ...]) -> str:
    return str(json.loads(decrypt(sealed, place, keys)))


# The two forms -------------------------------------------------------------------------------------------------------


def place_of(column: str, row: UUID | str) -> bytes:
    """Return what binds a sealed value to its column of a row."""
    return f"{column}:{row}".encode()


def encrypt(content: bytes, place: bytes, key: str) -> bytes:
    """Seal some bytes for one place."""
    nonce = os.urandom(NONCE_LENGTH)
    return PREFIX + _key_id(key) + nonce + _cipher(key).encrypt(nonce, content, place)


def decrypt(sealed: bytes, place: bytes, keys: tuple[str, ...]) -> bytes:
    """Open what was sealed for a place, or by Fernet for none; raises Unreadable."""
    if not sealed.startswith(PREFIX):
        return _decrypt_fernet(sealed, keys)
    key_id = sealed[len(PREFIX) : len(PREFIX) + KEY_ID_LENGTH]
    key = next((key for key in keys if _key_id(key) == key_id), None)
    if key is None or len(sealed) <= HEADER_LENGTH:
        raise Unreadable
    try:
        return _cipher(key).decrypt(sealed[HEADER_LENGTH - NONCE_LENGTH : HEADER_LENGTH], sealed[HEADER_LENGTH:], place)
    except InvalidTag as error:
        raise Misplaced from error


def _decrypt_fernet(sealed: bytes, keys: tuple[str, ...]) -> bytes:
    try:
        return _fernet(keys).decrypt(sealed)
    except InvalidToken as error:
        raise Unreadable from error


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


@lru_cache(maxsize=16)
def _cipher(key: str) -> AESGCM:
    # Derived, because the same key also opens what Fernet sealed, and a key serves one purpose.
    return AESGCM(HKDF(SHA256(), length=32, salt=None, info=b"hookhub secrets at rest").derive(_bytes_of(key)))


@lru_cache(maxsize=16)
def _key_id(key: str) -> bytes:
    return sha256(b"hookhub key id" + _bytes_of(key)).digest()[:KEY_ID_LENGTH]


def _bytes_of(key: str) -> bytes:
    # Fernet is strict about what is a key; ValueError is what it raises.
    Fernet(key)
    return base64.urlsafe_b64decode(key)
