"""The words by which a webhook can ask for an event."""

import re

EVERYTHING = "*"
TYPE = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
TYPE_LONGEST = 200
TYPE_RULE = "use up to 200 letters, digits, underscores and hyphens, in words joined by single dots, like issues.opened"


def is_type(text: str) -> bool:
    """Tell whether ``text`` can name an event type."""
    return len(text) <= TYPE_LONGEST and TYPE.fullmatch(text) is not None


def topics_of(event_type: str, data: object) -> tuple[str, ...]:
    """Give every word that asks for such an event: ``*``, its type, its family, and the type joined to its action."""
    family = event_type.partition(".")[0]
    found = [EVERYTHING, event_type]
    if family != event_type:
        found.append(family)
    elif isinstance(data, dict) and isinstance(action := data.get("action"), str):
        # GitHub names the family in the type and the rest in the payload.
        joined = f"{event_type}.{action}"
        if is_type(joined):
            found.append(joined)
    return tuple(found)
