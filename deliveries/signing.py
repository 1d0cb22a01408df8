"""HMAC signatures of bytes, as text."""

import base64
import hashlib
import hmac


def sha256_hex(key: bytes, content: bytes) -> str:
    """Return the HMAC-SHA256 of ``content`` in lower-case hexadecimal."""
    return hmac.digest(key, content, hashlib.sha256).hex()


def sha1_hex(key: bytes, content: bytes) -> str:
    """Return the HMAC-SHA1 of ``content`` in lower-case hexadecimal, for receivers written before 2020."""
    return hmac.digest(key, content, hashlib.sha1).hex()


def sha256_base64(key: bytes, content: bytes) -> str:
    """Return the HMAC-SHA256 of ``content`` in standard base64."""
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
