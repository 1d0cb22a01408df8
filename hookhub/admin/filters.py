"""The filters of the admin's lists: with a few choices, or with a text field."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst

from deliveries import formats, timezone
from deliveries.db.ids import first_id_at
from deliveries.db.lookups import find_one
from deliveries.models import Attempt, Delivery, LogQuerySet, Webhook
from hookhub.admin.tenancy import organizations_of

Rows = QuerySet[Any]

PERIODS = {
    "15m": ("Last 15 minutes", timedelta(minutes=15)),
    "1h": ("Last hour", timedelta(hours=1)),
    "6h": ("Last 6 hours", timedelta(hours=6)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
}


class LogFilter(SimpleListFilter):
    """A filter of a log; the log's class declares which filters an index serves."""

    title: str
    parameter_name: str
    options: ClassVar[dict[str, str]] = {}

    def __init__(self, request: HttpRequest, params: dict[str, list[str]], model: Any, model_admin: Any) -> None:
        # Set first, because the base class asks for the choices in its constructor.
        self.request = request
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: object) -> Iterable[tuple[str, str]]:
        """Return the choices as (value, label) pairs."""
        return self.options.items()

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Return the filtered rows; an invalid value shows an error message and finds nothing."""
        value = self.value()
        if not value:
            return queryset
        try:
            return self.narrow(queryset, value)
        except ValueError as error:
            messages.error(request, f"{capfirst(self.title)} {error}.")
            return queryset.none()

    def narrow(self, rows: Rows, value: str) -> Rows:
        """Return the rows that match ``value``; raise ValueError, with a message to follow the title, if invalid."""
        return rows.filter(**{self.parameter_name: require_known(value, self.options)})


class StateFilter(LogFilter):
    title = "state"
    parameter_name = "state"
    options: ClassVar = {
        "due": "Ready",
        "later": "Scheduled",
        **{state.value: state.label for state in Delivery.State},
    }

    def narrow(self, rows: Rows, value: str) -> Rows:
        if value == "due":
            return rows.filter(state="pending", readiness__gt=Delivery.Readiness.SCHEDULED)
        if value == "later":
            return rows.filter(state="pending", readiness=Delivery.Readiness.SCHEDULED)
        return super().narrow(rows, value)


class OutcomeFilter(LogFilter):
    title = "outcome"
    parameter_name = "outcome"
    options: ClassVar = {outcome.value: capfirst(outcome.label) for outcome in Attempt.Outcome}


class PeriodFilter(LogFilter):
    title = "created"
    parameter_name = "period"
    options: ClassVar = {word: text for word, (text, _) in PERIODS.items()}

    def narrow(self, rows: Rows, value: str) -> Rows:
        _, length = PERIODS[require_known(value, self.options)]
        return rows.filter(id__gte=first_id_at(timezone.now() - length))


class ConditionFilter(LogFilter):
    title = "status"
    parameter_name = "condition"
    options: ClassVar = {
        "active": "Enabled", "failing": "Failing", "backing_off": "Backing off", "unused": "No deliveries yet",
        "disabled": "Disabled", "unverified": "Unverified", "ended": "Ended", "deleted": "Deleted",
    }  # fmt: skip

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Leave out deleted webhooks, unless they are selected."""
        if self.value() != "deleted":
            queryset = queryset.filter(deleted_at=None)
        return super().queryset(request, queryset)

    def narrow(self, rows: Rows, value: str) -> Rows:
        conditions = {
            "active": Q(disabled_at=None),
            "failing": Q(disabled_at=None, failure_count__gt=0),
            "backing_off": Q(disabled_at=None, backoff_until__gt=timezone.now()),
            "unused": Q(last_delivery_at=None),
            "disabled": Q(disabled_at__isnull=False),
            "unverified": Q(proof__isnull=False, verified_at=None),
            "ended": Q(expires_at__lte=timezone.now()),
            "deleted": Q(deleted_at__isnull=False),
        }
        return rows.filter(conditions[require_known(value, self.options)])


class FormatFilter(LogFilter):
    title = "format"
    parameter_name = "format"
    options: ClassVar = dict(formats.choices())


class TextFilter(LogFilter):
    """A filter with a text field, which needs no list of all values; by default of the exact value of ``column``."""

    template = "hookhub/admin/text_filter.html"
    column = ""
    placeholder = ""
    input_type = "text"

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(**{self.column: value.strip()})

    def has_output(self) -> bool:
        """Return True: the field is always shown."""
        return True

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield the context of the form, including the other parameters for its hidden fields."""
        others = {name: value for name, value in changelist.params.items() if name != self.parameter_name}
        yield {
            "others": others,
            "value": self.value() or "",
            "name": self.parameter_name,
            "without": changelist.get_query_string(remove=[self.parameter_name]),
            "placeholder": self.placeholder,
            "input_type": self.input_type,
        }


class OrganizationFilter(TextFilter):
    title = "organization"
    parameter_name = "organization"
    placeholder = "slug"

    def narrow(self, rows: Rows, value: str) -> Rows:
        own = organizations_of(self.request)
        found = own.filter(slug=value.strip()).values_list("pk", flat=True).first()
        if found is None:
            raise ValueError(f"{value[:100]!r} does not exist")
        return rows.filter(organization_id=found)


class WebhookFilter(TextFilter):
    title = "webhook"
    parameter_name = "webhook"
    placeholder = "ID"

    def narrow(self, rows: Rows, value: str) -> Rows:
        own = Webhook.objects.filter(organization__in=organizations_of(self.request))
        found = find_one(own.filter(uid=read_id(value)).values_list("pk", flat=True))
        if found is None:
            raise ValueError(f"{value[:100]} does not exist")
        return cast("LogQuerySet[Any]", rows).of_webhook(found)


class TypeFilter(TextFilter):
    title = "event type"
    parameter_name = "type"
    placeholder = "issues.opened"
    column = "event_type"


class TypeOfEventFilter(TypeFilter):
    column = "type"


class TimeFilter(TextFilter):
    """Filters by creation time, which is the prefix of an id."""

    input_type = "datetime-local"
    bound = ""

    def narrow(self, rows: Rows, value: str) -> Rows:
        try:
            moment = datetime.fromisoformat(value.strip().upper())
        except ValueError as error:
            raise ValueError("must be a time such as 2026-03-04T02:30") from error
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if moment < datetime(1970, 1, 1, tzinfo=UTC):
            raise ValueError("must be 1970 or later")
        return rows.filter(**{f"id__{self.bound}": first_id_at(moment)})


class AfterFilter(TimeFilter):
    title = "created from (UTC)"
    parameter_name = "after"
    bound = "gte"


class BeforeFilter(TimeFilter):
    title = "created before (UTC)"
    parameter_name = "before"
    bound = "lt"


# Filters that are a range of ids, and therefore free wherever a log is read in the order of ids.
TIMES = {PeriodFilter.parameter_name, AfterFilter.parameter_name, BeforeFilter.parameter_name}


def require_known(value: str, options: dict[str, str]) -> str:
    """Return ``value`` if it is one of the options; raise ValueError otherwise."""
    if value not in options:
        raise ValueError(f"must be one of: {', '.join(options)}")
    return value


def read_id(text: str) -> UUID:
    """Return the UUID in ``text``; raise ValueError with a message if it is not one."""
    try:
        return UUID(text.strip())
    except ValueError as error:
        raise ValueError("must be a UUID") from error
