"""How often an event has passed through HookHub: the header that ends loops of deliveries that publish events.

Every delivery carries ``HookHub-Hops: <deployment>=<times>, …``, one entry for each deployment that the event has
passed through. Entries are only ever added up, so a header that was copied twice counts for more and never for less.
"""

import re

HEADER = "HookHub-Hops"
# More deployments than this do not follow one another by design, and the header has to stay small.
MAX_DEPLOYMENTS = 16
_ENTRY = re.compile(r"([0-9a-f]{12})=([1-9][0-9]{0,3})")


class InvalidHops(ValueError):
    """The header is not as HookHub writes it, or an event has passed too often; the message is a sentence."""


class TooManyHops(InvalidHops):
    """The event has passed through this deployment as often as it may."""


def read(text: str) -> dict[str, int]:
    """Return how often an event has passed through each deployment; raises InvalidHops."""
    counts: dict[str, int] = {}
    for part in text.split(",", MAX_DEPLOYMENTS * 4):
        entry = _ENTRY.fullmatch(part.strip())
        if entry is None:
            raise InvalidHops(
                f"{HEADER} is not as HookHub wrote it. Pass on the header of the delivery that made you publish, "
                "unchanged, or leave it out."
            )
        counts[entry[1]] = counts.get(entry[1], 0) + int(entry[2])
    if len(counts) > MAX_DEPLOYMENTS:
        raise TooManyHops(f"The event has passed through more than {MAX_DEPLOYMENTS} deployments of HookHub.")
    return counts


def require_few(text: str | None, *, deployment: str, limit: int) -> str | None:
    """Return what to remember with an event that was published with this header; raises InvalidHops, TooManyHops."""
    if text is None:
        return None
    counts = read(text)
    if counts.get(deployment, 0) > limit:
        raise TooManyHops(
            f"The event has already been published here {limit + 1} times in a row, each time because of its own "
            "delivery. It is refused to end the loop: see that no webhook leads back to this HookHub."
        )
    return written(counts)


def after_this_one(text: str | None, *, deployment: str) -> str:
    """Return the header of a delivery of an event that was published with the header ``text``, or without one."""
    if text is None:
        return f"{deployment}=1"
    counts = read(text)
    counts[deployment] = counts.get(deployment, 0) + 1
    return written(counts)


def written(counts: dict[str, int]) -> str:
    """Return the counts as the header has them."""
    return ", ".join(f"{deployment}={count}" for deployment, count in counts.items())
