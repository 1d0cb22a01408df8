"""Loop detection for deliveries that cause new events: the header that counts an event's hops through HookHub.

Every delivery carries ``HookHub-Hops: <deployment>=<times>, …``, with one entry per deployment that the event has
passed through. Duplicate entries are summed, so a header that was copied twice can only increase the count.
"""

import re

HEADER = "HookHub-Hops"
# No sensible setup chains more deployments than this, and the header must stay small.
MAX_DEPLOYMENTS = 16
_ENTRY = re.compile(r"([0-9a-f]{12})=([1-9][0-9]{0,3})")


class InvalidHops(ValueError):
    """The header is malformed or a limit is exceeded; the message is a sentence for the publisher."""


class TooManyHops(InvalidHops):
    """The event has passed through this deployment, or through different deployments, too often."""


def parse(text: str) -> dict[str, int]:
    """Return the number of hops through each deployment; raises InvalidHops, TooManyHops for too many deployments."""
    counts: dict[str, int] = {}
    for part in text.split(",", MAX_DEPLOYMENTS * 4):
        entry = _ENTRY.fullmatch(part.strip())
        if entry is None:
            raise InvalidHops(
                f"{HEADER} is malformed. Pass on the header of the delivery that caused this event, unchanged, "
                "or omit it."
            )
        counts[entry[1]] = counts.get(entry[1], 0) + int(entry[2])
    if len(counts) > MAX_DEPLOYMENTS:
        raise TooManyHops(f"The event has passed through more than {MAX_DEPLOYMENTS} HookHub deployments.")
    return counts


def validate(text: str | None, *, deployment: str, limit: int) -> str | None:
    """Return the header in normal form, to store with the event, or None without a header.

    Raises InvalidHops if it is malformed, and TooManyHops if it counts more than ``limit`` hops through ``deployment``.
    """
    if text is None:
        return None
    counts = parse(text)
    if counts.get(deployment, 0) > limit:
        raise TooManyHops(
            f"Loop detected: the event has been published here {limit + 1} times in a row, each time caused by its own "
            "delivery. Make sure that no webhook leads back to this HookHub."
        )
    return to_header(counts)


def add_hop(text: str | None, *, deployment: str) -> str:
    """Return the header of a delivery: one hop more through ``deployment`` than ``text``, the event's own header."""
    if text is None:
        return f"{deployment}=1"
    counts = parse(text)
    counts[deployment] = counts.get(deployment, 0) + 1
    return to_header(counts)


def to_header(counts: dict[str, int]) -> str:
    """Return the counts as a header value."""
    return ", ".join(f"{deployment}={count}" for deployment, count in counts.items())
