"""Columns of arrays and their index, for projects that do not have ``django.contrib.postgres`` among their apps.

Django 6 reports its absence as an error, for the lookups and types that it registers. None of them is used here.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib.postgres import fields, indexes
from django.core.checks import CheckMessage

__all__ = ["ArrayField", "GinIndex"]

NOT_INSTALLED = "postgres.E005"


class _ArrayField(fields.ArrayField):  # type: ignore[type-arg]  # generic in the stubs only
    def check(self, **options: Any) -> list[CheckMessage]:
        """Return what is wrong with the column."""
        return _without_absence(super().check(**options))

    def deconstruct(self) -> Any:
        """Return Django's field for migrations: the column is the same."""
        name, _, arguments, options = super().deconstruct()
        return name, "django.contrib.postgres.fields.ArrayField", arguments, options


class GinIndex(indexes.GinIndex):
    """An index of the elements of arrays."""

    def check(self, *where: Any) -> list[CheckMessage]:
        """Return what is wrong with the index."""
        parent: Any = super()
        return _without_absence(parent.check(*where) if hasattr(parent, "check") else ())


def _without_absence(found: Iterable[CheckMessage]) -> list[CheckMessage]:
    return [each for each in found if each.id != NOT_INSTALLED]


if TYPE_CHECKING:
    from django.contrib.postgres.fields import ArrayField
else:
    # To type checkers it is Django's field, whose type depends on its options.
    ArrayField = _ArrayField
