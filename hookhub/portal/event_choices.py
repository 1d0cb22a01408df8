"""The event types of an organization as a form offers them: in groups, each type with its description."""

from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from django.utils.translation import gettext

from deliveries.event_types.catalogue import EventType

# Up to so many types are shown at once; of more, only the groups in which one is chosen are open.
MAX_OPEN = 20


class Choice(NamedTuple):
    """An event type, and whether it is chosen."""

    type: str
    description: str
    is_chosen: bool


class Group(NamedTuple):
    """Event types under one heading."""

    title: str
    choices: list[Choice]
    is_open: bool


def grouped(offered: dict[str, EventType], chosen: Collection[str]) -> list[Group]:
    """Return the event types in groups: one for each family with several types, and before them one for the rest."""
    families: defaultdict[str, list[EventType]] = defaultdict(list)
    for each in offered.values():
        families[each.family].append(each)
    several = {family: types for family, types in families.items() if len(types) > 1}
    single = [types[0] for types in families.values() if len(types) == 1]
    found = [(gettext("General") if several else gettext("Event types"), single)] if single else []
    found += several.items()
    return [_group(title, types, chosen, is_short=len(offered) <= MAX_OPEN) for title, types in found]


def _group(title: str, types: list[EventType], chosen: Collection[str], *, is_short: bool) -> Group:
    choices = [Choice(each.type, gettext(each.description), each.type in chosen) for each in types]
    return Group(title, choices, is_short or any(choice.is_chosen for choice in choices))
