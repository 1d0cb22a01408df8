"""Keyset pagination of a log: page ten thousand costs what page one costs, and nothing is counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, Prefetch, Q, QuerySet
from django.db.models.expressions import Combinable
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from hookhub.admin.base import PluralTitle, ReadOnly
from hookhub.admin.filters import LogFilter

# How many rows one page may scan for a filter that no index serves. However rare the matching rows are, a page scans no
# more than this, and shows where to continue.
REACH = 50_000
OLDER, NEWER = "older", "newer"

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """The sort columns of a log, all in one direction; the last of them is unique."""

    columns: tuple[str, ...]
    descending: bool

    def turned(self) -> "Order":
        """Return the reverse order."""
        return Order(self.columns, not self.descending)

    def names(self) -> list[str]:
        """Return the arguments for ``order_by``."""
        return [f"-{column}" if self.descending else column for column in self.columns]

    def behind(self, key: Key, *, inclusive: bool = False) -> Q:
        """Return the condition for the rows after ``key``."""
        step = "lt" if self.descending else "gt"
        *lead, (last, value) = zip(self.columns, key, strict=True)
        wanted = Q(**{f"{last}__{step}{'e' if inclusive else ''}": value})
        for column, value in reversed(lead):
            # In this form the index on the leading column serves the whole condition.
            wanted = Q(**{f"{column}__{step}e": value}) & (Q(**{f"{column}__{step}": value}) | wanted)
        return wanted

    def read(self, text: str, model: type[Model]) -> Key:
        """Return the key in a URL parameter; raise ValueError if it is invalid."""
        words = text.split("~")
        if len(words) != len(self.columns):
            raise ValueError("its position belongs to another list")
        fields = {field.attname: field for field in model._meta.fields}
        try:
            return tuple(fields[column].to_python(word) for column, word in zip(self.columns, words, strict=True))
        except ValidationError as error:
            raise ValueError("its position is malformed") from error


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of a page in order, and the keys at which the adjacent pages start."""

    rows: list[Any]
    newer: str | None
    older: str | None
    # Whether the scan ended before the log did, so that more rows may follow although the page is not full.
    was_cut: bool = False


def read_page(
    rows: QuerySet[Any], *, order: Order, start: Key | None, backwards: bool, size: int, served: QuerySet[Any] | None
) -> Page:
    """Return the page after ``start``, or the one before it if ``backwards``.

    If no index serves the whole filter, ``served`` are the rows that an index finds for a part of it, and REACH of them
    are scanned for the rest; else it is None.
    """
    walk, all_rows = order.turned() if backwards else order, rows
    if start is not None:
        rows = rows.filter(walk.behind(start))
    edge = None
    if served is not None:
        edge = _edge_of_reach(served, walk=walk, start=start)
        if edge is not None:
            rows = rows.filter(walk.turned().behind(edge, inclusive=True))
    found = list(rows.order_by(*walk.names())[: size + 1])
    is_full = len(found) > size
    found = found[:size]
    onward = _key_of(found[-1], order) if is_full else edge
    was_cut = edge is not None and not is_full
    if not backwards:
        back = None if start is None else _key_of(found[0], order) if found else edge or start
        return Page(found, newer=_write(back), older=_write(onward), was_cut=was_cut)
    if onward is None:
        # The start of the log is reached: a full first page is more useful than the few rows before the previous page.
        return read_page(all_rows, order=order, start=None, backwards=False, size=size, served=served)
    found.reverse()
    back = _key_of(found[-1], order) if found else edge
    return Page(found, newer=_write(onward), older=_write(back), was_cut=was_cut)


def _edge_of_reach(served: QuerySet[Any], *, walk: Order, start: Key | None) -> Key | None:
    """Return the key of the last row that one page may scan, or None if the log ends before it."""
    if start is not None:
        served = served.filter(walk.behind(start))
    keys = served.order_by(*walk.names()).values_list(*walk.columns)[REACH - 1 : REACH]
    return next(iter(keys), None)


def _key_of(row: Model, order: Order) -> Key:
    return tuple(getattr(row, column) for column in order.columns)


def _write(key: Key | None) -> str | None:
    if key is None:
        return None
    return "~".join(value.isoformat() if hasattr(value, "isoformat") else str(value) for value in key)


