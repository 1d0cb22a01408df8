"""The limit that an owner sets on the rate of a webhook's requests, and what it may be."""

from collections.abc import Mapping
from typing import NamedTuple

# From a request every ten seconds to ten thousand a second, over an hour at most.
MAX_PER = 3600
MAX_SECONDS_A_REQUEST = 10
MAX_REQUESTS_A_SECOND = 10_000


class RateLimit(NamedTuple):
    """So many ``requests`` in any ``per`` seconds, or up to a tenth more."""

    requests: int
    per: int


class InvalidRateLimit(ValueError):
    """Parts of a limit are invalid. ``errors`` maps each to the error, a sentence without its subject."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{part}: {error}" for part, error in errors.items()))
        self.errors = dict(errors)


def check(value: object) -> RateLimit:
    """Return a limit as its owner writes it: ``{"requests": 10, "per": 1}``. Raise InvalidRateLimit or ValueError."""
    if not isinstance(value, dict) or value.keys() - set(RateLimit._fields):
        raise ValueError('must be an object such as {"requests": 10, "per": 1}, or null for no limit')
    errors = {}
    requests, per = (_whole(value.get(part)) for part in RateLimit._fields)
    if per is None or not 1 <= per <= MAX_PER:
        errors["per"] = f"must be a whole number of seconds from 1 to {MAX_PER}"
        shortest, longest = 1, MAX_PER
    else:
        shortest = longest = per
    least, most = -(-shortest // MAX_SECONDS_A_REQUEST), longest * MAX_REQUESTS_A_SECOND
    if requests is None or not least <= requests <= most:
        errors["requests"] = f"must be a whole number from {least} to {most}, for 0.1 to 10000 a second"
    errors |= {part: "is required" for part in RateLimit._fields if value.get(part) is None}
    if errors or requests is None or per is None:
        raise InvalidRateLimit(errors)
    return RateLimit(requests, per)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
