"""Read the filters of a list of deliveries from its address; what is wrong with one is said beside its field."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.http import Http404
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.log_search import LogFilter
from deliveries.models import Delivery

FIELDS = ("webhook", "state", "type", "after", "before", "status", "text")
MAX_LENGTH = 255
STATUS = re.compile(r"[1-5][0-9][0-9]|[1-5]xx")
# No id is of an earlier time.
FIRST = datetime(1970, 1, 1, tzinfo=UTC)
STATE_NAMES: Mapping[str, Promise] = {
    Delivery.State.PENDING: gettext_lazy("pending"),
    Delivery.State.SENDING: gettext_lazy("sending"),
    Delivery.State.DELIVERED: gettext_lazy("delivered"),
    Delivery.State.FAILED: gettext_lazy("failed"),
    Delivery.State.HELD: gettext_lazy("held"),
    Delivery.State.CANCELLED: gettext_lazy("cancelled"),
}


@dataclass(frozen=True, slots=True)
class Position:
    """Where in the list a page begins: after ``start``, or at the newest if None, towards older or newer deliveries."""

    start: UUID | None = None
    to_newer: bool = False


@dataclass(slots=True)
class Filters:
    """The filters as they were given, what they mean, and an error for each that means nothing."""

    given: dict[str, str]
    log_filter: LogFilter = field(default_factory=LogFilter)
    errors: dict[str, str] = field(default_factory=dict)

    def link(self, **position: object) -> str:
        """Return the query of another page of the same list."""
        return urlencode({**self.given, **{name: str(value) for name, value in position.items()}})

    def fields(self) -> dict[str, dict[str, str]]:
        """Return the value and the error of each field, for a template."""
        return {name: {"value": self.given.get(name, ""), "error": self.errors.get(name, "")} for name in FIELDS}


def read(parameters: Mapping[str, Any]) -> Filters:
    """Return the filters in the parameters of an address."""
    given = {name: text for name in FIELDS if (text := str(parameters.get(name, "")).strip())}
    found = Filters(given)
    meant: dict[str, Any] = {}
    for name, text in given.items():
        try:
            meant[name] = READERS[name](text)
        except ValueError as error:
            found.errors[name] = str(error)
    after, before = meant.get("after"), meant.get("before")
    if after is not None and before is not None and before <= after:
        found.errors["before"] = _("It must be later than the beginning.")
    if not found.errors:
        found.log_filter = LogFilter(
            state=meant.get("state", ""),
            event_type=meant.get("type", ""),
            after=after,
            before=before,
            statuses=meant.get("status"),
            text=meant.get("text", ""),
        )
    return found


def read_position(parameters: Mapping[str, Any]) -> Position:
    """Return where the page begins; raise Http404 for what no page links to."""
    for name in ("older", "newer"):
        if text := parameters.get(name):
            try:
                return Position(UUID(text), to_newer=name == "newer")
            except ValueError as error:
                raise Http404 from error
    return Position()


def _state(text: str) -> str:
    if text not in STATE_NAMES:
        raise ValueError(_("There is no such state."))
    return text


def _text(text: str) -> str:
    if len(text) > MAX_LENGTH:
        raise ValueError(_("It is too long."))
    return text


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(_("It must be a time, such as 2026-03-04T12:30.")) from error
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if found < FIRST:
        raise ValueError(_("It is too long ago."))
    return found


def _statuses(text: str) -> tuple[int, int]:
    if not STATUS.fullmatch(text.lower()):
        raise ValueError(_("It must be a status such as 404, or 4xx for all of them."))
    if text[1:].isdigit():
        return int(text), int(text)
    return int(text[0]) * 100, int(text[0]) * 100 + 99


def _webhook(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise ValueError(_("There is no such webhook.")) from error


READERS: Mapping[str, Callable[[str], object]] = {
    "webhook": _webhook,
    "state": _state,
    "type": _text,
    "after": _time,
    "before": _time,
    "status": _statuses,
    "text": _text,
}
