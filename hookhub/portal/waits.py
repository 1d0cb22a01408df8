"""The waits of a retry schedule as an owner reads and types them: ``1 min, 5 min, 2 h``."""

import re
from collections.abc import Sequence
from datetime import timedelta

from django.utils.translation import gettext

UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1), "s": timedelta(seconds=1)}
# Also what is often typed for them.
NAMES = {**UNITS, "m": UNITS["min"], "sec": UNITS["s"], "": UNITS["s"]}
WAIT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([a-z]*)")


class Misread(ValueError):
    """The text is no list of waits; the message says which part."""


def written(waits: Sequence[timedelta]) -> str:
    """Return waits as text, each exactly, in the largest unit that divides it."""
    return ", ".join(map(_written, waits))


def _written(wait: timedelta) -> str:
    for name, unit in UNITS.items():
        if wait >= unit and not wait % unit:
            return f"{wait // unit} {name}"
    return f"{wait.total_seconds():g} s"


def read(text: str) -> list[float]:
    """Return the waits in a text, in seconds; raise Misread if there is something else in it."""
    found = []
    for part in filter(None, (part.strip() for part in text.lower().split(","))):
        match = WAIT.fullmatch(part)
        if match is None or match[2] not in NAMES:
            message = gettext("“%(part)s” is not a time; write for example “30 s, 5 min, 2 h”.")
            raise Misread(message % {"part": part[:50]})
        found.append(float(match[1]) * NAMES[match[2]].total_seconds())
    return found