class LogChangeList(ChangeList):
    """Django's change list with keyset pagination."""

    model_admin: "LogAdmin"
    page: Page

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        """Return the rows that the filters find; the position in the log is not a filter."""
        for name in (OLDER, NEWER):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        found: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return found

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:
        """Return the log's own order, which cannot be changed."""
        return [*self.order.names()]

    @property
    def order(self) -> Order:
        """Return the order that suits the filters."""
        return self.model_admin.order_for(self.wanted)

    @property
    def wanted(self) -> dict[str, str]:
        """Return the values of the active filters, by parameter."""
        return {spec.parameter_name: value for spec in self._specs if (value := spec.value())}

    @property
    def _specs(self) -> list[LogFilter]:
        return [spec for spec in self.filter_specs if isinstance(spec, LogFilter)]

    def get_results(self, request: HttpRequest) -> None:
        """Read one page, without counting anything."""
        backwards = NEWER in request.GET
        rows = self.queryset.prefetch_related(*self.model_admin.shown_with())
        self.page = read_page(
            rows.only(*self.model_admin.columns),
            order=self.order,
            start=self._start(request, request.GET.get(NEWER if backwards else OLDER)),
            backwards=backwards,
            size=self.list_per_page,
            served=self._served_by_index(request),
        )
        self.result_list = self.page.rows
        self.result_count = len(self.page.rows)
        self.paginator = Paginator(self.page.rows, self.list_per_page)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.full_result_count = None
        self.show_admin_actions = bool(self.page.rows)

    def _start(self, request: HttpRequest, text: str | None) -> Key | None:
        if not text:
            return None
        try:
            return self.order.read(text, self.model)
        except ValueError as error:
            messages.error(request, f"Invalid page link: {error}. Showing the first page.")
            return None

    def _served_by_index(self, request: HttpRequest) -> QuerySet[Any] | None:
        """Return the rows found by those filters that an index serves, or None if it serves all of them."""
        served = self.model_admin.served_by_index(self.wanted)
        # A search by id uses the primary key, whatever the filters are.
        if self.query or served >= self.wanted.keys() or self.queryset.query.is_empty():
            return None
        rows = self.root_queryset
        for spec in self._specs:
            if spec.parameter_name in served:
                rows = spec.queryset(request, rows)
        return rows

    @property
    def newer_address(self) -> str | None:
        """Return the URL of the previous page, or None on the first one."""
        return self.page.newer and self.get_query_string({NEWER: self.page.newer})

    @property
    def older_address(self) -> str | None:
        """Return the URL of the next page, or None on the last one."""
        return self.page.older and self.get_query_string({OLDER: self.page.older})

    @property
    def first_address(self) -> str:
        """Return the URL of the first page."""
        return self.get_query_string()

    @property
    def reach(self) -> int:
        """Return the limit of rows to scan, for the note under a page that was cut."""
        return REACH


class LogAdmin(PluralTitle, ReadOnly):
    """A read-only log, newest first: no counting, no sorting, no deep offsets, and only the declared filters."""

    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    list_per_page = 100
    change_list_template = "hookhub/admin/log.html"
    # The search finds a row by its id.
    key_lookups = ()
    # The columns that the list loads; large ones are left out.
    columns: Sequence[str] = ()

    def order_for(self, wanted: dict[str, str]) -> Order:
        """Return the order that suits the filters."""
        return Order(("id",), descending=True)

    def served_by_index(self, wanted: dict[str, str]) -> set[str]:
        """Return those filters that one index serves in the list's order."""
        raise NotImplementedError

    def shown_with(self) -> list["Prefetch[Any]"]:
        """Return the prefetches for what the list shows of other tables."""
        return []

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the change list with keyset pagination."""
        return LogChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows with an exact id; a term that is not an id shows an error message."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            messages.error(request, f"Search: {term[:100]!r} is not a valid ID.")
            return queryset.none(), False
        return queryset.filter(self.found_by(wanted)), False

    def found_by(self, wanted: UUID) -> Q:
        """Return the condition for what an id may refer to in this log."""
        return Q(id=wanted)

    def show(self, request: HttpRequest, template: str, shown: Model, **context: object) -> HttpResponse:
        """Render an object's own page."""
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "title": f"{self.opts.verbose_name} {shown.pk}".capitalize(),
                "opts": self.opts,
                "original": shown,
                "has_view_permission": True,
                "media": self.media,
                **context,
            },
        )

    def find(self, request: HttpRequest, object_id: str) -> Any:
        """Return the object with this id; raise PermissionDenied, or Http404 if the user cannot see it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        return found
