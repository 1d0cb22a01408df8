"""Compact JSON, byte for byte as JavaScript's JSON.stringify writes it.

Some receivers verify the signature over ``JSON.stringify(body)`` instead of the raw body; this makes both the same.
"""

import json
from collections.abc import Callable
from functools import lru_cache

# A double holds every integer up to this one exactly. JavaScript writes 1.0 as 1.
_MAX_SAFE_INTEGER = 2**53

# Shared: json.dumps creates a new encoder per call if separators are given, and each attempt writes an envelope.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(value: object, *, default: Callable[[object], object] | None = None) -> bytes:
    """Return ``value`` as compact JSON in UTF-8, unpaired surrogates escaped. Raise ValueError for NaN and infinity.

    ``default`` is called for what JSON has no notation for, and returns something that it has.
    """
    encoder = _ENCODER if default is None else _encoder(default)
    return encoder.encode(_with_whole_numbers(value)).encode(errors="backslashreplace")


@lru_cache(maxsize=4)
def _encoder(default: Callable[[object], object]) -> json.JSONEncoder:
    return json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=default)


def _with_whole_numbers(value: object) -> object:
    """Return a copy of ``value`` in which whole floats are integers, as JavaScript writes them."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _MAX_SAFE_INTEGER else value
    if isinstance(value, dict):
        return {name: _with_whole_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_whole_numbers(inner) for inner in value]
    return value
