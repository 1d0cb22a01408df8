"""Read the log of one webhook in the order of its index, however many rows of others are newer."""

from typing import Any, Self, TypeVar

from django.db import models
from django.db.models import F, Func
from django.db.models.expressions import Combinable

Row = TypeVar("Row", bound=models.Model)

# The orders of an index on webhook and descending id, by the order of ids that they are for.
ORDERS = {("-id",): ("webhook_id", "-id"), ("id",): ("-webhook_id", "id")}


class _IsIn(Func):
    """Whether a column has the value, as one of an array."""

    template = "%(expressions)s::bigint])"
    arg_joiner = " = ANY(ARRAY["
    output_field = models.BooleanField()


class LogQuerySet(models.QuerySet[Row]):
    """Rows of webhooks, with an index on webhook and descending id.

    For the rows of a single webhook in the order of their ids alone, the planner sometimes walks the primary key,
    hoping to meet some of them soon: if that webhook has been quiet for long, it reads all newer rows of others. By an
    array and in the order of the index's columns, only that index is of use.
    """

    _is_of_webhook = False

    def of_webhook(self, webhook_id: int | Combinable) -> Self:
        """Return the rows of one webhook."""
        found = self.filter(_IsIn(F("webhook_id"), webhook_id))
        found._is_of_webhook = True  # noqa: SLF001 - a queryset of this class
        return found

    def order_by(self, *fields: Any) -> Self:
        """Return the rows in this order."""
        return super().order_by(*(ORDERS.get(fields, fields) if self._is_of_webhook else fields))

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._is_of_webhook = self._is_of_webhook
        return clone
