"""Topics: the strings in a webhook's ``events`` list that match an event's type, its family or everything."""

import re

EVERYTHING = "*"
TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
MAX_TYPE_LENGTH = 200
# Event types with this prefix, and these, are published by HookHub only; anyone else could use them to raise false
# alarms.
RESERVED = "webhook."
RESERVED_TYPES = ("delivery.exhausted", "lease.expiring", "lease.expired")
# Bounds the stored topics: a type of a hundred words must not have a hundred families.
MAX_FAMILIES = 4
TYPE_RULE = "use up to 200 letters, digits, underscores and hyphens, with single dots between words, like issues.opened"


def is_type(text: str) -> bool:
    """Return whether ``text`` is a valid event type."""
    return len(text) <= MAX_TYPE_LENGTH and TYPE.fullmatch(text) is not None


def is_reserved(event_type: str) -> bool:
    """Return whether a type is one of HookHub's own system events."""
    return event_type.startswith(RESERVED) or event_type in RESERVED_TYPES


def families_of(event_type: str) -> tuple[str, ...]:
    """Return the families of a type, shortest first: ``repo`` and ``repo.sync`` for ``repo.sync.failed``."""
    words = event_type.split(".")
    return tuple(".".join(words[:count]) for count in range(1, min(len(words), MAX_FAMILIES + 1)))


def joined(event_type: str, data: object) -> str | None:
    """Return the type joined to the ``action`` in its data, as in GitHub's ``issues.opened``, or None if there is none.

    Also None if the type already contains a dot, or if the result is invalid or reserved.
    """
    if "." in event_type or not isinstance(data, dict) or not isinstance(action := data.get("action"), str):
        return None
    name = f"{event_type}.{action}"
    # A publisher must not be able to imitate HookHub's own events.
    return name if is_type(name) and not is_reserved(name) else None


def topics_of(event_type: str, data: object) -> tuple[str, ...]:
    """Return all topics that match an event: ``*``, its type, its families, and the type joined to its action."""
    if "." in event_type:
        return (EVERYTHING, event_type, *families_of(event_type))
    name = joined(event_type, data)
    return (EVERYTHING, event_type) if name is None else (EVERYTHING, event_type, name)


def system_topics(event_type: str) -> tuple[str, ...]:
    """Return the topics that match a system event: its name and, if that is reserved, its family.

    A receiver of all events of its forge must not get HookHub's own, nor one of all events of ``delivery``, which may
    be about parcels.
    """
    return (*families_of(event_type), event_type) if event_type.startswith(RESERVED) else (event_type,)
