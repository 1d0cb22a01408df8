"""Paging through a log by key: page ten thousand costs what page one costs, and nothing is ever counted."""

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

from hookhub.admin.base import ReadOnly, Titled
from hookhub.admin.filters import LogFilter

# How many rows one page may look at for a filter that no index serves. It is never more than this however rare the
# wanted rows are, and the page says from where to go on.
REACH = 50_000
OLDER, NEWER = "older", "newer"

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """The columns a log is walked by, all in one direction; the last of them is unique."""

    columns: tuple[str, ...]
    descending: bool

    def turned(self) -> "Order":
        """Give the same walk backwards."""
        return Order(self.columns, not self.descending)

    def names(self) -> list[str]:
        """Give what ``order_by`` takes."""
        return [f"-{column}" if self.descending else column for column in self.columns]

    def behind(self, key: Key, *, inclusive: bool = False) -> Q:
        """Select what comes after ``key``."""
        step = "lt" if self.descending else "gt"
        *lead, (last, value) = zip(self.columns, key, strict=True)
        wanted = Q(**{f"{last}__{step}{'e' if inclusive else ''}": value})
        for column, value in reversed(lead):
            # Written so that the index on the leading column is used for the whole of it.
            wanted = Q(**{f"{column}__{step}e": value}) & (Q(**{f"{column}__{step}": value}) | wanted)
        return wanted

    def read(self, text: str, model: type[Model]) -> Key:
        """Read a key from an address; raises ValueError."""
        words = text.split("~")
        if len(words) != len(self.columns):
            raise ValueError("it belongs to another list")
        fields = {field.attname: field for field in model._meta.fields}  # noqa: SLF001 - Django documents it
        try:
            return tuple(fields[column].to_python(word) for column, word in zip(self.columns, words, strict=True))
        except ValidationError as error:
            raise ValueError("it cannot be read") from error


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows in order, and the keys from which the pages on either side begin."""

    rows: list[Any]
    newer: str | None
    older: str | None
    # Whether the looking ended before the log did, so that more may follow although the page is not full.
    was_cut: bool = False


def read_page(
    rows: QuerySet[Any], *, order: Order, start: Key | None, backwards: bool, size: int, served: QuerySet[Any] | None
) -> Page:
    """Read the page behind ``start``, or before it when ``backwards``.

    ``served`` is what an index finds of the filter when it does not find all; the rest is looked for among REACH rows.
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
        # The top is reached: a full first page reads better than the few rows that lie above the last one.
        return read_page(all_rows, order=order, start=None, backwards=False, size=size, served=served)
    found.reverse()
    back = _key_of(found[-1], order) if found else edge
    return Page(found, newer=_write(onward), older=_write(back), was_cut=was_cut)


def _edge_of_reach(served: QuerySet[Any], *, walk: Order, start: Key | None) -> Key | None:
    """Give the key of the last row that one page may look at, or None when the log ends before."""
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
    """Django's list of objects, read page by page by key."""

    model_admin: "LogAdmin"
    page: Page

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        """Give all that the filters find, the place in the log not being one of them."""
        for name in (OLDER, NEWER):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        found: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return found

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str | Combinable]:
        """Give the log's own order; it cannot be sorted otherwise."""
        del request, queryset
        return [*self.order.names()]

    @property
    def order(self) -> Order:
        """The walk that suits the filters."""
        return self.model_admin.order_for(self.wanted)

    @property
    def wanted(self) -> dict[str, str]:
        """The filters in use, by parameter."""
        return {spec.parameter_name: value for spec in self._specs if (value := spec.value())}

    @property
    def _specs(self) -> list[LogFilter]:
        return [spec for spec in self.filter_specs if isinstance(spec, LogFilter)]

    def get_results(self, request: HttpRequest) -> None:
        """Read one page; nothing is counted."""
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
            messages.error(request, f"The place in the list is not understood: {error}. This is its beginning.")
            return None

    def _served_by_index(self, request: HttpRequest) -> QuerySet[Any] | None:
        """Give what an index finds of the filters, or None when it finds all of it."""
        served = self.model_admin.served_by_index(self.wanted)
        # An id leads straight to its row, whatever else is asked for.
        if self.query or served >= self.wanted.keys() or self.queryset.query.is_empty():
            return None
        rows = self.root_queryset
        for spec in self._specs:
            if spec.parameter_name in served:
                rows = spec.queryset(request, rows)
        return rows

    @property
    def newer_address(self) -> str | None:
        """Where the page before this one is."""
        return self.page.newer and self.get_query_string({NEWER: self.page.newer})

    @property
    def older_address(self) -> str | None:
        """Where the page after this one is."""
        return self.page.older and self.get_query_string({OLDER: self.page.older})

    @property
    def first_address(self) -> str:
        """Where the list begins."""
        return self.get_query_string()

    @property
    def reach(self) -> int:
        """How many rows were looked at, for the note under a page that was cut."""
        return REACH


class LogAdmin(Titled, ReadOnly):
    """A log to read, newest first: no counting, no sorting, no deep offsets, and no filter but the ones named."""

    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    sortable_by = ()
    list_per_page = 100
    change_list_template = "hookhub/admin/log.html"
    # An id is searched for.
    key_lookups = ()
    # What the list shows; large columns stay where they are.
    columns: Sequence[str] = ()

    def order_for(self, wanted: dict[str, str]) -> Order:
        """Give the walk that suits the filters."""
        del wanted
        return Order(("id",), descending=True)

    def served_by_index(self, wanted: dict[str, str]) -> set[str]:
        """Name those of the filters that one index finds in the order of the walk."""
        raise NotImplementedError

    def shown_with(self) -> list["Prefetch[Any]"]:
        """Give what is shown of other tables, to be fetched for the page at once."""
        return []

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Give the list that pages by key."""
        del request, kwargs
        return LogChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by exact id."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            wanted = UUID(term)
        except ValueError:
            messages.error(request, f"Search: {term[:100]!r} is not an id.")
            return queryset.none(), False
        return queryset.filter(self.found_by(wanted)), False

    def found_by(self, wanted: UUID) -> Q:
        """Select what an id may mean here."""
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
        """Give the object of a page, provided the person may see it; raises Http404."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self.get_object(request, unquote(object_id))
        if found is None:
            raise Http404
        return found
