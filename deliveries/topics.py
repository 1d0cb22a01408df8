"""The words by which a webhook can ask for an event."""

import re

EVERYTHING = "*"
TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
TYPE_LONGEST = 200
# Only the engine tells of webhooks: who could publish such an event could raise false alarms.
RESERVED = "webhook."
# A type of a hundred words must not be stored with a hundred families.
FAMILIES_MOST = 4
TYPE_RULE = "use up to 200 letters, digits, underscores and hyphens, in words joined by single dots, like issues.opened"


def is_type(text: str) -> bool:
    """Tell whether ``text`` can name an event type."""
    return len(text) <= TYPE_LONGEST and TYPE.fullmatch(text) is not None


def families_of(event_type: str) -> tuple[str, ...]:
    """Give every word that stands for a type and its like, the shortest first: ``repo`` and ``repo.sync``."""
    words = event_type.split(".")
    return tuple(".".join(words[:count]) for count in range(1, min(len(words), FAMILIES_MOST + 1)))


def joined(event_type: str, data: object) -> str | None:
    """Give the type joined to the action that its data names, as GitHub has it, or None when that is no type."""
    if "." in event_type or not isinstance(data, dict) or not isinstance(action := data.get("action"), str):
        return None
    name = f"{event_type}.{action}"
    # Who publishes must not be able to have it look as if HookHub itself had spoken.
    return name if is_type(name) and not name.startswith(RESERVED) else None


def topics_of(event_type: str, data: object) -> tuple[str, ...]:
    """Give every word that asks for such an event: ``*``, its type, its families, and the type joined to its action."""
    if "." in event_type:
        return (EVERYTHING, event_type, *families_of(event_type))
    name = joined(event_type, data)
    return (EVERYTHING, event_type) if name is None else (EVERYTHING, event_type, name)
