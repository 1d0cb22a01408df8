"""HMAC signatures of bytes, as text."""

import base64
import hmac
from functools import lru_cache


def sha256_hex(key: bytes, content: bytes) -> str:
    """Return the HMAC-SHA256 of ``content`` in lower-case hexadecimal."""
    return _digest(key, content, algorithm="sha256").hex()


def sha1_hex(key: bytes, content: bytes) -> str:
    """Return the HMAC-SHA1 of ``content`` in lower-case hexadecimal, for receivers written before 2020."""
    return _digest(key, content, algorithm="sha1").hex()


def hex_digest(key: bytes, content: bytes, *, algorithm: str) -> str:
    """Return the HMAC of ``content`` with this algorithm of hashlib, in lower-case hexadecimal."""
    return _digest(key, content, algorithm=algorithm).hex()


def sha256_base64(key: bytes, content: bytes) -> str:
    """Return the HMAC-SHA256 of ``content`` in standard base64."""
    return base64.b64encode(_digest(key, content, algorithm="sha256")).decode()


def _digest(key: bytes, content: bytes, *, algorithm: str) -> bytes:
    code = _keyed(key, algorithm).copy()
    code.update(content)
    return code.digest()


# Hashing a kilobyte costs less than preparing the key for it, so the prepared state of a busy webhook's key is kept.
@lru_cache(maxsize=4096)
def _keyed(key: bytes, algorithm: str) -> hmac.HMAC:
    return hmac.new(key, digestmod=algorithm)
