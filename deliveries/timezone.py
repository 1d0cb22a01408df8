"""The time, always with its zone: Django's own functions and fields leave that out in a project without USE_TZ."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.timezone import localtime, override

__all__ = ["DateTimeField", "aware", "localtime", "now", "override"]


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def aware(moment: datetime) -> datetime:
    """Return a time with its zone, which is the project's if it has none."""
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


class _DateTimeField(models.DateTimeField):  # type: ignore[type-arg]  # generic in the stubs only
    """A column whose values have a zone in every project; in the database they have one anyway."""

    def get_db_converters(self, connection: BaseDatabaseWrapper) -> list[Any]:
        """Return what gives a value the zone of the connection, which Django removed; nothing with USE_TZ."""
        return [] if connection.timezone is not None else [_with_zone]

    def deconstruct(self) -> Any:
        """Return Django's field for migrations: the column is the same."""
        name, _, arguments, options = super().deconstruct()
        return name, "django.db.models.DateTimeField", arguments, options


def _with_zone(value: datetime | None, _expression: object, connection: BaseDatabaseWrapper) -> datetime | None:
    # Django replaced the zone by none and kept the fold, so that the hour that a clock repeats stays unambiguous.
    return None if value is None else value.replace(tzinfo=ZoneInfo(connection.timezone_name)).astimezone(UTC)


if TYPE_CHECKING:
    from django.db.models import DateTimeField
else:
    # To type checkers it is Django's field, whose type depends on its options.
    DateTimeField = _DateTimeField
