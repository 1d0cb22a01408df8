"""The text of an API key: ``hh_<id>_<secret><checksum>``, which a secret scanner can verify offline."""

import re
import secrets
import string
from zlib import crc32

# Digits, uppercase, lowercase: the order of base 62 in GitHub's tokens.
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
# 43 base-62 characters hold 256 random bits.
SECRET_LENGTH, CHECKSUM_LENGTH = 43, 6
KEY = re.compile(r"hh_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9]{20,100})")


def new_id() -> str:
    """Return the id of a new key; it is not secret."""
    return secrets.token_hex(6)


def new_secret(key_id: str) -> str:
    """Return a new secret for the key with this id, ending with its checksum."""
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return secret + checksum(f"hh_{key_id}_{secret}")


def text_of(key_id: str, secret: str) -> str:
    """Return the text of a key, as clients send it."""
    return f"hh_{key_id}_{secret}"


def checksum(text: str) -> str:
    """Return the CRC-32 of a key's text before the checksum, as six base-62 digits."""
    number, digits = crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def is_mistyped(key_id: str, secret: str) -> bool:
    """Return whether the secret is too short, too long, or does not end with its checksum."""
    body, given = secret[:SECRET_LENGTH], secret[SECRET_LENGTH:]
    return checksum(f"hh_{key_id}_{body}") != given
