"""The JSON that HookHub writes itself, byte for byte as JavaScript's JSON.stringify writes it.

Receivers that check a signature over ``JSON.stringify(body)`` instead of the raw body accept it so.
"""

import json

# A double holds every whole number up to here; JavaScript writes 1.0 as 1.
_MAX_SAFE_INTEGER = 2**53

# Made once: json.dumps makes a new encoder for each call with separators, and envelopes are written with each attempt.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(value: object) -> bytes:
    """Return a value as compact JSON in UTF-8, lone surrogates as escapes; raises ValueError for NaN and infinity."""
    return _ENCODER.encode(_with_whole_numbers(value)).encode(errors="backslashreplace")


def _with_whole_numbers(value: object) -> object:
    """Return a value in which whole floats are integers, as JavaScript writes them."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _MAX_SAFE_INTEGER else value
    if isinstance(value, dict):
        return {name: _with_whole_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_whole_numbers(inner) for inner in value]
    return value
